"""Put a plan's checklist to the person at the terminal, one question after the other.

The answers travel as JSON in the words of one decision; what is left open stays open, and the plan says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from cli import output
from cli.render.loose import mapping, objects, text
from cli.render.text import one_line

Read = Callable[[str], str | None]  # prompt -> what was typed, None at the end of input


def checklist_of(question: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the checklist of the plan that a run asks about; empty where there is none."""
    plan = mapping(mapping(question.get("details")).get("plan"))
    return [item for item in objects(plan.get("checklist")) if text(item, "question")]


def ask_all(items: list[dict[str, Any]], read: Read) -> str | None:
    """Return the person's answers as the words of a decision, or None where the person leaves."""
    answers: dict[str, str] = {}
    for at, item in enumerate(items, start=1):
        question, suggestion = text(item, "question"), text(item, "suggestion")
        output.say(f"  {at}/{len(items)} {one_line(question)}")
        if suggestion:
            output.say(f"      suggested: {one_line(suggestion)}")
        typed = read(
            f"      your answer ({'Enter: as suggested' if suggestion else 'Enter: leave it open'}, -: open) > "
        )
        if typed is None:
            return None
        answer = typed or suggestion
        if answer and typed != "-":
            answers[question] = answer
    return json.dumps({"answers": answers}, ensure_ascii=False)
