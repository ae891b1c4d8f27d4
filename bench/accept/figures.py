"""What was measured, before anybody compares it with a target."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measurement, named as its target is. `value` is None where it could not be taken, and then `note` says why.

    `of` is what it was taken of, such as a model or a machine, "" where there is only one.
    """

    name: str
    value: float | None
    note: str = ""
    of: str = ""


def untaken(why: str, *names: str, of: str = "") -> list[Figure]:
    """Return figures that could not be taken, all for one reason."""
    return [Figure(name=name, value=None, note=why, of=of) for name in names]
