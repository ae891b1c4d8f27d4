"""Calls whose name stands before their arguments: GLM, Mistral, Kimi, DeepSeek, harmony, ReAct, a name as attribute."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agents.tools import loosejson
from agents.tools.fitting import knows
from agents.tools.textcalls.attempt import CLOSING, Attempt, Found
from tandem.types import Tool

_NAME = re.compile(r"\s*(?:function<[|｜]tool[_▁]sep[|｜]>)?\s*(?P<name>[\w.-]{1,64})(?::\d+)?(?=[\s<`{]|\Z)")
_TO_JSON = re.compile(r"\s*(?:<[|｜][^<>\n]{1,40}[|｜]>\s*(?:json\s*)?)*(?:```(?:json)?\s*)?(?=\{)")
_ATTRIBUTE = re.compile(r"[\"']?(?P<name>[\w.-]{1,64})[\"']?\s*>")
_INPUT = re.compile(r"(?P<name>[\w.-]{1,64})[ \t]*\n[ \t]*Action Input:(?=\s*(?:```(?:json)?\s*)?\{)")
_KEY = re.compile(r"\s*<arg_key>\s*(?P<key>[\w-]{1,64})\s*</arg_key>\s*<arg_value>")
_VALUE_END = re.compile(r"</arg_value>(?=\s*(?:<arg_key>|</tool_call>|\Z))")


def read(text: str, start: int, at: int, tools: Sequence[Tool]) -> Found | None:
    """Return the call behind an opening tag, where a name comes first; None where none does."""
    named = _NAME.match(text, at)
    if named is None or not knows(named["name"], tools):
        return None
    if closed := CLOSING.match(text, named.end()):
        return [Attempt(name=named["name"], arguments={}, start=start, end=closed.end())], closed.end()
    if _KEY.match(text, named.end()):
        return _pairs(text, start, named.end(), named["name"])
    return _arguments(text, start, named.end(), named["name"])


def attribute(text: str, start: int, at: int, tools: Sequence[Tool]) -> Found | None:
    """Return the call of `<tool_call name="...">{...}`."""
    named = _ATTRIBUTE.match(text, at)
    return _arguments(text, start, named.end(), named["name"]) if named and knows(named["name"], tools) else None


def react(text: str, start: int, at: int, tools: Sequence[Tool]) -> Found | None:
    """Return the call of `Action: name` and `Action Input: {...}`."""
    named = _INPUT.match(text, at)
    return _arguments(text, start, named.end(), named["name"]) if named and knows(named["name"], tools) else None


def _arguments(text: str, start: int, at: int, name: str) -> Found | None:
    lead = _TO_JSON.match(text, at)
    if lead is None:
        return None
    read = loosejson.read(text, lead.end())
    if read is None:
        problem = f"the JSON arguments of {name} cannot be read"
        return [Attempt(name=name, problem=problem, start=start, end=len(text))], len(text)
    closed = CLOSING.match(text, read.end)
    end = closed.end() if closed else read.end
    repairs = ("the name before the arguments was read", *read.repairs)
    attempt = Attempt(name=name, arguments=read.value, repairs=repairs, start=start, end=end, cut=read.cut)
    return [attempt], end


def _pairs(text: str, start: int, at: int, name: str) -> Found:
    """Return GLM's call: `<arg_key>` and `<arg_value>` in turn."""
    values: dict[str, str] = {}
    while opened := _KEY.match(text, at):
        key, shut = opened["key"], _VALUE_END.search(text, opened.end())
        if shut is None or key in values:
            trouble = "is not closed" if shut is None else "is there twice"
            problem = f"the <arg_value> of {name}'s {key} {trouble}; write the call again"
            return [Attempt(name=name, problem=problem, start=start, end=len(text))], len(text)
        values[key], at = text[opened.end() : shut.start()], shut.end()
    closed = CLOSING.match(text, at)
    end = closed.end() if closed else at
    return [Attempt(name=name, arguments=values, start=start, end=end, cut=closed is None)], end
