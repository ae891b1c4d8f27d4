"""Calls written as JSON: Hermes' between `<tool_call>` tags, in a fence, or on its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, cast

from agents.tools import loosejson
from agents.tools.fitting import knows
from agents.tools.textcalls import bykeys, quoting
from agents.tools.textcalls.attempt import CALLS_MAX, CLOSING, Attempt, Found
from tandem.types import Tool

_NAMES = ("name", "function", "tool", "tool_name", "action")  # keys under which a call's name is given
_BEGINS = re.compile(r'\{\s*"(?:name|function|tool|tool_name)"\s*:\s*"([\w.-]{1,64})"')
_ARGUMENTS = ("arguments", "parameters", "args", "input", "params", "action_input", "tool_input", "kwargs")


def calls(text: str, start: int, at: int, tools: Sequence[Tool], *, sure: bool) -> Found:
    """Return the calls in the JSON at `at`. `sure` says that a tag announces them."""
    read = loosejson.read(text, at)
    if read is None:
        end = min((e for t in ("</tool_call>", "</function_call>") if (e := text.find(t, at)) >= 0), default=len(text))
        if (attempt := bykeys.read(text[at:end], start, end, tools)) is not None:
            closed = CLOSING.match(text, end)
            return [attempt], closed.end() if closed else end
        meant = _BEGINS.match(text, at)
        name = meant[1] if meant and knows(meant[1], tools) else ""
        if not sure and not name:
            return [], at + 1
        end = end if sure else len(text)  # what it holds may look like a call, and is a piece of a text
        problem = "the JSON of a tool call cannot be read; escape quotes and line ends inside texts"
        return [Attempt(name=name, problem=problem, start=start, end=end)], max(end, at + 1)
    closed = CLOSING.match(text, read.end)
    end = closed.end() if closed else read.end
    shapes = list(_shapes(read.value, tools))
    if not shapes:
        problem = "the JSON of a tool call has no name that is a tool's"
        return ([Attempt(problem=problem, start=start, end=end)] if sure else []), end
    repairs = (*read.repairs, *(() if closed or not sure else ("the closing tag was missing",)))
    return [
        Attempt(name=name, arguments=arguments, repairs=repairs, start=start if i == 0 else end, end=end, cut=read.cut)
        for i, (name, arguments) in enumerate(shapes)
    ], end


def bare(text: str, since: int, at: int, tools: Sequence[Tool]) -> Found:
    """Return the calls in JSON that nothing announces: it counts when its name is a tool's and no words quote it."""
    made, end = calls(text, at, at, tools, sure=False)
    real = [attempt for attempt in made if knows(attempt.name, tools)]
    if not real or quoting.announced_as_example(text, since, at):
        return [], end
    return real, end


def _shapes(value: Any, tools: Sequence[Tool]) -> Iterator[tuple[object, object]]:
    """Yield name and arguments of each call in a JSON value, in any of the shapes models give them."""
    if isinstance(value, list):
        for item in cast("list[Any]", value)[:CALLS_MAX]:
            yield from _shapes(item, tools)
        return
    if not isinstance(value, dict):
        return
    given = cast("dict[str, Any]", value)
    for key in ("tool_calls", "function", "function_call", "tool_call"):
        if isinstance(given.get(key), dict | list):
            yield from _shapes(given[key], tools)
            return
    name = next((given[key] for key in _NAMES if isinstance(given.get(key), str)), None)
    if name is None and len(given) == 1 and knows(only := next(iter(given)), tools):
        yield only, given[only]
        return
    if name is None:
        return
    for key in _ARGUMENTS:
        if key in given:
            yield name, given[key]
            return
    rest = {k: v for k, v in given.items() if k not in (*_NAMES, "type", "id")}
    if knows(name, tools):
        yield name, rest
