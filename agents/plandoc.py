"""The plan as a document: Markdown that a person reads and edits, and back again. Pure.

`render` writes it, `parse` reads it after a person's hands were on it. Headings are English, so that one parser serves
all languages; what stands below them is in the task's. What a line of Markdown cannot hold is made to fit by `tidy`:
`parse(render(plan))` is `tidy(plan)`, for any plan whatever.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from agents.plantext import Line, Part, block, body, fence, items, one_line, parts, read_lines
from agents.plantidy import ANSWER_CHARS_MAX, DASH, RECOMMENDED, question_line, tidy
from agents.replies import CheckItem, Option, Plan, Scenario
from tandem.errors import BadInput

SUGGESTED = "suggested, not answered"
_INTRO = {
    "en": "Edit what you like. `tandem run --plan FILE` carries it out; nothing has been changed so far.",
    "ko": "원하는 대로 고치세요. `tandem run --plan FILE`이 이 계획을 실행합니다. 아직 아무것도 바뀌지 않았습니다.",
    "zh": "可随意修改。`tandem run --plan FILE` 会执行此计划；到目前为止没有改动任何内容。",
}
_SECTIONS = {
    "task": "task",
    "options": "options",
    "steps": "steps",
    "files": "files",
    "scenarios": "scenarios",
    "test scenarios": "scenarios",
    "check": "check",
    "risks": "risks",
    "rollback": "rollback",
    "resources": "resources",
    "definition of done": "done",
    "done": "done",
    "checklist": "checklist",
    "notes": "notes",
}
_SUGGESTION = re.compile(r"^\s+[-*+]\s+sugges\w*[^:]*:(.*)$", re.IGNORECASE)
_BOX = re.compile(r"^\s*[-*+]\s+\[([ xX]?)\](.*)$")
_FIELD = re.compile(r"^(how|for|against)\s*:\s*(.*)$", re.IGNORECASE)
_BASE = re.compile(r"^\s*[-*+]\s*base:\s*`?([0-9a-f]{7,64})`?\s*$", re.IGNORECASE)
_FOLDER = re.compile(r"^\s*[-*+]\s*folder:\s*(.*\S)\s*$", re.IGNORECASE)
_TITLE = re.compile(r"^(?:plan\s*:\s*)?(.*)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDocument:
    """What a document says. `base` is the commit it was made for, `folder` the part of the repository, "" where it
    names none; `notes` are the lead's.
    """

    plan: Plan
    answers: Mapping[str, str]
    task: str
    base: str = ""
    folder: str = ""
    notes: str = ""


# --- writing --------------------------------------------------------------------------------------------------


def render(plan: Plan, *, task: str, base: str, answers: Mapping[str, str], language: str, folder: str = "") -> str:
    """Return the document: the plan for `task` at commit `base`, with the lead's `answers` by question.

    `folder` is the part of the repository it is for, "" for all of it.
    """
    plan = tidy(plan)
    written: list[tuple[str, list[str]]] = [
        ("Task", fence(block(task), "text")),
        ("Options", [line for option in plan.options for line in _option_lines(option)]),
        ("Steps", [f"{at}. {step}" for at, step in enumerate(plan.steps, start=1)]),
        ("Files", [f"- {path}" if "`" in path else f"- `{path}`" for path in plan.files]),
        ("Scenarios", [line for scenario in plan.scenarios for line in _scenario_lines(scenario)]),
        ("Check", fence(plan.check, "sh") if plan.check else []),
        ("Risks", [f"- {risk}" for risk in plan.risks]),
        ("Rollback", [f"- {plan.rollback}"] if plan.rollback else []),
        ("Resources", [f"- {resource}" for resource in plan.resources]),
        ("Definition of done", [f"- {one}" for one in plan.done]),
        ("Checklist", [line for item in plan.checklist for line in _check_lines(item, answers)]),
    ]
    head = [f"# Plan: {plan.summary}", "", _INTRO.get(language, _INTRO["en"]), "", f"- base: `{base}`"]
    head += [f"- folder: {_folder_word(folder)}"] if folder else []
    for title, lines in written:
        head += ["", f"## {title}", "", "\n".join(lines).rstrip("\n")] if lines else []
    return "\n".join(head) + "\n"


def _folder_word(folder: str) -> str:
    """Return the folder in backticks; in JSON where its name has something that a line or backticks cannot hold."""
    return f"`{folder}`" if folder.isprintable() and "`" not in folder else json.dumps(folder)


def _option_lines(option: Option) -> list[str]:
    fields = (("how", option.how), ("for", option.for_), ("against", option.against))
    mark = " (recommended)" if option.recommended else ""
    return [f"### {option.name}{mark}", "", *(f"- {key}: {text}" for key, text in fields if text), ""]


def _scenario_lines(scenario: Scenario) -> list[str]:
    return [f"### {scenario.name}", "", *fence(scenario.gherkin, "gherkin"), ""]


def _check_lines(item: CheckItem, answers: Mapping[str, str]) -> list[str]:
    answer = one_line(answers.get(item.question, ""))
    head = f"- [x] {item.question} — {answer}" if answer else f"- [ ] {item.question}"
    kind = "suggestion" if answer else SUGGESTED
    return [head, f"  - {kind}: {item.suggestion}"] if item.suggestion else [head]


# --- reading --------------------------------------------------------------------------------------------------


def parse(text: str) -> PlanDocument:
    """Return what the document says.

    Raises:
        BadInput: It is no plan, or a part of it cannot be read; the message names the line.
    """
    title, sections, preamble = _outline(text)
    task = body(sections["task"].lines) if "task" in sections else ""
    if not task:
        at = sections["task"].number if "task" in sections else title.number
        raise BadInput(f"line {at}: the plan names no task; write it under a heading '## Task'")
    checklist, answers = _read_checklist(sections.get("checklist"))
    fields: dict[str, Any] = {
        "summary": title.text,
        "options": _read_options(sections.get("options")),
        "scenarios": _read_scenarios(sections.get("scenarios")),
        "checklist": checklist,
        **{key: [line.text for line in _items(sections.get(key))] for key in ("steps", "risks", "resources", "done")},
        "files": [_read_path(line.text) for line in _items(sections.get("files"))],
        "rollback": " ".join(line.text for line in _items(sections.get("rollback"))),
        "check": body(sections["check"].lines) if "check" in sections else "",
    }
    base = next((found[1] for line in preamble if (found := _BASE.match(line.text))), "")
    notes = body(sections["notes"].lines) if "notes" in sections else ""
    return PlanDocument(
        plan=_plan(fields, sections, title),
        answers=answers,
        task=task,
        base=base,
        folder=_read_folder(preamble),
        notes=notes,
    )


def _outline(text: str) -> tuple[Line, dict[str, Part], tuple[Line, ...]]:
    """Return the title, the sections by name, and what stands before the first of them."""
    preamble, *found = parts(read_lines(text.removeprefix("\ufeff")), 2)
    titles = parts(preamble.lines, 1)[1:]
    summary = one_line(_TITLE.sub(r"\1", titles[0].title)) if titles else ""
    if not summary:
        raise BadInput("line 1: the plan has no title; begin with a line '# Plan: what will be done'")
    sections: dict[str, Part] = {}
    for part in found:
        name = _SECTIONS.get(one_line(part.title).rstrip(":").lower())
        if name is None:
            known = "Task, Options, Steps, Files, Scenarios, Check, Risks, Rollback, Resources, Definition of done"
            raise BadInput(
                f"line {part.number}: {part.title[:80]!r} is no section of a plan; there are {known}, Checklist, Notes"
            )
        if name in sections:
            raise BadInput(
                f"line {part.number}: {part.title[:80]!r} stands in line {sections[name].number} already; put both together"
            )
        sections[name] = part
    return Line(number=titles[0].number, text=summary), sections, titles[0].lines


def _read_folder(preamble: tuple[Line, ...]) -> str:
    line, word = next(((line, found[1]) for line in preamble if (found := _FOLDER.match(line.text))), (None, ""))
    if line is None or not word.startswith('"'):
        return word.strip("`")
    try:
        folder = str(json.loads(word))
        folder.encode()  # JSON can write half a character
        return folder
    except (ValueError, RecursionError):
        raise BadInput(f"line {line.number}: {word[:80]} is no folder; write its name in backticks") from None


def _items(part: Part | None) -> list[Line]:
    return items(part.lines) if part else []


def _read_path(text: str) -> str:
    """Return the path of an item; after one in backticks, words may follow."""
    marked = re.match(r"`([^`]+)`", text)
    return marked[1] if marked else text


def _inside(part: Part | None, what: str) -> list[Part]:
    """Return what stands below the headings of a section."""
    if part is None:
        return []
    before, *found = parts(part.lines, 3)
    stray = next((line for line in before.lines if line.text.strip()), None)
    if stray is not None:
        raise BadInput(f"line {stray.number}: begin each {what} with a heading of its own, as in '### Its name'")
    return found


def _read_options(section: Part | None) -> list[dict[str, Any]]:
    return [_read_option(part) for part in _inside(section, "option")]


def _read_option(part: Part) -> dict[str, Any]:
    fields: dict[str, str] = {}
    for item in items(part.lines):
        found = _FIELD.match(item.text)
        key, text = (found[1].lower(), found[2]) if found else ("how", item.text)
        fields[key] = f"{fields.get(key, '')} {text}".strip()
    name = RECOMMENDED.sub("", part.title)
    return {"name": name, **fields, "recommended": name != part.title}


def _read_scenarios(section: Part | None) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for part in _inside(section, "scenario"):
        gherkin = body(part.lines)
        if not gherkin:
            raise BadInput(
                f"line {part.number}: the scenario {part.title[:80]!r} is empty; write Given, When and Then below it"
            )
        found.append({"name": part.title, "gherkin": gherkin})
    return found


def _read_checklist(section: Part | None) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Return the items, and the answers by question; a ticked box without words takes the suggestion."""
    found: list[dict[str, Any]] = []
    for line in section.lines if section else ():
        if box := _BOX.match(line.text):
            found.append({"line": line.number, "text": box[2], "ticked": box[1] in ("x", "X"), "last": "text"})
        elif found and (suggested := _SUGGESTION.match(line.text)):
            found[-1] |= {"suggestion": suggested[1], "last": "suggestion"}
        elif found:
            found[-1][found[-1]["last"]] += f" {line.text.strip()}"
        elif line.text.strip():
            raise BadInput(f"line {line.number}: an item of the checklist begins with '- [ ]' or '- [x]'")
    answers: dict[str, str] = {}
    checklist: list[dict[str, str]] = []
    for item in found:
        asked, words = _parted(item["text"])
        suggestion = one_line(item.get("suggestion", ""))
        if not asked:
            raise BadInput(
                f"line {item['line']}: this item of the checklist asks nothing; write the question behind it"
            )
        words = words or (suggestion or "yes" if item["ticked"] else "")
        answers |= {asked: words[:ANSWER_CHARS_MAX]} if words else {}
        checklist.append({"question": asked, "suggestion": suggestion})
    return checklist, answers


def _parted(text: str) -> tuple[str, str]:
    """Return the question and the answer behind its dash."""
    text = one_line(text)
    found = DASH.search(text)
    if found is None:
        return text, ""
    return question_line(text[: found.start()]), one_line(text[found.end() :])


def _plan(fields: Mapping[str, Any], sections: Mapping[str, Part], title: Line) -> Plan:
    """Return the fields as a plan, or say in which line they do not fit."""
    try:
        return tidy(Plan.model_validate(fields))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        section = sections.get(str(first["loc"][0]))
        where, name = (section.number, section.title) if section else (title.number, "the title")
        raise BadInput(f"line {where}: {name} does not fit: {first['msg']}") from None
