"""How an order is described, for the languages' rules and the engine that runs them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

DESTROYS = "orders to destroy what lies outside the repository or cannot be brought back"
REWRITES = "orders to overwrite a history that others share"
LEAKS = "orders to send credentials away"
SWITCHES = "orders to switch off what guards this machine"
FORGETS = "tells a model to forget its instructions"
FETCHES = "orders to run a program straight from the network"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRule:
    """A pattern, and what it means. A command line counts wherever it stands; of words one may also just talk."""

    name: str
    verdict: Literal["ask", "block"]
    told: str
    pattern: re.Pattern[str]


def ask(name: str, told: str, *pieces: str) -> OrderRule:
    """Return a rule about which the lead is asked; `pieces` of its pattern follow each other."""
    return OrderRule(name=name, verdict="ask", told=told, pattern=_compiled(pieces))


def block(name: str, told: str, *pieces: str) -> OrderRule:
    """Return a rule that ends the run."""
    return OrderRule(name=name, verdict="block", told=told, pattern=_compiled(pieces))


def any_of(*alternatives: str) -> str:
    """Return a pattern that fits any of `alternatives`."""
    return f"(?:{'|'.join(alternatives)})"


def words(text: str) -> str:
    """Return a pattern that fits any word of `text`."""
    return any_of(*text.split())


def _compiled(pieces: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("".join(pieces), re.IGNORECASE | re.MULTILINE)
