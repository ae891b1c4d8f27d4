from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cli.ask import checked_diff, choice_keys, parse_comment
from cli.client import Client
from cli.follow import Answer, Follower, Nobody, cancel, decide
from tandem.errors import StaleApproval
from tandem.paths import socket_path
from tests.cli.little_router import DIGEST, QUESTION, Play, a_whole_run, little_router


class _Seen:
    """A display that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, bool]] = []

    def begin(self, run: Mapping[str, Any]) -> None: ...

    def event(self, kind: str, data: Mapping[str, Any], *, past: bool) -> None:
        self.events.append((kind, past))

    def tick(self) -> None: ...

    def pause(self) -> None: ...

    def end(self, run: Mapping[str, Any]) -> None: ...


class _Says:
    def __init__(self, answer: Answer) -> None:
        self.answer, self.asked = answer, 0

    def ask(self, client: Client, run: Mapping[str, Any]) -> Answer | None:
        self.asked += 1
        return self.answer


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setenv("TANDEM_STATE", str(tmp_path))
    return Client(socket_path(tmp_path, "router"))


def _streams(play: Play) -> list[str]:
    return [path for method, path, _ in play.heard if "events" in path]


def test_a_question_is_answered_once_and_the_run_followed_to_its_end(tmp_path: Path, client: Client) -> None:
    play = Play(phases=a_whole_run(), question=QUESTION)
    with little_router(tmp_path, play):
        says, seen = _Says(Answer(choice="approve")), _Seen()
        end = Follower(client, "1120-abcdefg", seen, says).to_the_end()
    assert (end["state"], says.asked) == ("merged", 1)
    assert play.decision == {"question": QUESTION["id"], "digest": DIGEST, "choice": "approve"}
    assert [kind for kind, _ in seen.events].count("step.finished") == 5
    assert len(_streams(play)) == 2
    assert not _streams(play)[1].endswith("after=0")  # the second stream goes on where the first ended


def test_without_anybody_the_run_is_left_waiting(tmp_path: Path, client: Client) -> None:
    play = Play(phases=a_whole_run(), question=QUESTION)
    with little_router(tmp_path, play):
        assert Follower(client, "latest", _Seen(), Nobody()).to_the_end()["state"] == "waiting"
    assert play.decision is None


def test_a_stream_that_breaks_off_is_picked_up_after_the_last_event_seen(tmp_path: Path, client: Client) -> None:
    play = Play(phases=a_whole_run(), cut_after=4)
    with little_router(tmp_path, play):
        seen = _Seen()
        assert Follower(client, "latest", seen, Nobody()).to_the_end()["state"] == "merged"
    assert [kind for kind, _ in seen.events] == [kind for phase in a_whole_run() for kind, _ in phase]
    assert len(_streams(play)) == 2


def test_events_from_before_are_known_not_news(tmp_path: Path, client: Client) -> None:
    with little_router(tmp_path, Play(phases=a_whole_run())):
        seen = _Seen()
        Follower(client, "latest", seen, Nobody(), since_s=4e9).to_the_end()
    assert all(past for _, past in seen.events)


def test_an_answer_carries_words_and_comments_on_lines(tmp_path: Path, client: Client) -> None:
    play = Play(phases=a_whole_run(), question=QUESTION)
    comment = {"path": "words.py", "line": 2, "text": "why?"}
    with little_router(tmp_path, play):
        decide(client, play.summary(), Answer(choice="change", text="please", comments=(comment,)))
    assert play.decision == {
        "question": QUESTION["id"], "digest": DIGEST, "choice": "change", "text": "please", "comments": [comment],
    }  # fmt: skip


def test_cancel_waits_for_the_end(tmp_path: Path, client: Client) -> None:
    with little_router(tmp_path, Play(phases=[[]], hang_after=True)):
        told = cancel(client, "latest")
    assert told is not None
    assert told["state"] == "cancelled"


def test_a_cancel_nobody_hears_is_told_as_none(client: Client) -> None:
    assert cancel(client, "latest") is None


def test_only_the_diff_the_question_is_about_is_shown(tmp_path: Path, client: Client) -> None:
    play = Play(phases=a_whole_run(), question=QUESTION)
    with little_router(tmp_path, play):
        assert [row.text for row in checked_diff(client, play.summary()) if row.kind == "removed"] == [
            "    return text"
        ]
        other = {**play.summary(), "question": {**QUESTION, "digest": "0" * 64}}
        with pytest.raises(StaleApproval, match="nothing was answered"):
            checked_diff(client, other)


def test_every_choice_has_its_word_and_a_key_of_its_own() -> None:
    approve = choice_keys(QUESTION)
    assert approve["a"] == approve["approve"] == "approve"
    assert approve["r"] == "reject"
    assert approve["2"] == approve["change"] == "change"  # c is for comments
    routes = ("code low", "code medium", "code high", "docs", "question", "stop")
    keys = choice_keys({"kind": "route", "choices": routes})
    assert {keys[key] for key in keys if key not in routes} == set(routes)
    assert len([key for key in keys if key not in routes]) == len(routes)
    assert keys["5"] == "question"  # q leaves


@pytest.mark.parametrize(
    ("typed", "comment"),
    [("src/a.py:12: handle it", {"path": "src/a.py", "line": 12, "text": "handle it"}),
     ("a:b.py:3:시간: 12:30", {"path": "a:b.py", "line": 3, "text": "시간: 12:30"}),
     ("src/a.py: no line", None), ("src/a.py:3:", None), ("", None)],
)  # fmt: skip
def test_a_comment_is_path_line_text(typed: str, comment: dict[str, Any] | None) -> None:
    assert parse_comment(typed) == comment
