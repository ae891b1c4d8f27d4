"""Walk through a text from mark to mark, and let each form read what is its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from agents.tools.textcalls import jsons, names, pythons, quoting, xmls
from agents.tools.textcalls.attempt import CALLS_MAX, TEXT_MAX, Attempt, Found
from tandem.types import Tool

_MARK = re.compile(
    r"(?P<unsaid><think(?:ing)?>|<!--)"
    r"|(?P<tag><\|?tool_call\|?>|<function_call>|\[TOOL_CALLS\]|<\|python_tag\|>"
    r"|<[|｜]tool[_▁]calls?[_▁](?:section[_▁])?begin[|｜]>|<\|channel\|>[ \w]*\bto=)"
    r"|(?P<xml><(?:function|invoke)(?:\s*[=:]\s*|\s+name\s*=\s*))"
    r"|(?P<named><tool_call\s+name\s*=\s*)"
    r"|(?P<fence>^[ \t]*```[ \t]*(?P<language>[\w+-]*)[ \t]*\n)"
    r"|(?P<react>^[ \t]*Action:[ \t]*(?=\S))"
    r"|(?P<element>^[ \t]*<(?P<tool>[a-z_]{3,32})>)"
    r"|(?P<json>^[ \t]*(?=[{\[]))",
    re.MULTILINE,
)
_UNSAID_ENDS = {"<!--": re.compile("-->")}
_THOUGHT_END = re.compile(r"</think(?:ing)?>")
_OPENERS = re.compile(r"\s*(?:(?:<[|｜]tool[_▁]calls?[_▁]begin[|｜]>|<tool_call>)\s*)*(?:```\w*\s*)?")
_XML = re.compile(r"<(?:function|invoke)(?:\s*[=:]\s*|\s+name\s*=\s*)")
_BARE_NAME = re.compile(r"(?=[\w.-]{1,64}>?\s*<(?:parameter|param)[\s=:])")  # `function=` was left out
_WORK_MAX = 1_000_000  # characters that are read, all in all, in search of where JSON on its own ends
_FENCES = frozenset(("", "json", "json5", "xml", "tool_call", "tool_code", "tool", "python", "py"))


def find(text: str, tools: Sequence[Tool], *, fences: bool = True) -> tuple[list[Attempt], str]:
    """Return the calls in `text` in their order, and what is left of it beside them; inside a fence there is no other."""
    text = text[:TEXT_MAX]
    found, unsaid = _walk(text, tools, fences=fences)
    if not found and not unsaid:
        found = pythons.read(text.strip(), 0, len(text), tools)
    taken = sorted([*((attempt.start, attempt.end) for attempt in found), *unsaid])
    rest, last = list[str](), 0
    for start, end in taken:
        rest.append(text[last:start])
        last = max(last, end)
    return found, "".join([*rest, text[last:]]).strip()


def _walk(text: str, tools: Sequence[Tool], *, fences: bool) -> tuple[list[Attempt], list[tuple[int, int]]]:
    """Return the calls, and the pieces that count as not said: thoughts, comments, what was only observed."""
    found: list[Attempt] = []
    unsaid: list[tuple[int, int]] = []
    at, work = 0, _WORK_MAX
    while at < len(text) and len(found) <= CALLS_MAX:
        mark = _MARK.search(text, at)
        if mark is None:
            break
        if (mark["fence"] is not None and not fences) or (mark["json"] is not None and work <= 0):
            at = max(mark.end(), at + 1)
            continue
        if mark["json"] is not None:
            work -= len(text) - mark.end()  # what it costs to find that a bracket is never closed
        if mark["unsaid"]:
            end = _UNSAID_ENDS.get(mark["unsaid"], _THOUGHT_END).search(text, mark.end())
            at = end.end() if end else len(text)
            unsaid.append((mark.start(), at))
            continue
        since = max([at, *(attempt.end for attempt in found[-1:])])
        made, at = _at(text, since, mark, tools)
        if made and quoting.within_a_sentence(text, since, made[0].start, made[-1].end):
            continue
        found += made
        if made and mark["react"] and (told := re.compile(r"^[ \t]*Observation:", re.MULTILINE).search(text, at)):
            unsaid.append((told.start(), len(text)))  # what the tool will say, the model made up
            break
    return _after_thoughts(text, found, unsaid), unsaid


def _after_thoughts(text: str, found: list[Attempt], unsaid: list[tuple[int, int]]) -> list[Attempt]:
    """Return the calls without those of thoughts whose opening tag the model's template swallowed."""
    end = _THOUGHT_END.search(text)
    if end is None or any(start <= end.start() < stop for start, stop in unsaid):
        return found
    if any(attempt.start < end.start() < attempt.end for attempt in found):
        return found  # a file that holds the tag
    unsaid.insert(0, (0, end.end()))
    return [attempt for attempt in found if attempt.start >= end.end()]


