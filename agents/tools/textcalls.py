"""Find tool calls that a model wrote into its text, in the forms local models use.

Known forms: Qwen3-Coder's XML (`<function=name><parameter=key>`), Hermes' JSON between `<tool_call>` tags, JSON in a fence
or on its own, and Python calls in a fence. What is inside a call's own values is never looked at, so a file that holds an
example of a call is a file. What is quoted in prose is left alone: a model that explains a call does not make one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from agents.tools import loosejson
from agents.tools.fitting import knows
from tandem.types import Tool

CALLS_MAX = 32
_TEXT_MAX = 600_000  # characters of a reply that are looked at
_THINKING = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL)
_MARK = re.compile(
    r"(?P<tag><\|?tool_call\|?>|<function_call>|\[TOOL_CALLS\]|<\|tool_calls?_begin\|>)"
    r"|(?P<xml><(?:function|invoke)(?:\s*=\s*|\s+name\s*=\s*))"
    r"|(?P<fence>^[ \t]*```[ \t]*(?P<language>[\w+-]*)[ \t]*\n)"
    r"|(?P<json>^[ \t]*(?=[{\[]))",
    re.MULTILINE,
)
_NAME = re.compile(r"\s*[\"']?([\w.:/ -]{1,64}?)[\"']?\s*(?:>|\n|$)")
_PARAMETER = re.compile(r"<(?:parameter|param|arg)(?:\s*=\s*|\s+name\s*=\s*)[\"']?([\w-]{1,64})[\"']?\s*>")
_CLOSE_VALUE = re.compile(
    r"</(?:parameter|param|arg)>(?=\s*(?:<(?:parameter|param|arg)[\s=]|</?function|</?invoke|</?tool_call|\Z))"
)
_STRUCTURE = re.compile(r"<function\s*=|</function>|</tool_call>|<invoke\s|</invoke>")
_CLOSING = re.compile(r"\s*(?:</\|?tool_call\|?>|</function_call>|<\|?/tool_call\|?>|<\|tool_calls?_end\|>)")
_NAMES = ("name", "function", "tool", "tool_name", "action")  # keys under which a call's name is given
_FENCES = frozenset(("", "json", "json5", "xml", "tool_call", "tool_code", "tool", "python", "py"))
_QUOTING = re.compile(
    r"(?i)\b(for example|for instance|example|e\.g\.|such as|would (?:be|look|call|write|use)|could (?:call|write|use)|"
    r"should look|looks? like|the (?:format|syntax) (?:is|of)|instead of|do not|don't|never|previously|earlier|"
    r"last time|already (?:called|made)|was called)\b"
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A call as it was written: name and arguments as they stand, or the `problem` that kept them from being read."""

    name: object = ""
    arguments: object = None
    repairs: tuple[str, ...] = ()
    problem: str = ""
    start: int = 0
    end: int = 0
    cut: bool = False


def find(text: str, tools: Sequence[Tool]) -> tuple[list[Attempt], str]:
    """Return the calls in `text` in their order, and what is left of it beside them."""
    bare = _THINKING.sub("", text[:_TEXT_MAX])
    found: list[Attempt] = []
    at = 0
    while at < len(bare) and len(found) <= CALLS_MAX:
        mark = _MARK.search(bare, at)
        if mark is None:
            break
        made, at = _at(bare, mark, tools)
        found += made
    rest, last = list[str](), 0
    for attempt in found:
        rest.append(bare[last : attempt.start])
        last = max(last, attempt.end)
    return found, "".join([*rest, bare[last:]]).strip()


def _at(text: str, mark: re.Match[str], tools: Sequence[Tool]) -> tuple[list[Attempt], int]:
    """Return the calls at a mark, and where to look on."""
    if mark["fence"] is not None:
        return _fence(text, mark, tools)
    if mark["json"] is not None:
        return _bare_json(text, mark.end(), tools)
    if _inline(text, mark.start()) or (_quoted(text, mark.start()) and not _alone(text, mark.start())):
        return [], _past_quoted(text, mark)
    if mark["xml"] is not None:
        attempt = _xml(text, mark.start(), mark.end(), tools)
        return ([attempt] if attempt else []), attempt.end if attempt else mark.end()
    return _tagged(text, mark, tools)


def _inline(text: str, at: int) -> bool:
    """Return whether a mark stands inside `code` of its line."""
    return text.count("`", text.rfind("\n", 0, at) + 1, at) % 2 == 1


def _quoted(text: str, at: int) -> bool:
    """Return whether the words before say that what follows is an example."""
    before = text[max(0, at - 160) : at].rstrip()
    return bool(_QUOTING.search(re.split(r"\n\s*\n|(?<=[.!?])\s", before)[-1]))


def _alone(text: str, at: int) -> bool:
    return not text[:at].strip()


