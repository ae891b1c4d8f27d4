"""Find a block of lines in a file, tolerating what models get wrong when they copy one, and put another in its place.

Pure. The ways to match are tried from strict to lenient, and the first that matches anywhere decides: one place is a match,
several are a question. Lines that the old and the new block share keep the file's own bytes, so a block that was copied
carelessly changes only what it was meant to change.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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
_NEAR_LETTERS_MAX = 2_000  # of a line that is compared letter by letter
_NEAR_WORK_MAX = 2_000_000  # comparisons of lines
_WORK_MAX = 40_000_000  # the same, in one go
_DIFF_WORK_MAX = 2_000_000  # difflib's steps
_MOVED_MAX = 50  # places: more than one is refused anyway


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
        found = _starts([same(line) for line in lines], [same(line) for line in block])
        if found:
            return [Place(start=at, how=how) for at in found]
    bare, wanted = [_bare(line) for line in lines], [_bare(line) for line in block]
    moved = [place for at in _starts(bare, wanted)[:_MOVED_MAX] if (place := _moved(lines, block, at))]
    return moved or _near(lines, block, bare, wanted)


def put(lines: Sequence[str], place: Place, old: Sequence[str], new: Sequence[str]) -> list[str] | None:
    """Return what stands at `place` after `old` became `new`; None where an indentation has no counterpart there."""
    if not place.how:  # the file says `old` to the letter
        return list(new)
    made: list[str] = []
    for equal, (a, b), (c, d) in _steps(old, new):
        if equal:
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


def _steps(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[bool, tuple[int, int], tuple[int, int]]]:
    """Yield how `old` becomes `new`: (lines are shared, their part of old, their part of new).

    What both begin and end with is shared without a look. difflib's time grows with the cube of lines that repeat: where
    it would take long, all between is taken for changed.
    """
    head = _shared(old, new)
    tail = min(_shared(old[::-1], new[::-1]), len(old) - head, len(new) - head)
    a, b = old[head : len(old) - tail], new[head : len(new) - tail]
    counts = Counter(b)
    if sum(counts[line] for line in a) * min(len(a), len(b)) > _DIFF_WORK_MAX:
        steps = [("replace", 0, len(a), 0, len(b))]
    else:
        steps = difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    yield True, (0, head), (0, head)
    for tag, i, j, k, m in steps:
        yield tag == "equal", (head + i, head + j), (head + k, head + m)
    yield True, (len(old) - tail, len(old)), (len(new) - tail, len(new))


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many lines both begin with."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _starts(lines: list[str], block: list[str]) -> list[int]:
    size = len(block)
    return [at for at in range(len(lines) - size + 1) if lines[at] == block[0] and lines[at : at + size] == block]


def _bare(line: str) -> str:
    return unicodedata.normalize("NFKC", line.translate(_ALIKE)).strip()


_WAYS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("", lambda line: line),
    ("spaces at line ends were ignored", str.rstrip),
    ("typographic characters were taken for plain ones", lambda line: line.translate(_ALIKE).rstrip()),
)


def _moved(lines: Sequence[str], block: Sequence[str], at: int) -> Place | None:
    """Return the place at `at`, where the block stands but for its indentation, if that is shifted alike in all lines."""
    pairs = [(_indent(lines[at + i]), _indent(line)) for i, line in enumerate(block) if line.strip()]
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


def _near(lines: Sequence[str], block: Sequence[str], there: list[str], wanted: list[str]) -> list[Place]:
    """Return the one place where all but one or two lines of a longer block stand, and those nearly.

    `there` and `wanted` are the lines of both without what a careless copy changes.
    """
    told = sum(bool(line.strip()) for line in block)
    if told < _NEAR_LINES_MIN or len(lines) * len(block) > _NEAR_WORK_MAX:
        return []
    most = min(_NEAR_WRONG_MAX, told // _NEAR_LINES_MIN)
    tried = [(at, _wrong(there, wanted, at, most)) for at in range(len(lines) - len(block) + 1)]
    found = [(at, wrong) for at, wrong in tried if wrong is not None]
    if len(found) != 1:
        return []
    at, wrong = found[0]
    if not all(_alike(there[at + i], wanted[i]) for i in wrong):
        return []
    pairs = [(_indent(lines[at + i]), _indent(block[i])) for i in range(len(block)) if block[i].strip()]
    shift = _shift(pairs)
    return [Place(start=at, how="near match: a line differed a little", indent=shift)] if shift else []


def _wrong(there: list[str], wanted: list[str], at: int, most: int) -> list[int] | None:
    """Return which lines differ at `at`; None where more than `most` do."""
    wrong: list[int] = []
    for i, line in enumerate(wanted):
        if there[at + i] != line:
            wrong.append(i)
            if len(wrong) > most:
                return None
    return wrong


def _alike(one: str, other: str) -> bool:
    if max(len(one), len(other)) > _NEAR_LETTERS_MAX:
        return False
    return difflib.SequenceMatcher(None, one, other).ratio() >= _NEAR_RATIO


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
