"""The first checkpoint: rules that need no model, behind guardrails-ai where it is installed.

The rules are pure functions of a text (`rules`); `guardrails_ai` runs them as validators and fails closed.
"""

from __future__ import annotations

from tandem.ports import Guardrail


def load() -> Guardrail:
    """Return the guard; what it needs is imported with the first task."""
    from router.guardrail.guardrails_ai import Guard

    return Guard()