def _past_quoted(text: str, mark: re.Match[str]) -> int:
    """Return where a quoted call ends, so that its inside is not taken for one."""
    ends = [
        end for tag in ("</tool_call>", "</function>", "</function_call>") if (end := text.find(tag, mark.end())) >= 0
    ]
    return max(min(ends) + 3, mark.end()) if ends else max(mark.end(), mark.start() + 1)


# --- tags and XML ---------------------------------------------------------------------------------------------------


def _tagged(text: str, mark: re.Match[str], tools: Sequence[Tool]) -> tuple[list[Attempt], int]:
    """Return the calls behind an opening tag, whichever form they have."""
    at = mark.end()
    lead = re.compile(r"\s*(?:```\w*\s*)?").match(text, at)
    at = lead.end() if lead else at
    xml = re.compile(r"<(?:function|invoke)(?:\s*=\s*|\s+name\s*=\s*)").match(text, at)
    if xml:
        attempt = _xml(text, mark.start(), xml.end(), tools)
        return ([attempt] if attempt else []), attempt.end if attempt else xml.end()
    if text[at : at + 1] in ("{", "["):
        return _json_calls(text, mark.start(), at, tools, sure=True)
    line_end = text.find("\n", at)
    line_end = len(text) if line_end < 0 else line_end
    made = _python(text[at:line_end].replace("</tool_call>", ""), mark.start(), line_end, tools)
    if made:
        return made, line_end
    problem = "after the opening tag there is neither JSON nor <function=...>"
    return [Attempt(problem=problem, start=mark.start(), end=at)], max(at, mark.end())


def _xml(text: str, start: int, at: int, tools: Sequence[Tool]) -> Attempt | None:
    """Return the call whose name begins at `at`; None where it is no call of a tool at all."""
    named = _NAME.match(text, at)
    if named is None or not named[1].strip():
        return Attempt(problem="a <function=...> tag has no name", start=start, end=at)
    name, at = named[1].strip(), named.end()
    values: dict[str, str] = {}
    repairs: list[str] = []
    wanted = _parameters_of(name, tools)
    cut = False
    while (opened := _next_parameter(text, at)) is not None:
        key = opened[1]
        if key in values:
            return Attempt(name=name, problem=f"{name} has the parameter {key!r} twice", start=start, end=opened.end())
        value, at, closed = _value(text, opened.end(), wanted - values.keys() - {key})
        if value is None:
            problem = f"it is not clear where {name}'s {key} ends; write it again, without open tags inside"
            return Attempt(name=name, problem=problem, start=start, end=len(text))
        values[key] = _trimmed(value)
        if not closed:
            repairs.append(f"the parameter {key!r} was not closed")
            cut = at >= len(text)
    end, tidy = _close_xml(text, at)
    if not tidy:
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
        cut=cut or (at >= len(text) and not tidy),
    )


def _parameters_of(name: str, tools: Sequence[Tool]) -> set[str]:
    for tool in tools:
        if knows(name, [tool]):
            return set(cast("dict[str, Any]", tool.parameters.get("properties", {})))
    return set()


def _next_parameter(text: str, at: int) -> re.Match[str] | None:
    """Return the next parameter's tag, if nothing but space is before it."""
    space = re.compile(r"\s*").match(text, at)
    return _PARAMETER.match(text, space.end() if space else at)


def _value(text: str, at: int, unseen: set[str]) -> tuple[str | None, int, bool]:
    """Return a parameter's value, where to go on, and whether it was closed; None where its end cannot be told.

    It ends at a closing tag that structure follows, outside any whole call written inside it; without one, at the next
    parameter the tool really has, or at the tag that closes the call.
    """
    depth, place = 0, at
    token = re.compile(
        r"(?P<open><function\s*=|<tool_call>)|(?P<shut></function>)|(?P<value></(?:parameter|param|arg)>)"
        r"|(?P<next>\n?<(?:parameter|param)(?:\s*=\s*|\s+name\s*=\s*)[\"']?(?P<key>[\w-]+)[\"']?\s*>)|(?P<end></tool_call>)"
    )
    for found in token.finditer(text, place):
        if found["open"]:
            depth += 1
        elif (found["shut"] or found["end"]) and depth:
            depth -= 1
        elif depth:
            continue
        elif found["value"] and _CLOSE_VALUE.match(text, found.start()):
            return text[at : found.start()], found.end(), True
        elif found["shut"] or found["end"] or (found["next"] and found["key"] in unseen):
            return text[at : found.start()], found.start() + (found["next"] or "").startswith("\n"), False
    return (text[at:] if not depth else None), len(text), False


def _trimmed(value: str) -> str:
    """Return a value without the one line end that the form puts on either side of it."""
    value = value[1:] if value.startswith("\n") else value[2:] if value.startswith("\r\n") else value
    return value[:-1] if value.endswith("\n") else value


