"""Fit what a model called to the tools there are: its name, its arguments' names and their types.

A repair is made only where one reading is possible; everything else is a problem, in words the model can act on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from agents.tools import loosejson
from tandem.types import Json, Tool

_PREFIX = re.compile(r"^(functions?|tools?|default_api|api|namespace)[.:/]", re.IGNORECASE)
_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "path": ("file", "filename", "file_path", "filepath", "file_name", "target_file", "dir", "directory", "folder"),
    "old": ("old_str", "old_string", "old_text", "search", "find", "original", "before"),
    "new": ("new_str", "new_string", "new_text", "replace", "replacement", "after"),
    "content": ("contents", "text", "file_text", "code", "body", "data"),
    "pattern": ("query", "regexp", "search_term", "term", "glob", "text"),
    "patch": ("diff", "input", "changes"),
    "start": ("start_line", "from", "line_start", "begin", "offset"),
    "end": ("end_line", "to", "line_end", "stop"),
}


class MisfitError(ValueError):
    """A call that fits no tool; the message says why."""


def fit(name: object, given: object, tools: Sequence[Tool]) -> tuple[str, dict[str, Json], list[str]]:
    """Return the tool's name, the arguments as its schema wants them, and what was repaired.

    Raises:
        MisfitError: There is no such tool, or an argument is missing or cannot be read as what it must be.
    """
    tool, repairs = _tool(name, tools)
    arguments = _arguments(given, tool, repairs)
    properties = cast("Mapping[str, Any]", tool.parameters.get("properties", {}))
    named = _named(arguments, properties, tool, repairs)
    fitted: dict[str, Json] = {}
    for key, value in named.items():
        if value is None and key not in _required(tool):
            continue
        fitted[key] = _typed(value, properties[key], f"{tool.name}'s {key}", repairs)
        if key == "path":
            fitted[key] = str(fitted[key]).strip()  # of a tag on its own line
    missing = [key for key in _required(tool) if key not in fitted]
    if missing:
        raise MisfitError(f"{tool.name} needs {', '.join(missing)}")
    return tool.name, fitted, repairs


def knows(name: object, tools: Sequence[Tool]) -> bool:
    """Return whether there is a tool of that name, spelled a little differently or not."""
    return isinstance(name, str) and _plain(name) in {_plain(tool.name) for tool in tools}


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", _PREFIX.sub("", name.strip().strip("\"'`"))).lower()


def _tool(name: object, tools: Sequence[Tool]) -> tuple[Tool, list[str]]:
    known = {tool.name: tool for tool in tools}
    if isinstance(name, str) and name in known:
        return known[name], []
    if isinstance(name, str):
        near = [tool for tool in tools if _plain(tool.name) == _plain(name)]
        if len(near) == 1:
            return near[0], [f"the tool {name!r} was taken for {near[0].name}"]
    raise MisfitError(f"there is no tool {str(name)[:60]!r}; there are {', '.join(known)}")


def _required(tool: Tool) -> list[str]:
    return [str(key) for key in cast("Sequence[Any]", tool.parameters.get("required") or ())]


def _arguments(given: object, tool: Tool, repairs: list[str]) -> dict[str, Any]:
    value: Any = given
    if given is None or given == "":
        return {}
    if isinstance(given, str):
        read = loosejson.read(given.strip()) if given.strip().startswith("{") else None
        if read is None or read.cut:
            raise MisfitError(f"the arguments of {tool.name} are no JSON object")
        repairs += ["the arguments were a text that held JSON", *read.repairs]
        value = read.value
    if not isinstance(value, Mapping):
        raise MisfitError(f"the arguments of {tool.name} are no JSON object")
    return {str(key): inner for key, inner in cast("Mapping[Any, Any]", value).items()}


def _named(
    arguments: Mapping[str, Any], properties: Mapping[str, Any], tool: Tool, repairs: list[str]
) -> dict[str, Any]:
    """Return the arguments under the schema's own names; a foreign name counts where it can mean one of them only."""
    named = {key: value for key, value in arguments.items() if key in properties}
    for key, value in arguments.items():
        if key in properties:
            continue
        plain = key.strip().lower().replace("-", "_")
        meant = [own for own in properties if own not in named and (own == plain or plain in _SYNONYMS.get(own, ()))]
        if len(meant) == 1:
            named[meant[0]] = value
            repairs.append(f"{key!r} was taken for {tool.name}'s {meant[0]}")
        else:
            repairs.append(f"{key!r} is none of {tool.name}'s arguments and was dropped")
    return named


def _typed(value: Any, schema: Any, what: str, repairs: list[str]) -> Json:
    kind = cast("Mapping[str, Any]", schema).get("type") if isinstance(schema, Mapping) else None
    match kind:
        case "string":
            return _string(value, what, repairs)
        case "integer":
            return _integer(value, what, repairs)
        case "boolean":
            return _boolean(value, what, repairs)
        case "array" | "object":
            return _nested(value, list if kind == "array" else dict, what, repairs)
        case _:  # a choice of types: what is there is judged by whoever takes it
            if isinstance(value, str) and isinstance(schema, Mapping) and "$ref" in schema:
                return _nested(value, dict, what, repairs)
            return cast("Json", value)


def _string(value: Any, what: str, repairs: list[str]) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MisfitError(f"{what} must be a text, and is {json.dumps(value, default=str)[:60]}")
    repairs.append(f"{what}, a number, was taken for a text")
    return json.dumps(value)


def _integer(value: Any, what: str, repairs: list[str]) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        repairs.append(f"{what} was written with a point")
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,12}\s*", value):
        repairs.append(f"{what}, a text, was taken for a number")
        return int(value)
    raise MisfitError(f"{what} must be a whole number, and is {json.dumps(value, default=str)[:60]}")


def _boolean(value: Any, what: str, repairs: list[str]) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        repairs.append(f"{what}, a text, was taken for true or false")
        return value.strip().lower() == "true"
    if isinstance(value, int) and value in (0, 1):
        repairs.append(f"{what}, a number, was taken for true or false")
        return bool(value)
    raise MisfitError(f"{what} must be true or false, and is {json.dumps(value, default=str)[:60]}")


def _nested(value: Any, kind: type, what: str, repairs: list[str]) -> Json:
    if isinstance(value, kind):
        return cast("Json", value)
    if isinstance(value, str) and value.strip()[:1] in ("{", "["):
        read = loosejson.read(value.strip())
        if read is not None and not read.cut and isinstance(read.value, kind):
            repairs.append(f"{what}, a text, held JSON")
            return cast("Json", read.value)
    raise MisfitError(
        f"{what} must be {'a list' if kind is list else 'an object'}, and is {json.dumps(value, default=str)[:60]}"
    )
