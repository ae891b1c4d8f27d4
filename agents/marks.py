"""Keep what is shown to a model from posing as what only its template may say.

A model server renders messages with marks like `<|im_start|>` and does not tell those of a file from its own. So on the way
out such marks get an invisible character, and on the way back, in what the model copied, they lose it: a file is shown and
written as it is, and ends no message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from tandem.types import Json, Message, Reply

_SPLIT = "\u2060"  # WORD JOINER: takes no space, and belongs to no template's mark
_MARK = re.compile(r"<(?=[|｜]|(?:start|end)_of_turn>|/?s>|\uff5c)|\[(?=/?INST\]|/?SYSTEM_PROMPT\])")
_KEPT = re.compile(rf"([<\[]){_SPLIT}")


def defused(message: Message) -> Message:
    """Return a message in which no template's mark stands."""
    text = _MARK.sub(lambda found: found.group() + _SPLIT, message.content)
    return message if text == message.content else replace(message, content=text)


def restored(reply: Reply) -> Reply:
    """Return a reply in which the marks that it copied are what they are in the files."""
    if _SPLIT not in reply.text and not any(_SPLIT in str(call.arguments) for call in reply.tool_calls):
        return reply
    calls = tuple(
        replace(call, arguments=cast("Mapping[str, Json]", _restored(dict(call.arguments))))
        for call in reply.tool_calls
    )
    return replace(reply, text=_KEPT.sub(r"\1", reply.text), tool_calls=calls)


def _restored(value: Any) -> Any:
    if isinstance(value, str):
        return _KEPT.sub(r"\1", value)
    if isinstance(value, list):
        return [_restored(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: _restored(item) for key, item in cast("dict[str, Any]", value).items()}
    return value


def free(tag: str, text: str) -> str:
    """Return a tag that `text` does not hold: `tag` itself, else `tag-1` and so on; the same for the same text."""
    held = [int(found[1] or 0) for found in re.finditer(rf"(?i)<\s*/?\s*{tag}(?:-(\d{{1,8}}))?\b", text)]
    return f"{tag}-{max(held) + 1}" if held else tag
