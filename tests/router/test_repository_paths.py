import re
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.repository.paths import check_path, refusal
from tandem.errors import BadReply

LOOKS_LIKE_GIT = [
    ".git",
    ".GIT",
    ".Git",
    ".git.",
    ".git ",
    ".git . .",
    ".g\u200cit",
    ".gi\u200dt",
    "\ufeff.git",
    ".ｇｉｔ",
    "．git",
    ".ℊit",
    ".g\u0131\u0307t".replace("\u0131\u0307", "i\u034f"),
    "git~1",
    "GIT~1",
    "git~23",
    "gi7eba~1",
    ".git::$INDEX_ALLOCATION",
    ".git:x",
    ".gitmodules",
    ".GitModules",
]


@pytest.mark.parametrize("part", LOOKS_LIKE_GIT)
def test_what_some_file_system_reads_as_git_is_refused_anywhere(part: str) -> None:
    for path in (part, f"{part}/config", f"a/{part}", f"a/{part}/hooks/x"):
        with pytest.raises(BadReply, match="cannot be written"):
            check_path(path)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("..", "elsewhere"),
        ("../x", "elsewhere"),
        ("a/../../x", "elsewhere"),
        ("a/./b", "elsewhere"),
        ("a/. ./b", "elsewhere"),
        ("．．/x", "elsewhere"),
        ("a//b", "empty"),
        ("a/", "empty"),
        ("a\\..\\b", "backslash"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a\x7fb", "control"),
        ("a\u2028b", "control"),
        ("a\u202etxt.exe", "control"),
        ("\ud800", "Unicode"),
        ("x" * 256, "more than 255"),
        ("x/" * 512 + "x", "1025 bytes"),
    ],
)
def test_a_refused_path_is_named_with_the_reason(path: str, why: str) -> None:
    assert why in refusal(path)


@pytest.mark.parametrize(
    "path",
    [
        "a.py",
        "src/a b.py",
        ".gitignore",
        ".gitattributes",
        ".github/x.yml",
        "git",
        "a.git",
        "...x",
        "한글/파일.md",
        "né.txt",
    ],
)
def test_ordinary_paths_pass(path: str) -> None:
    check_path(path)


_INVISIBLE = st.sampled_from(["\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\ufe0f", "\u034f"])


@settings(deadline=None, database=None)
@given(st.data())
def test_no_disguise_of_git_passes(data: st.DataObject) -> None:
    letters: list[str] = []
    for letter in ".git":
        letters += data.draw(st.lists(_INVISIBLE, max_size=2))
        wide = chr(ord(letter) + 0xFEE0)
        letters.append(data.draw(st.sampled_from([letter, letter.upper(), wide, wide.upper()])))
    tail = data.draw(st.text(alphabet=". ", max_size=3))
    before = data.draw(st.sampled_from(["", "a/", "a/b/"]))
    after = data.draw(st.sampled_from(["", "/config", "/hooks/post-merge"]))
    assert refusal(before + "".join(letters) + tail + after)


@settings(deadline=None, database=None)
@given(st.text(max_size=40))
@example("a/..")
@example("\u2024\u2024/x")
def test_whatever_passes_stays_inside_the_tree(path: str) -> None:
    if refusal(path):
        return
    assert not path.startswith("/")
    assert "\0" not in path
    for part in path.split("/"):
        assert part not in ("", ".", "..")
        assert not re.fullmatch(r"\.git[. ]*", unicodedata.normalize("NFKC", part).lower())
