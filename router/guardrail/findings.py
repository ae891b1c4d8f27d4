"""What a rule found in a text, and the answer that follows from all findings. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tandem.types import Screening

REASONS_MAX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing a rule does not like. `reason` is fit for a person and holds nothing of a secret but its place."""

    rule: str
    verdict: Literal["ask", "block"]
    reason: str


def decide(findings: Iterable[Finding]) -> Screening:
    """Return the strictest verdict, with what led to it first."""
    found = sorted(set(findings), key=lambda f: (f.verdict != "block", f.rule, f.reason))
    if not found:
        return Screening(verdict="allow")
    reasons = [f.reason for f in found[:REASONS_MAX]]
    if len(found) > REASONS_MAX:
        reasons.append(f"and {len(found) - REASONS_MAX} findings more")
    return Screening(verdict=found[0].verdict, reasons=tuple(reasons))


def place(text: str, offset: int) -> str:
    """Return where `offset` is, as a person counts."""
    line = text.count("\n", 0, offset) + 1
    return f"line {line}, column {offset - (text.rfind(chr(10), 0, offset) + 1) + 1}"
