"""Calls written with tags: Qwen3-Coder's `<function=name><parameter=key>`, and one element for the tool, one a parameter.

A value ends where structure follows. Where a value may itself hold such tags and its end cannot be told, there is no call.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from agents.tools import loosejson
from agents.tools.fitting import knows
from agents.tools.textcalls.attempt import CLOSING, Attempt, parameters_of
from tandem.types import Tool

_NAME = re.compile(r"\s*[\"']?([\w.:/ -]{1,64}?)[\"']?\s*(?:>|\n|$)")
_PARAMETER = re.compile(r"<(?:parameter|param|arg)(?:\s*[=:]\s*|\s+name\s*=\s*)[\"']?([\w-]{1,64})[\"']?\s*>")
_SHUT_VALUE = r"</(?:parameter|param|arg)(?:\s*=\s*[\w-]+)?\s*>"
_SHUT_CALL = r"</(?:function|invoke)(?:\s*=\s*[\w-]+)?\s*>"
_STRUCTURE_NEXT = r"(?=\s*(?:<(?:parameter|param|arg)[\s=:]|</?function|</?invoke|</?tool_call|\Z))"
_CLOSE_VALUE = re.compile(rf"{_SHUT_VALUE}{_STRUCTURE_NEXT}")
_CLOSE_CALL = re.compile(rf"\s*{_SHUT_CALL}")
_STRUCTURE = re.compile(r"<function\s*=|</function[\s=>]|</tool_call>|<invoke\s|</invoke>")
_STRAY = re.compile(rf"{_SHUT_VALUE}|{_SHUT_CALL}")
_TOKEN = re.compile(
    rf"(?P<open><function\s*=|<tool_call>)|(?P<shut></function[\s=>])|(?P<value>{_SHUT_VALUE})"
    r"|(?P<next>\n?<(?:parameter|param)(?:\s*[=:]\s*|\s+name\s*=\s*)[\"']?(?P<key>[\w-]+)[\"']?\s*>)|(?P<end></tool_call>)"
)


def read(text: str, start: int, at: int, tools: Sequence[Tool]) -> Attempt | None:
    """Return the call whose name begins at `at`; None where it is no call at all."""
    named = _NAME.match(text, at)
    if named is None or not named[1].strip():
        return Attempt(problem="a <function=...> tag has no name", start=start, end=at)
    name, at = named[1].strip(), named.end()
    if (inside := _json_inside(text, start, at, name) or _elements_inside(text, start, at, name, tools)) is not None:
        return inside
    values: dict[str, str] = {}
    repairs: list[str] = []
    wanted = set(parameters_of(name, tools))
    cut = False
    while (opened := _next_parameter(text, at)) is not None:
        key = opened[1]
        if key in values:
            return Attempt(name=name, problem=f"{name} has the parameter {key!r} twice", start=start, end=opened.end())
        value, at, closed = _value(text, opened.end(), key, wanted - values.keys() - {key})
        if value is None:
            problem = f"it is not clear where {name}'s {key} ends; write it again, without open tags inside"
            return Attempt(name=name, problem=problem, start=start, end=len(text))
        values[key] = _trimmed(value)
        if not closed:
            repairs.append(f"the parameter {key!r} was not closed")
            cut = True  # what closed the call may have been a line of its value
    shut, end = _closed(text, at)
    if not shut:
        repairs.append("closing tags were missing")
    if _loose_end(text[end : end + 4000]):
        problem = f"it is not clear where {name}'s last parameter ends; write it again, without tags inside"
        return Attempt(name=name, problem=problem, start=start, end=len(text))
    return Attempt(
        name=name,
        arguments=values,
        repairs=tuple(repairs),
        start=start,
        end=end,
        cut=cut or (at >= len(text) and not shut),
    )


def element(text: str, start: int, at: int, name: str, tools: Sequence[Tool]) -> Attempt | None:
    """Return the call of `<tool><parameter>value</parameter></tool>`; None where it is something else."""
    return _elements(text, start, at, name, f"</{name}>", tools) if knows(name, tools) else None


def _elements_inside(text: str, start: int, at: int, name: str, tools: Sequence[Tool]) -> Attempt | None:
    """Return the call whose parameters are elements, below the usual tag for the tool; None where they are not."""
    keys = "|".join(map(re.escape, parameters_of(name, tools)))
    if not keys or not re.compile(rf"\s*<(?:{keys})>").match(text, at):
        return None
    return _elements(text, start, at, name, "</function>", tools)


def _elements(text: str, start: int, at: int, name: str, end_tag: str, tools: Sequence[Tool]) -> Attempt | None:
    keys = "|".join(map(re.escape, parameters_of(name, tools)))
    values: dict[str, str] = {}
    while keys and (opened := re.compile(rf"\s*<({keys})>").match(text, at)):
        key = opened[1]
        shut = re.compile(rf"</{key}>(?=\s*(?:<(?:{keys})>|{end_tag}))").search(text, opened.end())
        if shut is None or key in values:
            return Attempt(name=name, problem=f"{name}'s <{key}> cannot be read", start=start, end=len(text))
        values[key], at = _trimmed(text[opened.end() : shut.start()]), shut.end()
    shut = re.compile(rf"\s*{end_tag}").match(text, at)
    if shut is None:
        return None
    rest = text[shut.end() :]
    if end_tag in rest and not re.search(rf"<{name}>|<function", rest.partition(end_tag)[0]):
        problem = f"it is not clear where {name} ends; write it again, without its own tags inside"
        return Attempt(name=name, problem=problem, start=start, end=len(text))
    closed = CLOSING.match(text, shut.end())
    end = closed.end() if closed else shut.end()
    repairs = ("parameters written as elements were read",)
    return Attempt(name=name, arguments=values, repairs=repairs, start=start, end=end)


def _json_inside(text: str, start: int, at: int, name: str) -> Attempt | None:
    """Return the call whose arguments stand as JSON where parameters should; None where they do not."""
    lead = re.compile(r"\s*(?=\{)").match(text, at)
    read = loosejson.read(text, lead.end()) if lead else None
    if read is None:
        return None
    shut, end = _closed(text, read.end)
    if not shut and text[end:].strip():
        return None
    repairs = ("arguments written as JSON between tags were read", *read.repairs)
    cut = read.cut or not shut
    return Attempt(name=name, arguments=read.value, repairs=repairs, start=start, end=end, cut=cut)


def _next_parameter(text: str, at: int) -> re.Match[str] | None:
    """Return the next parameter's tag, if nothing but space is before it."""
    space = re.compile(r"\s*").match(text, at)
    return _PARAMETER.match(text, space.end() if space else at)


