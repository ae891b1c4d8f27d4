"""Read what an OpenAI-compatible server streams: untrusted JSON to text, tool calls, an end and counts. Pure.

Servers differ in what they leave out. Tool calls come as pieces merged by their index, or whole, with or without an id,
with arguments as text or as an object; all of them end as a `ToolCall`. Where the arguments are not a JSON object, the
call goes back into the text in the form a model itself would have written it, for the reader of such text: nothing that
a model said is lost, and nothing is executed on a guess made here. What a model only thought (`reasoning`,
`reasoning_content`) is counted and dropped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, cast

from tandem.errors import BadReply
from tandem.types import Json, ToolCall
from worker.backends.base import clean


@dataclass(slots=True)
class _Call:
    """A tool call as far as it has come."""

    index: int | None
    id: str
    name: str
    arguments: str = ""


@dataclass(slots=True)
class Gathered:
    """What a stream has said so far. `size` counts all its characters, `parts` its events."""

    size: int = 0
    parts: int = 0
    finish: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    calls: list[_Call] = field(default_factory=list[_Call])

    @property
    def begun(self) -> bool:
        """Return whether the model has said anything; some servers say who speaks before they have read the prompt."""
        return self.size > 0 or bool(self.calls) or bool(self.finish)

    def take(self, part: object) -> str:
        """Add one event, and return the text in it.

        Raises:
            BadReply: It is no chat completion.
        """
        self.parts += 1
        event = _mapping(part, "an event")
        usage: object = event.get("usage")
        if isinstance(usage, Mapping):
            self._count(cast("Mapping[str, Any]", usage))
        choices: object = event.get("choices")
        if choices is None:
            return ""
        if not isinstance(choices, list):
            _not_the_protocol("choices", choices)
        for choice in cast("list[object]", choices):
            said = _mapping(choice, "a choice")
            if said.get("index") in (0, None):
                return self._choice(said)
        return ""

    def _choice(self, choice: Mapping[str, Any]) -> str:
        self.finish = str(choice.get("finish_reason") or "") or self.finish
        delta = _mapping(choice.get("delta") or choice.get("message") or {}, "a delta")
        text = clean(_text(delta.get("content")) + _text(delta.get("refusal")))
        self.size += len(text) + len(_text(delta.get("reasoning_content") or delta.get("reasoning")))
        calls: object = delta.get("tool_calls") or []
        if not isinstance(calls, list):
            _not_the_protocol("tool_calls", calls)
        for call in cast("list[object]", calls):
            self._call(_mapping(call, "a tool call"))
        if delta.get("function_call"):  # the form before tools
            self._call({"index": 0, "function": delta["function_call"]})
        return text

    def _call(self, piece: Mapping[str, Any]) -> None:
        function = _mapping(piece.get("function") or {}, "a function")
        index = piece.get("index")
        said = _Call(
            index=index if isinstance(index, int) else None,
            id=_text(piece.get("id")),
            name=_text(function.get("name")),
            arguments=_arguments(function.get("arguments")),
        )
        self.size += len(said.name) + len(said.arguments)
        known = self._same(said)
        if known is None:
            self.calls.append(said)
            return
        known.id, known.name = known.id or said.id, known.name or said.name
        known.arguments += said.arguments

    def _same(self, said: _Call) -> _Call | None:
        """Return the call that a piece goes on with.

        Pieces of one call share an index. Servers that send whole calls may number them all alike, or not at all, so a
        piece with a name begins another call where its id is another, or where the known call is complete without it.
        """
        alike = [c for c in self.calls if said.index is None or c.index in (said.index, None)]
        if not alike:
            return None
        known = alike[-1]
        if not said.name or not known.name:
            return known
        if said.id and known.id and said.id != known.id:
            return None
        whole = known.arguments.strip() and _object(known.arguments) is not None
        return None if said.arguments and whole else known

    def _count(self, usage: Mapping[str, Any]) -> None:
        for name in ("prompt_tokens", "completion_tokens"):
            value = usage.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31:
                setattr(self, name, value)

    def ended(self) -> tuple[tuple[ToolCall, ...], str, Literal["stop", "length", "tool_calls"]]:
        """Return the calls, what must be added to the text for those that are none, and how the reply ended."""
        calls: list[ToolCall] = []
        spoilt: list[str] = []
        for call in self.calls:
            arguments = _object(call.arguments)
            if call.name and arguments is not None:
                taken = {made.id for made in calls}
                fresh = call.id if call.id and call.id not in taken else f"call-{len(calls) + 1}"
                calls.append(ToolCall(id=fresh, name=clean(call.name), arguments=arguments))
            else:
                spoilt.append(_as_text(call))
        finish = "length" if self.finish == "length" else "tool_calls" if calls else "stop"
        return tuple(calls), "".join(spoilt), finish


def names_in(listing: object) -> list[str]:
    """Return the models in what `/models` answered.

    Raises:
        BadReply: It is no list of models.
    """
    listed = _mapping(listing, "a list of models").get("data")
    if not isinstance(listed, list):
        _not_the_protocol("a list of models", listing)
    ids = [_text(_mapping(one, "a model").get("id")) for one in cast("list[object]", listed)]
    return [clean(model) for model in ids if model]


def _as_text(call: _Call) -> str:
    head = json.dumps(clean(call.name), ensure_ascii=False)
    return f'\n<tool_call>\n{{"name": {head}, "arguments": {clean(call.arguments)}}}\n</tool_call>'


def _object(arguments: str) -> dict[str, Json] | None:
    """Return the arguments where they are a JSON object, encoded once or, as some servers do, twice."""
    if not arguments.strip():
        return {}
    try:
        value: object = json.loads(arguments, parse_constant=_no_number)
        if isinstance(value, str):
            value = json.loads(value, parse_constant=_no_number)
        if isinstance(value, dict):
            return cast("dict[str, Json]", json.loads(clean(json.dumps(value, ensure_ascii=False, allow_nan=False))))
    except (ValueError, RecursionError):
        pass
    return None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _arguments(value: object) -> str:
    """Return a call's arguments as text, whichever way the server has put them."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _text(value: object) -> str:
    """Return text that may have come in pieces of a list."""
    if isinstance(value, list):
        return "".join(
            _text(cast("Mapping[str, Any]", piece).get("text") if isinstance(piece, Mapping) else piece)
            for piece in cast("list[object]", value)
            if not isinstance(piece, list)
        )
    return value if isinstance(value, str) else ""


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        _not_the_protocol(what, value)
    return cast("Mapping[str, Any]", value)


def _not_the_protocol(what: str, value: object) -> NoReturn:
    raise BadReply(f"the model server sent {what} that is not its protocol: {str(value)[:100]!r}; look at its log")
