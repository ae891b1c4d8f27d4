"""Patches: where hunks go, and that all of a patch applies or nothing."""

from __future__ import annotations

import difflib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.tools.patches import apply
from tandem.errors import BadReply
from tandem.types import Edit

TEXT = "one\ntwo\nthree\n\nfour\nfive\n"


def done(patch: str, **files: str) -> tuple[Edit, ...]:
    return apply(patch, {name.replace("_", "."): text for name, text in files.items()}.get).edits


@pytest.mark.parametrize(
    "patch",
    [
        "--- a/a.py\n+++ b/a.py\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n",
        "--- a/a.py\n+++ b/a.py\n@@ -90,7 +91,2 @@ def f():\n one\n-two\n+2\n three\n",
        "--- a.py\n+++ a.py\n@@ @@\n-two\n+2\n",
        "diff --git a/a.py b/a.py\nindex 1..2 1\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n one\n-two\n+2\n three\n\n four\n",
        "```diff\n--- a/a.py\n+++ b/a.py\n@@ -2 +2 @@\n-two\n+2\n```",
        "*** Begin Patch\n*** Update File: a.py\n@@\n one\n-two\n+2\n*** End Patch",
    ],
)
def test_a_hunk_is_placed_by_its_lines(patch: str) -> None:
    assert done(patch, a_py=TEXT) == (Edit(path="a.py", content=TEXT.replace("two", "2")),)


def test_files_are_added_and_deleted() -> None:
    new = "--- /dev/null\n+++ b/n.py\n@@ -0,0 +1,2 @@\n+a\n+b\n"
    gone = "--- a/a.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-one\n"
    assert done(new + gone, a_py=TEXT) == (Edit(path="n.py", content="a\nb\n"), Edit(path="a.py", content=None))


def test_the_same_lines_twice_are_told_apart_by_the_stated_line_or_refused() -> None:
    text = "a\nx\nb\na\nx\nb\n"
    assert done("--- a/a.py\n+++ b/a.py\n@@ -4,2 +4,2 @@\n a\n-x\n+y\n", a_py=text)[0].content == "a\nx\nb\na\ny\nb\n"
    with pytest.raises(BadReply, match="fits at lines 1, 4"):
        done("--- a/a.py\n+++ b/a.py\n@@ @@\n a\n-x\n+y\n", a_py=text)


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        ("please change two to 2", "no patch"),
        ("--- a/b.py\n+++ b/b.py\n@@ -1 +1 @@\n-x\n+y\n", "does not exist"),
        ("--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-nothing\n+y\n", "stands nowhere"),
        ("--- /dev/null\n+++ b/a.py\n@@ -0,0 +1 @@\n+y\n", "which exists"),
        ("--- a/a.py\n+++ b/c.py\n@@ -1 +1 @@\n-one\n+1\n", "turns a.py into c.py"),
        ("diff --git a/x b/x\nGIT binary patch\nliteral 1\n", "binary"),
        ("--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-one\n+1\n@@ -9 +9 @@\n-gone\n+x\n", "hunk 2"),
        ("@@ -1 +1 @@\n-one\n+1\n", "before any file name"),
        ("--- a/a.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-another\n", "its lines are others"),
    ],
)
def test_what_does_not_apply_whole_is_refused(patch: str, why: str) -> None:
    with pytest.raises(BadReply, match=why):
        done(patch, a_py=TEXT)


def test_line_ends_and_a_missing_last_one_are_kept() -> None:
    crlf = TEXT.replace("\n", "\r\n")
    patch = "--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n"
    assert done(patch, a_py=crlf)[0].content == crlf.replace("two", "2")
    assert done(patch, a_py=TEXT.rstrip("\n"))[0].content == TEXT.rstrip("\n").replace("two", "2")


LINES = st.lists(st.text("abc", max_size=3), max_size=12)


@given(LINES, LINES)
def test_a_diff_made_by_difflib_gives_the_new_text(before: list[str], after: list[str]) -> None:
    old, new = "".join(f"{line}\n" for line in before), "".join(f"{line}\n" for line in after)
    rows = list(difflib.unified_diff(old.splitlines(True), new.splitlines(True), "a/a.py", "b/a.py", n=3))
    try:
        made = done("".join(rows), a_py=old)
    except BadReply:
        return
    assert made == (Edit(path="a.py", content=new),)
