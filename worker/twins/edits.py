"""Changes to a text by byte ranges, and the values put in the place of expected ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

TEXT_BYTES_MAX = 1 << 20  # of one test file that is read; a larger one has no twin
_ADDED_TO = 1e12  # past that, a float takes no notice of a thousand


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Put `text` in the place of the bytes from `start` up to `end`."""

    start: int
    end: int
    text: str


def applied(source: bytes, edits: Sequence[Edit]) -> str:
    """Return the text with every change made; they do not overlap."""
    for edit in sorted(edits, key=lambda edit: -edit.start):
        source = source[: edit.start] + edit.text.encode() + source[edit.end :]
    return source.decode()


def word(random: Random, length: int = 9) -> str:
    """Return a word of small letters that stands in no text by chance."""
    return "".join(random.choices("bcdfghklmnprstvz", k=length))


def other_number(value: float, random: Random) -> float:
    """Return a number of the same kind that is surely another, however large or small `value` is."""
    more = random.randrange(1007, 1997)
    if isinstance(value, int):
        return value + more
    return value + more + 0.5 if abs(value) < _ADDED_TO else value / 2


def unmistakable(changed: Iterable[str], kept: Iterable[str]) -> tuple[str, ...]:
    """Return the changed tests' names less those that a kept one ends with: a report knows a test by its end."""
    others = tuple(kept)
    return tuple(name for name in dict.fromkeys(changed) if not any(other.endswith(name) for other in others))
