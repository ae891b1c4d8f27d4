"""Replacing a piece of a file: what is tolerated, what is refused, and that nothing else changes."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agents.tools.edits import replace
from tandem.errors import BadReply

CODE = """class A:
    def f(self, x):
        if x:
            return 1
        return 2

    def g(self):
        return 1
"""
MENDED = CODE.replace("        if x:\n            return 1\n", "        if x:\n            return 10\n")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("        if x:\n            return 1", "        if x:\n            return 10"),
        ("if x:\n    return 1", "if x:\n    return 10"),
        ("    if x:\n        return 1\n    return 2", "    if x:\n        return 10\n    return 2"),
        ("\n        if x:   \n            return 1  \n\n", "\n        if x:\n            return 10\n\n"),
        ("3|         if x:\n4|             return 1", "3|         if x:\n4|             return 10"),
        ("```python\n        if x:\n            return 1\n```", "```python\n        if x:\n            return 10\n```"),
        ("        if x:\\n            return 1\\n", "        if x:\\n            return 10\\n"),
        ("\tif x:\n\t\treturn 1", "\tif x:\n\t\treturn 10"),
    ],
)
def test_a_piece_copied_carelessly_is_placed_when_it_stands_in_one_place(old: str, new: str) -> None:
    assert replace(CODE, old, new).text == MENDED


def test_tabs_and_line_ends_of_the_file_are_kept() -> None:
    tabs = CODE.replace("    ", "\t")
    assert replace(tabs, "    def g(self):\n        return 1", "    def g(self):\n        return 9").text == (
        tabs.replace("\tdef g(self):\n\t\treturn 1", "\tdef g(self):\n\t\treturn 9")
    )
    crlf = CODE.replace("\n", "\r\n")
    done = replace(crlf, "    def g(self):\n        return 1", "    def g(self):\n        x = 9\n        return x").text
    assert done == crlf.replace("        return 1\r\n", "        x = 9\r\n        return x\r\n").replace(
        "            x = 9\r\n        return x\r\n", "            return 1\r\n"
    )
    assert "\n" not in done.replace("\r\n", "")


def test_a_missing_final_line_end_stays_missing() -> None:
    assert replace("a\nb", "b", "c").text == "a\nc"
    assert replace("  a\n  b", "a\nb", "a\nc").text == "  a\n  c"


def test_a_line_copied_with_a_slip_is_kept_as_the_file_has_it() -> None:
    old = "    def f(self, x):\n        if x:\n            return 1\n        return 2\n\n    def g(slf):\n        return 1"
    new = old.replace("return 2", "return 3")
    assert replace(CODE, old, new).text == CODE.replace("return 2", "return 3")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("return 1", "return 3", "2 times, at lines 4, 8"),
        ("", "x", "old is empty"),
        ("return 2", "return 2", "the same"),
        ("class A:\n    ...\n    def g(self):", "class B:", "leaves lines out"),
        ("def h(self):\n    pass", "x", "old is not in"),
        ("ass A:", "ass B:", "inside a longer word, at line"),
        ("        return 4", "        return 2", "there already"),
        ("    def f(self, x):\n        if x:\n            return 1\n        return 22\n\n    def g(self):", "x", "not in"),
    ],
)  # fmt: skip
def test_what_has_not_exactly_one_place_is_refused_with_what_is_near(old: str, new: str, why: str) -> None:
    with pytest.raises(BadReply, match=why):
        replace(CODE, old, new)


def test_the_refusal_quotes_the_nearest_lines_with_their_numbers() -> None:
    with pytest.raises(BadReply, match=r"5\|         return 2"):
        replace(CODE, "        return 2 + offset", "x")


LINES = st.lists(st.text("abc (=", min_size=0, max_size=6), min_size=1, max_size=14)


@given(LINES, st.data())
def test_an_edit_gives_the_intended_text_or_none(lines: list[str], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(lines) - 1))
    last = data.draw(st.integers(first, len(lines) - 1))
    old, new = "\n".join(lines[first : last + 1]), data.draw(st.text("xyz\n", min_size=1, max_size=8)).strip("\n")
    assume(old.strip() and new)
    text = "\n".join(lines) + "\n"
    intended = "\n".join([*lines[:first], new, *lines[last + 1 :]]) + "\n"
    damaged = data.draw(st.sampled_from([old, old.replace("\n", "  \n"), f"\n{old}\n", f"```\n{old}\n```"]))
    try:
        done = replace(text, damaged, new).text
    except BadReply:
        return
    assert done.split() == intended.split()
