"""Read a unified diff's real bytes into rows with line numbers, and draw them so that nothing can hide.

The hunk header's counts say what is content: a removed line that reads `-- a/file` is not taken for a header. Bytes
that are no text, control and bidirectional characters, carriage returns and odd blanks are spelled out; tabs show as
arrows; long lines are folded with a mark, never cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from cli.render.text import fold, visible

RowKind = Literal["file", "meta", "hunk", "same", "added", "removed"]
_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_OCTAL = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
_GUTTER = 5  # digits of a line number


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a diff; `old` and `new` are its numbers there, None where it has none. `text` is visible."""

    kind: RowKind
    text: str
    old: int | None = None
    new: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """What a diff does to one file, counted."""

    path: str
    added: int = 0
    removed: int = 0
    notes: tuple[str, ...] = ()  # new file, mode, binary: what a glance at the lines would miss


def parse(diff: bytes) -> list[Row]:
    """Return the rows of a diff as `git diff` writes it."""
    rows: list[Row] = []
    old = new = old_left = new_left = 0
    for line in diff.split(b"\n")[: -1 if diff.endswith(b"\n") else None]:
        head, content = line[:1], line[1:]
        if head == b"\\" and rows:
            rows.append(Row(kind="meta", text=shown(line)))
        elif old_left > 0 and head == b"-":
            rows.append(Row(kind="removed", text=shown(content), old=old))
            old, old_left = old + 1, old_left - 1
        elif new_left > 0 and head == b"+":
            rows.append(Row(kind="added", text=shown(content), new=new))
            new, new_left = new + 1, new_left - 1
        elif old_left > 0 and new_left > 0 and head in (b" ", b""):
            rows.append(Row(kind="same", text=shown(content), old=old, new=new))
            old, new, old_left, new_left = old + 1, new + 1, old_left - 1, new_left - 1
        elif hunk := _HUNK.match(line):
            old, new = int(hunk[1]), int(hunk[3])
            old_left, new_left = int(hunk[2] or 1), int(hunk[4] or 1)
            rows.append(Row(kind="hunk", text=shown(line)))
        elif line.startswith(b"diff --git "):
            rows.append(Row(kind="file", text=shown(_names(line[11:]))))
        else:
            rows.append(Row(kind="meta", text=shown(line)))
    return rows


def shown(raw: bytes) -> str:
    """Return bytes as text in which everything is seen: `⟨0x80⟩` for no text, `→` for a tab."""
    text = raw.decode("utf-8", "surrogateescape")
    if any("\udc80" <= c <= "\udcff" for c in text):
        text = "".join(f"⟨0x{ord(c) - 0xDC00:02X}⟩" if "\udc80" <= c <= "\udcff" else c for c in text)
    trailing = len(text) - len(text.rstrip(" "))
    if trailing:
        text = text[:-trailing] + "·" * trailing
    return visible(text, keep="\t").replace("\t", "→   ")


def _names(raw: bytes) -> bytes:
    """Return `a/x b/x` as `x`, and quoted names as they are called."""
    half = (len(raw) - 1) // 2
    if raw.startswith(b'"') and raw.endswith(b'"'):
        first, second = _unquote(raw[1 : half - 1]), _unquote(raw[half + 2 : -1])
    else:
        first, second = raw[:half], raw[half + 1 :]
    if raw[half : half + 1] == b" " and first[2:] == second[2:] and first[:2] == b"a/" and second[:2] == b"b/":
        return first[2:]
    return raw


def _unquote(raw: bytes) -> bytes:
    def plain(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return bytes([int(code, 8) & 0xFF]) if len(code) == 3 else _ESCAPES.get(code, code)

    return _OCTAL.sub(plain, raw)


def files(rows: Iterable[Row]) -> list[FileChange]:
    """Return what a diff does to each file."""
    found: list[FileChange] = []
    for row in rows:
        if row.kind == "file" or not found:
            found.append(FileChange(path=row.text if row.kind == "file" else "(no name)"))
        last = found[-1]
        noted = (*last.notes, row.text) if row.kind == "meta" and _telling(row.text) else last.notes
        found[-1] = FileChange(
            path=last.path,
            added=last.added + (row.kind == "added"),
            removed=last.removed + (row.kind == "removed"),
            notes=noted,
        )
    return found


def _telling(text: str) -> bool:
    return text.startswith(
        ("new file", "deleted file", "old mode", "new mode", "rename", "copy", "Binary", "GIT binary")
    )


def summary(rows: Iterable[Row]) -> list[str]:
    """Return one line for each file, and the sum."""
    changes = files(rows)
    lines = [f"{c.path}  +{c.added} −{c.removed}" + "".join(f"  [{note}]" for note in c.notes) for c in changes]
    added, removed = sum(c.added for c in changes), sum(c.removed for c in changes)
    return [*lines, f"{len(changes)} file{'s' * (len(changes) != 1)}, +{added} −{removed}"]


def lines(rows: Iterable[Row], cells: int) -> list[tuple[RowKind, str]]:
    """Return the rows as lines at most `cells` wide: numbers, sign, text; folded lines are marked `↪`."""
    drawn: list[tuple[RowKind, str]] = []
    for row in rows:
        if row.kind in ("file", "meta", "hunk"):  # heads and folds are equally wide, so that both fit
            head = {"file": "━━━━ ", "meta": "     ", "hunk": "     "}[row.kind]
            blank = "   ↪ "
        else:
            sign = {"same": " ", "added": "+", "removed": "-"}[row.kind]
            head = f"{_number(row.old)} {_number(row.new)} {sign} "
            blank = " " * (2 * _GUTTER + 1) + " ↪ "
        first, *rest = fold(row.text, max(cells - len(head), 10))
        drawn.append((row.kind, head + first))
        drawn.extend((row.kind, blank + piece) for piece in rest)
    return drawn


def _number(value: int | None) -> str:
    return f"{'' if value is None else value:>{_GUTTER}}"
