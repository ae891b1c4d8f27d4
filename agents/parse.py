"""Turn a model's text into a typed reply, tolerating what models get wrong and saying what was repaired.

Tolerated: a fence around the JSON, prose before or after it, a thinking block. Not tolerated: JSON that was cut off,
wrong types, missing fields. Those go back to the model once, with the error's words.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from pydantic import ValidationError

from agents.replies import ReplyModel
from tandem.errors import BadReply

_THINKING = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)  # before the reply; inside it, it is content
_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)
# JSON that a language model wrote may hold what no text file should: unpaired surrogates and the zero character.
_DEPTH_MAX = 60
_UNSTORABLE = re.compile("[\ud800-\udfff\x00]")


T = TypeVar("T", bound=ReplyModel)


@dataclass(frozen=True, slots=True)
class Parsed(Generic[T]):
    """A typed reply; `repairs` names what had to be tolerated."""

    value: T
    repairs: tuple[str, ...]


def parse(text: str, reply_type: type[T], *, cut: bool = False) -> Parsed[T]:
    """Return the reply in `text`.

    Raises:
        BadReply: There is none; the message says why in words a model can act on.
    """
    if not text.strip():
        raise BadReply("the reply is empty; answer with one JSON object")
    candidate, repairs = _json_part(text)
    try:
        value = json.loads(candidate)
    except (ValueError, RecursionError) as error:
        why = "it was cut off at the token limit; answer more briefly" if cut else str(error)[:200]
        raise BadReply(f"the reply is not one JSON object: {why}") from None
    try:
        return Parsed(reply_type.model_validate(storable(value)), repairs)
    except ValidationError as error:
        problems = "; ".join(_problem(item) for item in error.errors()[:5])
        raise BadReply(f"the JSON does not fit: {problems}") from None


def _problem(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "the reply"
    return f"{where}: {item['msg']}"


def storable(value: Any, depth: int = _DEPTH_MAX) -> Any:
    """Return JSON without what no text file should hold: unpaired surrogates and zero characters.

    Raises:
        BadReply: It is nested deeper than `depth`.
    """
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if not isinstance(value, list | dict):
        return value
    if not depth:
        raise BadReply(f"the JSON is nested more than {_DEPTH_MAX} deep; write it plainly")
    if isinstance(value, list):
        return [storable(item, depth - 1) for item in cast("list[Any]", value)]
    return {str(storable(str(key))): storable(item, depth - 1) for key, item in cast("dict[Any, Any]", value).items()}


def _json_part(text: str) -> tuple[str, tuple[str, ...]]:
    repairs: list[str] = []
    bare = _THINKING.sub("", text).strip()
    if bare != text.strip():
        repairs.append("a thinking block was dropped")
    if bare.startswith("{") and bare.endswith("}"):
        return bare, tuple(repairs)
    fenced = _FENCE.search(bare)
    if fenced:
        return fenced[1].strip(), (*repairs, "the JSON was taken out of a fence")
    start, end = bare.find("{"), bare.rfind("}")
    if 0 <= start < end:
        return bare[start : end + 1], (*repairs, "text around the JSON was dropped")
    return bare, tuple(repairs)
