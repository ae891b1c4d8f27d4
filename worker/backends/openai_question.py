"""Say a call in the words of OpenAI's chat protocol, as far as all servers understand them. Pure."""

from __future__ import annotations

import base64
import json
from typing import Any

from tandem.types import CompleteRequest, Message

_PICTURES = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"GIF8", "gif"), (b"RIFF", "webp"))


def question(request: CompleteRequest, model: str, *, schema: bool) -> dict[str, Any]:
    """Return the body of the request; `schema` says whether the server may be told the schema.

    It is not told where tools are offered as well: servers hold the whole reply to it, and no call could be made.
    """
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": [_message(message) for message in request.messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if request.tools:
        body["tools"] = [
            {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.parameters}}
            for t in request.tools
        ]
    if tells_schema(request) and schema:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": dict(request.schema or {}), "strict": False},
        }
    return body


def tells_schema(request: CompleteRequest) -> bool:
    """Return whether this call's schema is for the server to enforce."""
    return request.schema is not None and not request.tools


def _message(message: Message) -> dict[str, Any]:
    out: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        pictures = [{"type": "image_url", "image_url": {"url": _data_url(image)}} for image in message.images]
        out["content"] = [{"type": "text", "text": message.content}, *pictures]
    if message.tool_calls:
        out["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments), ensure_ascii=False)},
            }
            for call in message.tool_calls
        ]
    if message.role == "tool":
        out["tool_call_id"] = message.tool_call_id
    return out


def _data_url(image: bytes) -> str:
    kind = next((kind for magic, kind in _PICTURES if image.startswith(magic)), "png")
    return f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"
