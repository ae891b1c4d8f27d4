"""Every rule by its name. Pure: a text in, findings out."""

from __future__ import annotations

from collections.abc import Callable

from router.guardrail.characters import BLOCK_CHARS, characters, size
from router.guardrail.findings import Finding
from router.guardrail.orders import orders
from router.guardrail.secrets import secrets

Rule = Callable[[str], list[Finding]]
RULES: dict[str, Rule] = {"size": size, "characters": characters, "secrets": secrets, "orders": orders}


def examine(text: str) -> list[Finding]:
    """Return what all rules find; a text too large to be taken on is not looked into."""
    if len(text) > BLOCK_CHARS:
        return size(text)
    return [finding for rule in RULES.values() for finding in rule(text)]
