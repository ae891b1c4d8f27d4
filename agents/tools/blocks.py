"""Find a block of lines in a file, tolerating what models get wrong when they copy one, and put another in its place.

Pure. The ways to match are tried from strict to lenient, and the first that matches anywhere decides: one place is a match,
several are a question. Lines that the old and the new block share keep the file's own bytes, so a block that was copied
carelessly changes only what it was meant to change.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Indent = Callable[[str], str | None]  # an indentation in the block -> the one in the file, or None where there is none
_ALIKE = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2013": "-",
        "\u2014": "-",
        "\u00a0": " ",
        "\u2212": "-",
    }
)
_UNITS = (4, 2, 8, 3)
_NEAR_LINES_MIN = 4  # shorter blocks say too little for a line in them to be wrong
_NEAR_WRONG_MAX = 2
_NEAR_RATIO = 0.75  # of a wrong line to the file's
_LINES_MAX = 20_000  # of a file that is searched leniently
_WORK_MAX = 40_000_000  # comparisons of lines


def _same(indent: str) -> str | None:
    return indent


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a block stands: its first line (from 0), how it was matched, and what its indentation becomes."""

    start: int
    how: str = ""
    indent: Indent = _same


def find(lines: Sequence[str], block: Sequence[str]) -> list[Place]:
    """Return the places of `block` in `lines` (both without line ends) by the strictest way that finds any."""
    if not block or len(block) > len(lines) or len(lines) * len(block) > _WORK_MAX:
        return []
    for how, same in _WAYS:
        shaped = [same(line) for line in block]
        found = [
            at
            for at in _starts(lines, shaped[0], same, len(block))
            if [same(x) for x in lines[at : at + len(block)]] == shaped
        ]
        if found:
            return [Place(start=at, how=how) for at in found]
    moved = [place for at in range(len(lines) - len(block) + 1) if (place := _moved(lines, block, at))]
    return moved or _near(lines, block)


def put(lines: Sequence[str], place: Place, old: Sequence[str], new: Sequence[str]) -> list[str] | None:
    """Return what stands at `place` after `old` became `new`; None where an indentation has no counterpart there."""
    made: list[str] = []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            made += lines[place.start + a : place.start + b]
            continue
        if place.how.startswith("near") and any(_bare(lines[place.start + i]) != _bare(old[i]) for i in range(a, b)):
            return None  # what was to be replaced is not what the model took it for
        for line in new[c:d]:
            indented = _indented(line, place.indent)
            if indented is None:
                return None
            made.append(indented)
    return made


def _starts(lines: Sequence[str], first: str, same: Callable[[str], str], size: int) -> list[int]:
    return [at for at in range(len(lines) - size + 1) if same(lines[at]) == first]


def _bare(line: str) -> str:
    return unicodedata.normalize("NFKC", line.translate(_ALIKE)).strip()


_WAYS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("", lambda line: line),
    ("spaces at line ends were ignored", str.rstrip),
    ("typographic characters were taken for plain ones", lambda line: line.translate(_ALIKE).rstrip()),
)


def _moved(lines: Sequence[str], block: Sequence[str], at: int) -> Place | None:
    """Return the place at `at` where the block stands there with another indentation, the same shift for all lines."""
    theirs = lines[at : at + len(block)]
    if any(_bare(a) != _bare(b) for a, b in zip(theirs, block, strict=True)):
        return None
    pairs = [(_indent(a), _indent(b)) for a, b in zip(theirs, block, strict=True) if b.strip()]
    shift = _shift(pairs) if pairs else None
    return Place(start=at, how="the indentation was taken from the file", indent=shift) if shift else None


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _shift(pairs: Sequence[tuple[str, str]]) -> Indent | None:
    """Return what turns the block's indentations into the file's, if one rule does."""
    for form in (_same, *(made for unit in _UNITS for made in (_to_tabs(unit), _to_spaces(unit)))):
        formed = [(here, form(given)) for here, given in pairs]
        here, given = formed[0]
        if given is None:
            continue
        for rule in _moves(here, given, form):
            if all(rule(given) == here for here, given in pairs):
                return rule
    return None


def _moves(here: str, given: str, form: Indent) -> list[Indent]:
    """Return the rules by which `given`, brought into `form`, becomes `here`: more of the same, or less."""
    rules: list[Indent] = []
    if here.endswith(given):
        more = here[: len(here) - len(given)]
        rules.append(lambda indent: None if (formed := form(indent)) is None else more + formed)
    if given.endswith(here):
        less = given[: len(given) - len(here)]
        rules.append(lambda indent: _less(form(indent), less))
    return rules


def _less(indent: str | None, less: str) -> str | None:
    return indent[len(less) :] if indent is not None and indent.startswith(less) else None


def _to_tabs(unit: int) -> Indent:
    return lambda indent: "\t" * (len(indent) // unit) if "\t" not in indent and len(indent) % unit == 0 else None


def _to_spaces(unit: int) -> Indent:
    return lambda indent: " " * (len(indent) * unit) if " " not in indent else None


def _indented(line: str, indent: Indent) -> str | None:
    if not line.strip():
        return line
    given = _indent(line)
    made = indent(given)
    return None if made is None else made + line[len(given) :]


def _near(lines: Sequence[str], block: Sequence[str]) -> list[Place]:
    """Return the one place where all but one or two lines of a longer block stand, and those nearly."""
    told = sum(bool(line.strip()) for line in block)
    if told < _NEAR_LINES_MIN or len(lines) > _LINES_MAX:
        return []
    wanted, there = [_bare(line) for line in block], [_bare(line) for line in lines]
    found: list[tuple[int, int]] = []
    for at in range(len(lines) - len(block) + 1):
        wrong = [i for i, line in enumerate(wanted) if there[at + i] != line]
        if len(wrong) <= min(_NEAR_WRONG_MAX, told // _NEAR_LINES_MIN):
            found.append((len(wrong), at))
    if len(found) != 1:
        return []
    _, at = found[0]
    for i, line in enumerate(wanted):
        if there[at + i] != line and difflib.SequenceMatcher(None, there[at + i], line).ratio() < _NEAR_RATIO:
            return []
    pairs = [(_indent(lines[at + i]), _indent(block[i])) for i in range(len(block)) if block[i].strip()]
    shift = _shift(pairs)
    return [Place(start=at, how="near match: a line differed a little", indent=shift)] if shift else []


_NUMBERED = re.compile(r"^\s*\d+(?:\s*[|:]\s?|\t)")


def without_numbers(text: str) -> str:
    """Return a listing's lines without the numbers before them; the text itself where not every line has one."""
    lines = text.split("\n")
    told = [line for line in lines if line.strip()]
    if not told or not all(_NUMBERED.match(line) for line in told):
        return text
    return "\n".join(_NUMBERED.sub("", line, count=1) for line in lines)


def without_fence(text: str) -> str:
    """Return what stands in a fence, where the whole text is one."""
    found = re.fullmatch(r"\s*```[\w+-]*\n(.*?)\n?```\s*", text, re.DOTALL)
    return found[1] if found else text
