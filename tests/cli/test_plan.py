"""`tandem plan` and `tandem run --plan` as commands: what goes where, what is refused, and how `gh` is read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cli.checklist import ask_all
from cli.issues import ISSUE_CHARS_MAX, as_task, issue_text
from tandem.errors import BadInput, DeadlineExceeded, NotFound
from tests.cli.little_router import Play, little_router, step
from tests.cli.test_terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
CHECKLIST = [{"question": "May it be empty?", "suggestion": "no"}, {"question": "Who uses it?", "suggestion": ""}]
QUESTION: dict[str, Any] = {
    "id": "ask_plan.1.0000", "kind": "plan", "text": "This is the plan.", "choices": ["approve", "change", "stop"],
    "digest": "0" * 64, "details": {"plan": {"summary": "Shout", "checklist": CHECKLIST}},
}  # fmt: skip
DOCUMENT = "# Plan: Shout\n\n## Task\n\nShout.\n"


def planning(**more: Any) -> Play:
    phases = [[("state", {"state": "running"}), *step("plan.1", summary="2 scenarios")], step("write_plan.1")]
    play = Play(phases=phases, end={"state": "planned", "commit": None}, **more)
    play.end["document"] = DOCUMENT
    return play


def tandem(state: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TANDEM_") and k != "NO_COLOR"}
    given = {**clean, "TANDEM_STATE": str(state), "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", **env}
    command = [sys.executable, "-m", "tandem", "cli", *arguments]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=given, timeout=60, check=False
    )


def sent(play: Play) -> dict[str, Any]:
    return next(body for method, path, body in play.heard if (method, path) == ("POST", "/v1/runs"))


def test_the_document_alone_goes_to_standard_output(tmp_path: Path) -> None:
    with little_router(tmp_path, planning()) as play:
        done = tandem(tmp_path, "plan", "Shout.", "--repo", str(tmp_path))
    assert (done.returncode, done.stdout) == (0, DOCUMENT), done.stderr
    assert "2 scenarios" in done.stderr
    assert "! the checkout is dirty" in done.stderr
    assert sent(play) == {"text": "Shout.", "repo": str(tmp_path), "plan_only": True, "yes": False}


def test_where_nobody_can_be_asked_the_suggestions_stand(tmp_path: Path) -> None:
    with little_router(tmp_path, planning(question=QUESTION)) as play:
        done = tandem(tmp_path, "plan", "Shout.", "--repo", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert play.decision == {"question": QUESTION["id"], "digest": QUESTION["digest"], "choice": "approve"}


def test_a_guards_question_is_left_to_a_person(tmp_path: Path) -> None:
    with little_router(
        tmp_path, planning(question={**QUESTION, "kind": "guard", "choices": ["go on", "stop"]})
    ) as play:
        done = tandem(tmp_path, "plan", "Shout.", "--repo", str(tmp_path), "--no-input")
    assert (done.returncode, done.stdout, play.decision) == (3, "", None)


def test_a_file_that_is_there_is_kept_unless_forced(tmp_path: Path) -> None:
    file = tmp_path / "plan.md"
    file.write_text("mine\n")
    with little_router(tmp_path, planning()) as play:
        kept = tandem(tmp_path, "plan", "Shout.", "--repo", str(tmp_path), "--out", str(file))
        assert (kept.returncode, file.read_text(), play.heard) == (2, "mine\n", [])
        assert "--force" in kept.stderr
        done = tandem(tmp_path, "plan", "Shout.", "--repo", str(tmp_path), "--out", str(file), "--force")
    assert (done.returncode, done.stdout, file.read_text()) == (0, "", DOCUMENT)
    assert f"`tandem run --plan {file}`" in done.stderr


def test_as_json_the_last_line_holds_the_document(tmp_path: Path) -> None:
    with little_router(tmp_path, planning(question=QUESTION)):
        done = tandem(tmp_path, "plan", "Shout.", "--repo", str(tmp_path), "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (lines[-1]["state"], lines[-1]["document"]) == ("planned", DOCUMENT)


def test_the_plan_of_an_earlier_run_is_shown_again(tmp_path: Path) -> None:
    with little_router(tmp_path, planning()):
        assert tandem(tmp_path, "plan", "--run", "latest").stdout == DOCUMENT
    with little_router(tmp_path, Play(phases=[[]])):
        none = tandem(tmp_path, "plan", "--run", "latest")
    assert (none.returncode, none.stdout) == (5, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("plan",), "name one thing to plan"),
        (("plan", "x", "--issue", "3"), "name one thing to plan"),
        (("plan", "x", "--out", "/nowhere/plan.md"), "name a file in a folder that is there"),
        (("plan", "x", "--repo", "/nowhere"), "there is no folder"),
        (("plan", "--issue", "0"), "0 is not in the range"),
        (("run", "x", "--plan", "plan.md"), "a plan brings its task along"),
        (("run", "--plan", "/nowhere/plan.md"), "cannot read the task from"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_the_router_hears_of_it(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    with little_router(tmp_path, planning()) as play:
        done = tandem(tmp_path, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert not [1 for method, *_ in play.heard if method == "POST"]


def test_a_plan_is_handed_over_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "plan.md").write_text(DOCUMENT)
    with little_router(tmp_path, planning()) as play:
        tandem(tmp_path, "run", "--plan", str(tmp_path / "plan.md"), "--repo", str(tmp_path))
    assert (sent(play)["text"], sent(play)["plan"]) == ("", DOCUMENT)


def test_the_lead_answers_the_checklist_one_after_the_other(tmp_path: Path) -> None:
    with little_router(tmp_path, planning(question=QUESTION)) as play:
        terminal = Terminal(tmp_path, "plan", "Shout.", "--repo", str(tmp_path))
        terminal.until("leave it waiting >")
        assert "question: May it be empty? (suggested: no)" in terminal.shown
        terminal.type("a")
        terminal.until("1/2 May it be empty?")
        terminal.until("-: open) >")
        terminal.type("")
        terminal.until("2/2 Who uses it?")
        terminal.until("-: open) >")
        terminal.type("the shop")
        assert terminal.end() == 0
    assert play.decision is not None
    answers = {"May it be empty?": "no", "Who uses it?": "the shop"}
    assert json.loads(play.decision["text"]) == {"answers": answers}


@pytest.mark.parametrize(
    ("typed", "answers"),
    [
        (["yes", ""], {"May it be empty?": "yes"}),
        (["-", "-"], {}),
        (["", "me"], {"May it be empty?": "no", "Who uses it?": "me"}),
        (["x", None], None),
    ],
)
def test_an_open_answer_stays_open_and_leaving_answers_nothing(
    typed: list[str | None], answers: Mapping[str, str] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    given = iter(typed)
    words = ask_all(CHECKLIST, lambda prompt: next(given))
    assert (None if words is None else json.loads(words)["answers"]) == answers
    assert "2/2 Who uses it?" in capsys.readouterr().out


# --- issues -----------------------------------------------------------------------------------------------------


def gh(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "bin").mkdir()
    (folder / "bin" / "gh").write_text(f"#!/bin/sh\n{body}\n")
    (folder / "bin" / "gh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")


def test_an_issue_becomes_a_task_with_its_comments_and_its_address(tmp_path: Path, monkeypatch: Any) -> None:
    issue = {
        "title": "Shout\x1b[2J", "body": "Loud.\r\n\r\nVery.", "url": "https://example.invalid/1",
        "comments": [{"author": {"login": "ann"}, "body": "Please."}, {"author": None, "body": " "}, "?"],
    }  # fmt: skip
    (tmp_path / "issue.json").write_text(json.dumps(issue))
    gh(tmp_path, f'[ "$PWD" = "{tmp_path}" ] && cat issue.json', monkeypatch)
    assert issue_text(1, tmp_path) == (
        "Shout⟨U+001B⟩[2J\n\nLoud.\n\nVery.\n\nComment by ann:\nPlease.\n\nIssue: https://example.invalid/1"
    )


@pytest.mark.parametrize("sizes", [(ISSUE_CHARS_MAX * 2, 10), (10, ISSUE_CHARS_MAX * 2), (1000, 1000)])
def test_a_long_issue_is_cut_and_says_so(sizes: tuple[int, int]) -> None:
    body, comment = sizes
    text = as_task({"title": "t", "body": "b" * body, "url": "u", "comments": [{"body": "c" * comment}]})
    assert len(text) < ISSUE_CHARS_MAX + 200
    assert ("more characters of the issue are left out" in text) == (body + comment > ISSUE_CHARS_MAX)
    assert text.endswith("Issue: u")


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("echo 'To get started with GitHub CLI, please run: gh auth login' >&2; exit 4", BadInput, "gh auth login"),
        (
            "echo 'GraphQL: Could not resolve to an issue (repository.issue)' >&2; exit 1",
            NotFound,
            "resolve to an issue",
        ),
        ("echo 'no git remotes found' >&2; exit 1", NotFound, "no git remotes found"),
        ("echo 'not JSON'", BadInput, "something else than an issue"),
        ('echo \'{"title": ""}\'', BadInput, "something else than an issue"),
        ("echo '[1]'", BadInput, "something else than an issue"),
    ],
)
def test_what_gh_cannot_do_is_said_with_the_remedy(
    tmp_path: Path, monkeypatch: Any, body: str, kind: type[Exception], words: str
) -> None:
    gh(tmp_path, body, monkeypatch)
    with pytest.raises(kind, match=words):
        issue_text(3, tmp_path)


def test_without_gh_the_message_names_the_way_around(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match=r"is not installed.*--file"):
        issue_text(3, tmp_path)


def test_a_gh_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: Any) -> None:
    gh(tmp_path, "exec sleep 60", monkeypatch)
    monkeypatch.setattr("cli.issues.DEADLINE_S", 0.3)
    with pytest.raises(DeadlineExceeded, match=r"within 0\.3 s"):
        issue_text(3, tmp_path)
