"""Make a plan fit for the page: single lines, no empty entries, no question twice. Pure.

Models put line ends into names, recommend three options at once and ask the same thing again. What is done about it
here is done once, before anybody sees the plan, so that the lead answers the very words that are asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from agents.plantext import block, one_line
from agents.replies import CheckItem, Option, Plan, Scenario

ANSWER_CHARS_MAX = 2_000  # of one answer; the rest is cut
RECOMMENDED = re.compile(r"\s*\(recommended\)$", re.IGNORECASE)
DASH = re.compile(r"(?:^|(?<=\s))(?:—|–|--)(?=\s|$)")  # what parts a question from its answer


def tidy(plan: Plan) -> Plan:
    """Return a plan that its document can hold: single lines, no empty entries, the planner's question on the list."""
    return Plan(
        summary=one_line(plan.summary) or "A plan",
        scenarios=_scenarios(plan.scenarios),
        files=_lines(_path(path) for path in plan.files),
        risks=_lines(plan.risks),
        options=_options(plan.options),
        steps=_lines(plan.steps),
        rollback=one_line(plan.rollback),
        resources=_lines(plan.resources),
        done=_lines(plan.done),
        checklist=_checklist(plan),
        check=one_line(plan.check).strip("` "),
    )


def _lines(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(line for line in map(one_line, texts) if line))


def _path(path: str) -> str:
    path = one_line(path)
    while (bare := path.strip("` ").removeprefix("./")) != path:
        path = bare
    return path


def _scenarios(given: Sequence[Scenario]) -> list[Scenario]:
    named = [(one_line(s.name) or f"Scenario {at}", block(s.gherkin)) for at, s in enumerate(given, start=1)]
    return [Scenario(name=name, gherkin=gherkin or name) for name, gherkin in named]


def _options(given: Sequence[Option]) -> list[Option]:
    """Return the options, one of them recommended at most."""
    found: list[Option] = []
    for at, option in enumerate(given, start=1):
        name, marked = one_line(option.name), option.recommended
        while (bare := RECOMMENDED.sub("", name)) != name:
            name, marked = bare, True
        fields = {"how": one_line(option.how), "for": one_line(option.for_), "against": one_line(option.against)}
        first = marked and not any(other.recommended for other in found)
        found.append(Option.model_validate({"name": name or f"Option {at}", **fields, "recommended": first}))
    return found


def question_line(text: str) -> str:
    """Return a question in one line, without what would part it from its answer."""
    return one_line(DASH.sub(":", one_line(text)))


def _checklist(plan: Plan) -> list[CheckItem]:
    asked = [(question_line(plan.question), "")]
    asked += [(question_line(item.question), one_line(item.suggestion)) for item in plan.checklist]
    once: dict[str, str] = {}
    for question, suggestion in asked:
        if question:
            once[question] = once.get(question) or suggestion
    return [CheckItem(question=question, suggestion=suggestion) for question, suggestion in once.items()][:20]


def read_answers(plan: Plan, text: str) -> tuple[dict[str, str], str]:
    """Return the lead's answers to the checklist by question, and words that are no such answers.

    `text` is `{"answers": {QUESTION: ANSWER}}` as JSON, or plain words; what is not on the list is left out.
    """
    try:
        said: Any = json.loads(text)["answers"]
        pairs = [(question_line(str(asked)), one_line(str(answer))) for asked, answer in said.items()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}, text
    known = {item.question for item in _checklist(plan)}
    return {asked: answer[:ANSWER_CHARS_MAX] for asked, answer in pairs if asked in known and answer}, ""