def _close_xml(text: str, at: int) -> tuple[int, bool]:
    shut = re.compile(r"\s*</(?:function|invoke)>").match(text, at)
    after = shut.end() if shut else at
    closed = _CLOSING.match(text, after)
    return (closed.end() if closed else after), bool(shut)


def _loose_end(rest: str) -> bool:
    """Return whether closing tags follow that nothing opened: then a value was ended too early."""
    head = _STRUCTURE.search(rest)
    close = re.search(r"</(?:parameter|function)>", rest)
    return close is not None and (head is None or close.start() <= head.start())


# --- JSON -----------------------------------------------------------------------------------------------------------


def _json_calls(text: str, start: int, at: int, tools: Sequence[Tool], *, sure: bool) -> tuple[list[Attempt], int]:
    """Return the calls in the JSON at `at`. `sure` says that a tag or fence announces them."""
    read = loosejson.read(text, at)
    if read is None:
        if not sure:
            return [], at + 1
        end = min((e for t in ("</tool_call>", "</function_call>") if (e := text.find(t, at)) >= 0), default=len(text))
        return [Attempt(problem="the JSON of a tool call cannot be read", start=start, end=end)], max(end, at + 1)
    closed = _CLOSING.match(text, read.end)
    end = closed.end() if closed else read.end
    calls = list(_shapes(read.value, tools))
    if not calls:
        problem = "the JSON of a tool call has no name that is a tool's"
        return ([Attempt(problem=problem, start=start, end=end)] if sure else []), end
    repairs = (*read.repairs, *(() if closed or not sure else ("the closing tag was missing",)))
    return [
        Attempt(name=name, arguments=arguments, repairs=repairs, start=start if i == 0 else end, end=end, cut=read.cut)
        for i, (name, arguments) in enumerate(calls)
    ], end


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
    for key in ("arguments", "parameters", "args", "input", "params", "action_input", "kwargs"):
        if key in given:
            yield name, given[key]
            return
    rest = {k: v for k, v in given.items() if k not in (*_NAMES, "type", "id")}
    if knows(name, tools):
        yield name, rest


def _bare_json(text: str, at: int, tools: Sequence[Tool]) -> tuple[list[Attempt], int]:
    """Return the calls in JSON that nothing announces: it counts when its name is a tool's and no words quote it."""
    made, end = _json_calls(text, at, at, tools, sure=False)
    real = [attempt for attempt in made if knows(attempt.name, tools)]
    if not real or _quoted(text, at):
        return [], end
    return real, end


# --- fences and Python ----------------------------------------------------------------------------------------------


def _fence(text: str, mark: re.Match[str], tools: Sequence[Tool]) -> tuple[list[Attempt], int]:
    """Return the calls in a fence; one in another language, or that the words before quote, holds none."""
    shut = re.compile(r"^[ \t]*```[ \t]*$", re.MULTILINE).search(text, mark.end())
    inside_end = shut.start() if shut else len(text)
    end = shut.end() if shut else len(text)
    inside = text[mark.end() : inside_end]
    if mark["language"].lower() not in _FENCES or _quoted(text, mark.start()):
        return [], end
    found, rest = find(inside, tools)
    if found and not rest:
        moved = [_moved(attempt, mark.start(), end) for attempt in found]
        return moved, end
    return _python(inside, mark.start(), end, tools), end


def _moved(attempt: Attempt, start: int, end: int) -> Attempt:
    return Attempt(
        name=attempt.name,
        arguments=attempt.arguments,
        repairs=("the call was taken out of a fence", *attempt.repairs),
        problem=attempt.problem,
        start=start,
        end=end,
        cut=attempt.cut,
    )


def _python(code: str, start: int, end: int, tools: Sequence[Tool]) -> list[Attempt]:
    """Return calls written as Python, where every statement is one of a tool with plain values."""
    try:
        body = ast.parse(code.strip()).body if len(code) < _TEXT_MAX // 8 else []
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found: list[Attempt] = []
    for statement in body:
        call = statement.value if isinstance(statement, ast.Expr) else None
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "print" and len(call.args) == 1:
            call = call.args[0]
        if not isinstance(call, ast.Call) or not knows(name := ast.unparse(call.func), tools):
            return []
        try:
            given = dict(zip(_order(name, tools), [ast.literal_eval(arg) for arg in call.args], strict=False))
            given |= {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
        except ValueError:
            return []
        found.append(
            Attempt(name=name, arguments=given, repairs=("a call written as Python was read",), start=start, end=end)
        )
    return found


def _order(name: str, tools: Sequence[Tool]) -> list[str]:
    tool = next(tool for tool in tools if knows(name, [tool]))
    return list(cast("dict[str, Any]", tool.parameters.get("properties", {})))
