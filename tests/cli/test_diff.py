import subprocess
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cli.render.diff import files, lines, parse, shown, summary
from cli.render.text import cell_width


def _git_diff(tmp_path: Path, old: dict[str, bytes], new: dict[str, bytes]) -> bytes:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "core.autocrlf=false"]
    subprocess.run([*git, "init", "-q", str(tmp_path)], check=True)
    for step, tree in enumerate((old, new)):
        for path, content in tree.items():
            (tmp_path / path).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / path).write_bytes(content)
        subprocess.run([*git, "add", "-A"], cwd=tmp_path, check=True)
        if step == 0:
            subprocess.run([*git, "commit", "-q", "-m", "x", "--allow-empty"], cwd=tmp_path, check=True)
    return subprocess.run([*git, "diff", "--cached", "--binary"], cwd=tmp_path, check=True, capture_output=True).stdout


def test_lines_carry_their_numbers_on_both_sides(tmp_path: Path) -> None:
    diff = _git_diff(tmp_path, {"a.py": b"one\ntwo\nthree\n"}, {"a.py": b"one\nTWO\nthree\nfour\n"})
    rows = [(row.kind, row.old, row.new, row.text) for row in parse(diff) if row.kind in ("same", "added", "removed")]
    assert rows == [
        ("same", 1, 1, "one"),
        ("removed", 2, None, "two"),
        ("added", None, 2, "TWO"),
        ("same", 3, 3, "three"),
        ("added", None, 4, "four"),
    ]


def test_a_changed_line_that_looks_like_a_header_stays_a_line(tmp_path: Path) -> None:
    old = {"a.txt": b"keep\n-- a/evil.py\n"}
    new = {"a.txt": b"keep\n++ b/other.py\n@@ -1 +1 @@\ndiff --git a/x b/x\n"}
    rows = parse(_git_diff(tmp_path, old, new))
    assert [row.text for row in rows if row.kind == "removed"] == ["-- a/evil.py"]
    assert [row.text for row in rows if row.kind == "added"] == ["++ b/other.py", "@@ -1 +1 @@", "diff --git a/x b/x"]
    assert [change.path for change in files(rows)] == ["a.txt"]


def test_bidirectional_and_control_characters_cannot_hide_in_a_diff(tmp_path: Path) -> None:
    sly = 'if level != "user\u202e \u2066// admin\u2069 \u2066": \x1b[2K\x08\n'.encode()
    drawn = "\n".join(text for _, text in lines(parse(_git_diff(tmp_path, {}, {"a.py": sly})), 200))
    assert all(mark in drawn for mark in ("⟨U+202E⟩", "⟨U+2066⟩", "⟨U+2069⟩", "⟨U+001B⟩", "⟨U+0008⟩"))
    assert not any(c in drawn for c in "\u202e\u2066\u2069\x1b\x08")


def test_line_ends_tabs_trailing_blanks_and_odd_bytes_are_seen() -> None:
    assert shown(b"a\r") == "a⟨U+000D⟩"
    assert shown(b"\ta") == "→   a"
    assert shown(b"a  ") == "a··"
    assert shown(b"a\xff\x80") == "a⟨0xFF⟩⟨0x80⟩"
    assert shown("한국어".encode()) == "한국어"


def test_names_are_shown_as_they_are_called(tmp_path: Path) -> None:
    diff = _git_diff(tmp_path, {}, {"문서/새 파일.txt": b"x\n", "plain.txt": b"y\n"})
    assert {change.path for change in files(parse(diff))} == {"문서/새 파일.txt", "plain.txt"}


def test_what_a_glance_would_miss_stands_in_the_summary(tmp_path: Path) -> None:
    diff = _git_diff(tmp_path, {"old.py": b"a\n"}, {"logo.bin": bytes(range(256)), "old.py": b"a\nb\n"})
    told = summary(parse(diff))
    assert any("logo.bin" in line and "new file" in line and "binary" in line for line in told)
    assert any("old.py  +1 −0" in line for line in told)
    assert told[-1].startswith("2 files")


def test_a_missing_line_end_is_told(tmp_path: Path) -> None:
    rows = parse(_git_diff(tmp_path, {"a": b"x\n"}, {"a": b"x"}))
    assert rows[-1].text == "\\ No newline at end of file"


def test_long_lines_are_folded_and_marked_never_cut() -> None:
    diff = b"diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -0,0 +1 @@\n+" + b"x" * 500 + b"END\n"
    drawn = [text for kind, text in lines(parse(diff), 60) if kind == "added"]
    assert "".join(part[14:] for part in drawn) == "x" * 500 + "END"
    assert all(cell_width(part) <= 60 for part in drawn)
    assert all("↪" in part for part in drawn[1:])


@given(st.binary(max_size=400))
def test_any_bytes_are_drawn_within_the_width_and_without_control_characters(raw: bytes) -> None:
    for prefix in (b"", b"diff --git a/a b/a\n@@ -1,3 +1,3 @@\n"):
        for _, text in lines(parse(prefix + raw), 50):
            assert text.isprintable() or "\u3000" in text
            assert cell_width(text) <= 50
