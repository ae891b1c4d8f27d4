"""The JSON schema a model is given for a typed reply."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, cast

from agents.replies import ReplyModel
from tandem.types import Json


@functools.cache  # up to 3 ms of the processor each, and every call asks
def schema_of(reply: type[ReplyModel]) -> dict[str, Json]:
    """Return the schema of a reply, without its upper bounds: grammars unroll them; they are checked when it is here.

    The same one each time: it is to be read, and not changed.
    """
    schema: dict[str, Any] = cast("Any", reply).model_json_schema()
    inlined = _inlined(schema, schema.get("$defs", {}))
    return cast("dict[str, Json]", _without_bounds(inlined))


def _inlined(schema: Any, known: Mapping[str, Any]) -> Any:
    """Return a schema with its definitions where they are used: not every server follows references in a tool's."""
    if isinstance(schema, dict):
        given = cast("dict[str, Any]", schema)
        if "$ref" in given:
            return _inlined(known[str(given["$ref"]).rsplit("/", 1)[-1]], known)
        return {key: _inlined(value, known) for key, value in given.items() if key != "$defs"}
    if isinstance(schema, list):
        return [_inlined(item, known) for item in cast("list[Any]", schema)]
    return schema


def _without_bounds(schema: Any) -> Any:
    if isinstance(schema, dict):
        items = cast("dict[str, Any]", schema).items()
        return {key: _without_bounds(value) for key, value in items if key not in ("maxLength", "maxItems", "default")}
    if isinstance(schema, list):
        return [_without_bounds(item) for item in cast("list[Any]", schema)]
    return schema
