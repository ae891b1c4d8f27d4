"""What a twin is. Values only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """A changed copy of a test file. `changed` names the tests that must fail now, as a report's id ends.

    `kept` names those in which nothing could be changed that surely makes them fail. Where `whole`, every test of the
    file was changed, also those whose names only a run tells, so that none may pass.
    """

    text: str
    changed: tuple[str, ...]
    kept: tuple[str, ...]
    whole: bool = False
