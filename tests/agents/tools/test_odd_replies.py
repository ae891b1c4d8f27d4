"""Replies no parser expects: each is read or refused in words, in bounded work, and never an exception."""

from __future__ import annotations

import contextlib
import sys

import pytest

from agents.parse import parse
from agents.replies import Code
from agents.tools import blocks, edits, loosejson
from agents.tools.calls import read_calls
from agents.tools.catalogue import TOOLS, finish
from agents.tools.textcalls import finding
from tandem.errors import BadReply
from tandem.types import Json, Reply, ToolCall

OFFERED = (*TOOLS.values(), finish(Code))
ODD = {
    "braces twice": 'read_file({{"path": "a.py"}})',
    "a dict as a key": "search({[1]: 2})",
    "a chain of calls": "f" + "()" * 900,
    "a chain of names": "a" + ".a" * 2000 + "()",
    "a huge number": "read_file(path=0x" + "f" * 5000 + ")",
    "fences": "```json\n" * 300,
    "fences in fences": "```\n```json\n" * 300,
    "brackets": "{\n" * 8192,
    "brackets in a text": '{"a": "' + "{\n" * 20000,
    "open tags": "<tool_call>\n" * 8192,
    "open functions": "<function=read_file>\n<parameter=path>\n" * 3000,
    "deep": '{"name":"finish","arguments":{"files":' + "[" * 700 + "]" * 700 + "}}",
    "half a character": '{"name": "search", "arguments": {"pattern": "\\ud800"}}',
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_reply_is_no_exception(name: str) -> None:
    for finished in ("stop", "length"):
        read_calls(Reply(text=ODD[name], finish=finished), OFFERED)
    with contextlib.suppress(BadReply):
        parse(ODD[name], Code)


def test_a_native_call_nests_only_so_deep() -> None:
    deep: Json = []
    for _ in range(sys.getrecursionlimit()):
        deep = [deep]
    read = read_calls(Reply(text="", tool_calls=(ToolCall(id="1", name="finish", arguments={"files": deep}),)), OFFERED)
    assert not read.calls
    assert read.problems


def test_unclosed_brackets_cost_no_more_than_a_bounded_number_of_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0
    real = loosejson.read

    def counted(text: str, start: int = 0) -> loosejson.Loose | None:
        nonlocal read
        read += len(text) - start
        return real(text, start)

    monkeypatch.setattr(loosejson, "read", counted)
    finding.find("  [\n" * 8192, OFFERED)
    assert read <= 2_000_000


def _compared(monkeypatch: pytest.MonkeyPatch, module: object) -> list[int]:
    """Return a list that gets the product of the lengths of all that difflib compares."""
    sizes: list[int] = []
    real = blocks.difflib.SequenceMatcher

    class Counted(real):  # type: ignore[type-arg, valid-type, misc]
        def __init__(self, junk: None, a: str, b: str, **more: bool) -> None:
            sizes.append(len(a) * len(b))
            super().__init__(junk, a, b, **more)

    monkeypatch.setattr(module.difflib, "SequenceMatcher", Counted)  # type: ignore[attr-defined]
    return sizes


def test_an_edit_of_many_like_lines_is_not_compared_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = _compared(monkeypatch, blocks)
    old = "first\n" + "    x\n" * 4000 + "last"
    done = edits.replace(old.replace("\n", " \n") + "\n", old, "FIRST\n" + "    x\n    y\n" * 2000 + "LAST")
    assert done.text.startswith("FIRST\n    x\n    y\n")
    assert not sizes


def test_the_nearest_line_is_looked_for_without_comparing_every_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = _compared(monkeypatch, edits)
    text = "".join(f"value_{n} = compute({n})\n" for n in range(19_000)) + "x" * 5_000_000 + "\n"
    with pytest.raises(BadReply, match=r"124\| value_123 ="):
        edits.replace(text, "value_123 = compote(123)", "nothing")
    assert sum(sizes) <= 2_000_000


def test_pieces_that_overlap_are_two_places() -> None:
    with pytest.raises(BadReply, match="2 times, at lines 1, 2"):
        edits.replace("=\n=\n=\n", "=\n=", "x")
