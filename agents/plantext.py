"""The little Markdown a plan is kept in: sections, headings below them, list items, fences. Pure.

Knows lines and their numbers, so that what cannot be read is named by its place. It knows nothing of plans. Text that
models wrote is made to fit first: `one_line` and `block` take out what a line or a terminal would trip over.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tandem.errors import BadInput

_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they reorder what a person reads
_UNFIT = frozenset(("Cc", "Cs", "Zl", "Zp"))  # controls, half characters, separators of lines
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$")
_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(\S.*)$")
_MARKER = re.compile(r"^\s*(?:[-*+]|\d{1,3}[.)])\s+(\S.*)$")
_REMARK = re.compile(r"^\s*<!--.*-->\s*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the document. `number` counts from 1; `fenced` says that it stands in a fence."""

    number: int
    text: str
    fenced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A heading and the lines below it. What stands before the first heading has the title ""."""

    number: int
    title: str
    lines: tuple[Line, ...]


def one_line(text: str) -> str:
    """Return `text` as one line: no controls, no overrides of direction, single blanks."""
    return " ".join(_fit(text).split())


def block(text: str) -> str:
    """Return `text` with its lines and their indentation, without controls, blanks at ends, empty lines around."""
    lines = [_fit(line).rstrip() for line in re.split(r"\r\n|\r|\n", text)]
    return "\n".join(lines).strip("\n")


def _fit(text: str) -> str:
    kept = (" " if char != "\t" and unicodedata.category(char) in _UNFIT else char for char in text)
    return "".join(char for char in kept if char not in _BIDI)


def fence(text: str, kind: str = "") -> list[str]:
    """Return the lines of `text` in a fence longer than any inside it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    marks = "`" * max(3, longest + 1)
    return [f"{marks}{kind}", *text.split("\n"), marks]


def read_lines(text: str) -> list[Line]:
    """Return the document's lines; those that open or close a fence are left out, as are remarks `<!-- … -->`.

    Raises:
        BadInput: A fence is never closed.
    """
    found: list[Line] = []
    opened, marks = 0, ""
    for number, raw in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        line = raw.expandtabs(4) if not marks and raw.startswith("\t") else raw
        mark = _FENCE.match(line)
        if marks and mark and mark[1].startswith(marks) and not mark[2].strip():
            marks = ""
        elif not marks and mark and not (mark[1][0] == "`" and "`" in mark[2]):
            opened, marks = number, mark[1]
            found.append(Line(number=number, text="", fenced=True))  # so that an empty fence is still seen
        elif marks or not _REMARK.match(line):
            found.append(Line(number=number, text=line, fenced=bool(marks)))
    if marks:
        raise BadInput(f"line {opened}: the fence {marks} is never closed; add a line {marks} where it ends")
    return found


def parts(lines: Iterable[Line], level: int) -> list[Part]:
    """Return `lines` cut at the headings of `level`, the lines before the first of them first."""
    found: list[tuple[int, str, list[Line]]] = [(0, "", [])]
    for line in lines:
        heading = None if line.fenced else _HEADING.match(line.text)
        if heading and len(heading[1]) == level:
            found.append((line.number, heading[2].strip(), []))
        else:
            found[-1][2].append(line)
    return [Part(number=number, title=title, lines=tuple(inside)) for number, title, inside in found]


def items(lines: Sequence[Line]) -> list[Line]:
    """Return the items of a list, whatever they are marked with; a line without a mark goes on with the one before."""
    found: list[Line] = []
    for line in lines:
        if not line.text.strip():
            continue
        mark = None if line.fenced else _MARKER.match(line.text)
        if mark or not found:
            found.append(Line(number=line.number, text=mark[1] if mark else line.text.strip()))
        else:
            last = found[-1]
            found[-1] = Line(number=last.number, text=f"{last.text} {line.text.strip()}")
    return found


def body(lines: Sequence[Line]) -> str:
    """Return the text of a part: what stands in its fences where there are any, else its lines."""
    inside = [line.text for line in lines if line.fenced]
    return block("\n".join(inside or [line.text for line in lines]))