def _value(text: str, at: int, key: str, unseen: set[str]) -> tuple[str | None, int, bool]:
    """Return a parameter's value, where to go on, and whether it was closed; None where its end cannot be told.

    It ends at a closing tag that structure follows, outside any whole call written inside it; without one, at the next
    parameter the tool really has, or at the tag that closes the call, if no call is written inside it.
    """
    opened, holds_calls = list[str](), False
    for found in _TOKEN.finditer(text, at):
        closes = "</function>" if found["shut"] else found["end"]
        if found["open"]:
            opened.append("</tool_call>" if found["open"] == "<tool_call>" else "</function>")
            holds_calls = True
        elif opened and closes:
            if opened.pop() != closes:
                return None, len(text), False
        elif opened:
            continue
        elif found["value"] and _CLOSE_VALUE.match(text, found.start()):
            return text[at : found.start()], found.end(), True
        elif closes or (found["next"] and found["key"] in unseen):
            end = found.start() + (found["next"] or "").startswith("\n")
            return (None if holds_calls else _without_tag(text[at : found.start()], key)), end, False
    return (None if holds_calls else _without_tag(text[at:], key)), len(text), False


def _without_tag(value: str, key: str) -> str:
    """Return a value that nothing closed, without the `</key>` that was meant to."""
    return re.sub(rf"</{re.escape(key)}>\s*\Z", "", value)


def _trimmed(value: str) -> str:
    """Return a value without the line ends that the form puts on both sides of it; on one line with its tag, as it is."""
    begin = re.compile(r"\r?\n").match(value)
    return value[begin.end() :].removesuffix("\n") if begin else value


def _closed(text: str, at: int) -> tuple[bool, int]:
    """Return whether the call's own closing tag is at `at`, and where all its closing tags end."""
    shut = _CLOSE_CALL.match(text, at)
    after = shut.end() if shut else at
    closed = CLOSING.match(text, after)
    return bool(shut), closed.end() if closed else after


def _loose_end(rest: str) -> bool:
    """Return whether closing tags follow that nothing opened: then a value was ended too early."""
    head, stray = _STRUCTURE.search(rest), _STRAY.search(rest)
    return stray is not None and (head is None or stray.start() <= head.start())
