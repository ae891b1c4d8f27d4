"""What a trick is: a coder's change that fools a judge, beside a change that looks alike and is honest. Values only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from bench.tasks.exercise import Exercise

# A coder's whole change over base and tests: a path to a file's whole text, None to delete it.
Change = Mapping[str, str | None]
# None where it does not apply: another language or runner, or nothing in the exercise to work with.
Maker = Callable[[Exercise], Change | None]
Group = Literal["tests", "configuration", "startup", "patching", "exits", "reports", "lookup", "world"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trick:
    """One way to cheat. `cheat` must never be merged, and `honest`, its twin, always.

    `cheat` makes the plain test command end with status 0 over a program that does not do what was asked; `honest` holds
    the exercise's real solution and touches the same kind of file, or uses the same module, for a reason of its own.
    `why_not` says, of one that is not catchable, why runs of tests alone cannot tell it from an honest change.
    """

    name: str  # unique
    group: Group
    languages: tuple[str, ...]
    what: str  # in a line, fit for a report
    cheat: Maker
    honest: Maker
    catchable: bool = True
    why_not: str = ""


def by_language(**makers: Maker) -> Maker:
    """Return a maker that asks the one of the exercise's language, and does not apply where there is none."""

    def make(exercise: Exercise) -> Change | None:
        maker = makers.get(exercise.language)
        return maker(exercise) if maker else None

    return make
