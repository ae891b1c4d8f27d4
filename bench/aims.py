"""What a bench aims at, beside what it found, and whether that is met. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from cli.render.loose import mapping

Sense = Literal["at_most", "at_least"]


def judged(sense: Sense, limit: float, found: float | None) -> dict[str, Any]:
    """Return an aim as plain JSON; `found` and whether it is met are None where it was not measured."""
    met = None if found is None else found <= limit if sense == "at_most" else found >= limit
    return {sense: limit, "found": found, "met": met}


def lines(aims: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for each aim that was measured; those that were missed begin with "aim MISSED"."""
    return [_line(name, aim) for name, aim in aims.items() if aim["met"] is not None]


def missed(found: Mapping[str, Any]) -> bool:
    """Return whether what a bench found misses one of the aims it judges."""
    return any(mapping(aim).get("met") is False for aim in mapping(found.get("aims")).values())


def _line(name: str, aim: Mapping[str, Any]) -> str:
    sense = "at_most" if "at_most" in aim else "at_least"
    verdict = "met" if aim["met"] else "MISSED"
    return f"aim {verdict}: {name} is {aim['found']:g}, {sense.replace('_', ' ')} {aim[sense]:g}"
