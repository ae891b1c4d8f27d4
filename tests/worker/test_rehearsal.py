import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tandem.errors import BadConfig, BadReply, Unavailable, UnknownModel
from tandem.types import Chunk, CompleteRequest, Message, Reply, RequestId, RunId
from worker.backends.rehearsal import RehearsalBackend, Script, load

SCRIPT = """
name: play
replies:
  - {persona: coder, reply: {n: 1}}
  - {persona: coder, turn: 3, reply: {n: 3}}
  - {persona: tester, text: "a b\\n  c d "}
  - {persona: tools, tool_calls: [{name: read, arguments: {path: a.py}}]}
  - {persona: broken, fault: error}
"""


@pytest.fixture
def script(tmp_path: Path) -> Script:
    (tmp_path / "play.yaml").write_text(SCRIPT)
    return load(tmp_path / "play.yaml")


def question(persona: str, turn: int = 1, model: str = "rehearsal/play") -> CompleteRequest:
    return CompleteRequest(
        request_id=RequestId("q"),
        run_id=RunId("r"),
        persona=persona,
        turn=turn,
        model=model,
        messages=(Message(role="user", content="x" * 40),),
    )


def play(
    script: Script, persona: str, turn: int = 1, tokens_s: float = 0, model: str = "play"
) -> tuple[list[str], Reply]:
    async def run() -> list[Chunk | Reply]:
        backend = RehearsalBackend(script, tokens_s=tokens_s, seed=0)
        return [part async for part in backend.complete(question(persona, turn), model)]

    *chunks, reply = asyncio.run(run())
    assert isinstance(reply, Reply)
    texts, offset = list[str](), 0
    for chunk in chunks:
        assert isinstance(chunk, Chunk)
        assert chunk.offset == offset
        offset += len(chunk.text)
        texts.append(chunk.text)
    return texts, reply


@pytest.mark.parametrize(("turn", "said"), [(1, 1), (2, 1), (3, 3), (9, 3)])
def test_the_nearest_turn_not_after_it_speaks(script: Script, turn: int, said: int) -> None:
    assert play(script, "coder", turn)[1].text == f'{{"n": {said}}}'


def test_a_persona_the_script_does_not_know_is_named(script: Script) -> None:
    with pytest.raises(BadReply, match="'play' has no reply for persona 'cook', turn 2"):
        play(script, "cook", 2)


def test_a_turn_before_the_first_entry_has_no_reply() -> None:
    late = Script.model_validate({"name": "late", "replies": [{"persona": "coder", "turn": 2, "text": "x"}]})
    with pytest.raises(BadReply, match="turn 1"):
        late.line("coder", 1)


def test_every_reply_says_that_it_was_rehearsed(script: Script) -> None:
    reply = play(script, "coder")[1]
    assert (reply.rehearsed, reply.backend, reply.prompt_tokens) == (True, "rehearsal", 10)


def test_a_pace_gives_the_same_text_in_more_time(script: Script) -> None:
    started = time.monotonic()
    texts, reply = play(script, "tester", tokens_s=20)
    assert "".join(texts) == reply.text == "a b\n  c d "
    assert len(texts) == 5
    assert 0.2 <= time.monotonic() - started < 2
    assert 0 < reply.first_token_ms < reply.total_ms


def test_tool_calls_end_a_reply_as_tool_calls(script: Script) -> None:
    reply = play(script, "tools")[1]
    assert reply.finish == "tool_calls"
    assert [(call.id, call.name, call.arguments) for call in reply.tool_calls] == [("call-1", "read", {"path": "a.py"})]


def test_a_fault_is_raised_where_the_script_asks_for_it(script: Script) -> None:
    with pytest.raises(Unavailable, match="fault 'error'"):
        play(script, "broken")


def test_another_model_is_unknown_and_the_known_ones_are_named(script: Script) -> None:
    with pytest.raises(UnknownModel, match="no rehearsal 'other'; there are 'play' and 'random'"):
        play(script, "coder", model="other")


def test_it_offers_its_script_and_random(script: Script) -> None:
    models = asyncio.run(RehearsalBackend(script, tokens_s=0, seed=0).models())
    assert [(model.name, model.rehearsal) for model in models] == [("rehearsal/play", True), ("rehearsal/random", True)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: play\nreplies:\n  - {persona: a}\n  - {turn: 1}\n", r"replies\.1\.persona: Field required"),
        ("name: play\nreplies:\n  - {persona: a, turn: 0}\n", r"replies\.0\.turn: .*greater than or equal to 1"),
        ("name: play\nreplies:\n  - {persona: a, says: b}\n", r"replies\.0\.says: Extra inputs"),
        ("name: play\nreplies:\n  - {persona: a, fault: fire}\n", r"replies\.0\.fault"),
        ("name: A B\nreplies: []\n", "name: "),
        ("- just\n- a list\n", "the file: "),
        ("", "the file: "),
        ("name: [", "cannot read the rehearsal script"),
        ("name: \x00", "cannot read the rehearsal script"),
    ],
)  # fmt: skip
def test_a_script_that_does_not_fit_names_the_file_and_the_entry(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(BadConfig, match=words) as caught:
        load(file)
    assert str(file) in caught.value.message


def test_a_script_that_is_missing_is_named(tmp_path: Path) -> None:
    missing: Any = tmp_path / "none.yaml"
    with pytest.raises(BadConfig, match=r"none\.yaml"):
        load(missing)


def asked(persona: str, text: str) -> CompleteRequest:
    return replace(question(persona, model="rehearsal/many"), messages=(Message(role="user", content=text),))


def test_of_a_folder_the_script_plays_that_the_task_names(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    backend = RehearsalBackend(load(folder), tokens_s=0, seed=0)

    async def said(text: str) -> str:
        parts = [part async for part in backend.complete(asked("coder", text), "many")]
        assert isinstance(parts[-1], Reply)
        return parts[-1].text

    for name in ("one", "two"):  # written after the folder was given: a script is read when it is asked for
        (folder / f"{name}.yaml").write_text(f"name: {name}\nreplies: [{{persona: coder, text: I am {name}}}]\n")
        assert asyncio.run(said(f"Do it.\n\nRehearsal: {name}\nRehearsal: three")) == f"I am {name}"
    assert [model.name for model in asyncio.run(backend.models())] == ["rehearsal/many", "rehearsal/random"]
    for text, why in (
        ("Do it.", "has no line 'Rehearsal: NAME'"),
        ("Rehearsal: three", "cannot read the rehearsal script"),
        ("Rehearsal: ../one", "has no line"),
        ("not a line: Rehearsal: one", "has no line"),
    ):
        with pytest.raises(BadReply, match=why):
            asyncio.run(said(text))