def _at(text: str, since: int, mark: re.Match[str], tools: Sequence[Tool]) -> Found:
    """Return the calls at a mark, and where to look on; `since` is where the last call ended."""
    start, at = mark.start(), mark.end()
    if mark["fence"] is not None:
        return _fence(text, since, mark, tools)
    if mark["json"] is not None:
        return jsons.bare(text, since, at, tools)
    alone = not text[:start].strip()
    if quoting.inline(text, start) or (quoting.announced_as_example(text, since, start) and not alone):
        return [], quoting.past(text, start, at)
    if mark["xml"] is not None:
        return _one(xmls.read(text, start, at, tools), at)
    if mark["named"] is not None:
        return _or_on(names.attribute(text, start, at, tools), at)
    if mark["react"] is not None:
        return _or_on(names.react(text, start, at, tools), at)
    if mark["element"] is not None:
        return _one(xmls.element(text, start, at, mark["tool"], tools), at)
    return _tagged(text, mark, tools)


def _one(attempt: Attempt | None, at: int) -> Found:
    return ([attempt], max(attempt.end, at)) if attempt else ([], at)


def _or_on(found: Found | None, at: int) -> Found:
    return found or ([], at)


def _tagged(text: str, mark: re.Match[str], tools: Sequence[Tool]) -> Found:
    """Return the calls behind an opening tag, whichever form they have."""
    start = mark.start()
    lead = _OPENERS.match(text, mark.end())
    at = lead.end() if lead else mark.end()
    if xml := _XML.match(text, at):
        return _one(xmls.read(text, start, xml.end(), tools), xml.end())
    if name := _BARE_NAME.match(text, at):
        return _one(xmls.read(text, start, name.end(), tools), at)
    if text[at : at + 1] in ("{", "["):
        return jsons.calls(text, start, at, tools, sure=True)
    if (found := names.read(text, start, at, tools)) is not None:
        return found
    line_end = text.find("\n", at)
    line_end = len(text) if line_end < 0 else line_end
    if made := pythons.read(text[at:line_end].replace("</tool_call>", ""), start, line_end, tools):
        return made, line_end
    problem = "after the opening tag there is neither JSON nor <function=...>"
    return [Attempt(problem=problem, start=start, end=at)], max(at, mark.end())


def _fence(text: str, since: int, mark: re.Match[str], tools: Sequence[Tool]) -> Found:
    """Return the calls in a fence; one in another language, or that the words before quote, holds none."""
    shut = re.compile(r"^[ \t]*```[ \t]*$", re.MULTILINE).search(text, mark.end())
    inside_end = shut.start() if shut else len(text)
    end = shut.end() if shut else len(text)
    inside = text[mark.end() : inside_end]
    if mark["language"].lower() not in _FENCES or quoting.announced_as_example(text, since, mark.start()):
        return [], end
    found, rest = find(inside, tools, fences=False)
    if found and not rest:
        repaired = "the call was taken out of a fence"
        return [replace(a, repairs=(repaired, *a.repairs), start=mark.start(), end=end) for a in found], end
    return pythons.read(inside, mark.start(), end, tools), end
