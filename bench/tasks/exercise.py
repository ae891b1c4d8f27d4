"""One exercise of a pack, whatever layout its folder had, or why it is none that runs here. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tandem.types import Adapter


@dataclass(frozen=True, slots=True, kw_only=True)
class Exercise:
    """What a team is given (`task`, `base`), and what is known beside it: the tests and a solution that passes them.

    Each mapping is from a path in the repository to a file's whole text. `tests` and `solution` lie over `base`; a
    solution's path may replace one of the base (the stub) and never one of the tests.
    """

    name: str  # unique in its pack: "python/two-fer"
    language: str  # "python", "javascript", "go", "rust", ...
    task: str  # the instructions, as a person would hand them in
    base: Mapping[str, str]
    tests: Mapping[str, str]
    solution: Mapping[str, str]
    command: tuple[str, ...]  # how the tests are run, from the top
    adapter: Adapter
    notes: tuple[str, ...] = field(default=())  # what was changed or left out on reading, for the report


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRun:
    """An exercise that is in the pack and is not run, and why; it is listed, never left out silently."""

    name: str
    language: str
    reason: str
