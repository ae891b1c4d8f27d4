"""Questions to models, and what is replied."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, cast

from tandem import types
from tandem.v1 import worker_pb2 as pb
from tandem.wire.fields import deadline_in, header_out, object_in, one_of


def complete_out(request: types.CompleteRequest, *, resume_offset: int = 0) -> pb.CompleteRequest:
    """Return the wire form of a question to a model."""
    return pb.CompleteRequest(
        header=header_out(request, request.deadline_s),
        persona=request.persona,
        turn=request.turn,
        model=request.model,
        messages=[
            pb.Message(
                role=m.role,
                content=m.content,
                images=m.images,
                tool_calls=_calls_out(m.tool_calls),
                tool_call_id=m.tool_call_id,
            )
            for m in request.messages
        ],
        tools=[
            pb.Tool(name=t.name, description=t.description, parameters_json=json.dumps(dict(t.parameters)))
            for t in request.tools
        ],
        schema_json="" if request.schema is None else json.dumps(dict(request.schema)),
        sampling=pb.Sampling(
            temperature=request.sampling.temperature,
            top_p=request.sampling.top_p,
            max_tokens=request.sampling.max_tokens,
            seed=request.sampling.seed,
        ),
        context_tokens=request.context_tokens,
        resume_offset=resume_offset,
    )


def complete_in(message: pb.CompleteRequest) -> types.CompleteRequest:
    """Return the question a router sent.

    Raises:
        BadInput: A field is missing, out of its set, or not JSON.
    """
    sampling = message.sampling
    return types.CompleteRequest(
        request_id=types.RequestId(message.header.request_id),
        attempt=message.header.attempt,
        run_id=types.RunId(message.header.run_id),
        persona=message.persona,
        turn=message.turn,
        model=message.model,
        messages=tuple(
            types.Message(
                role=one_of(m.role, types.Role, "a message's role"),
                content=m.content,
                images=tuple(m.images),
                tool_calls=_calls_in(m.tool_calls),
                tool_call_id=m.tool_call_id,
            )
            for m in message.messages
        ),
        tools=tuple(
            types.Tool(
                name=t.name,
                description=t.description,
                parameters=object_in(t.parameters_json, f"parameters of {t.name!r}"),
            )
            for t in message.tools
        ),
        schema=object_in(message.schema_json, "schema_json") if message.schema_json else None,
        sampling=types.Sampling(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            seed=sampling.seed if sampling.HasField("seed") else None,
        ),
        context_tokens=message.context_tokens,
        priority=message.header.priority,
        deadline_s=deadline_in(message.header),
    )


def chunk_out(chunk: types.Chunk, attempt: int = 0) -> pb.CompleteResponse:
    """Return the wire form of a piece of a reply; `attempt` says to which, 0 leaves it open."""
    return pb.CompleteResponse(chunk=pb.Chunk(offset=chunk.offset, text=chunk.text), attempt=attempt)


def reply_out(reply: types.Reply, attempt: int = 0) -> pb.CompleteResponse:
    """Return the wire form of a whole reply; `attempt` says to which question, 0 leaves it open."""
    return pb.CompleteResponse(
        attempt=attempt,
        reply=pb.Reply(
            text=reply.text,
            tool_calls=_calls_out(reply.tool_calls),
            finish=reply.finish,
            model=reply.model,
            node=reply.node,
            backend=reply.backend,
            rehearsed=reply.rehearsed,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            first_token_ms=reply.first_token_ms,
            total_ms=reply.total_ms,
        ),
    )


def reply_in(message: pb.Reply) -> types.Reply:
    """Return the reply a worker sent."""
    return types.Reply(
        text=message.text,
        tool_calls=_calls_in(message.tool_calls),
        finish=cast("Any", message.finish or "stop"),
        model=message.model,
        node=message.node,
        backend=message.backend,
        rehearsed=message.rehearsed,
        prompt_tokens=message.prompt_tokens,
        completion_tokens=message.completion_tokens,
        first_token_ms=message.first_token_ms,
        total_ms=message.total_ms,
    )


def _calls_out(calls: Iterable[types.ToolCall]) -> list[pb.ToolCall]:
    return [pb.ToolCall(id=c.id, name=c.name, arguments_json=json.dumps(dict(c.arguments))) for c in calls]


def _calls_in(calls: Iterable[pb.ToolCall]) -> tuple[types.ToolCall, ...]:
    return tuple(
        types.ToolCall(id=c.id, name=c.name, arguments=object_in(c.arguments_json, f"arguments of {c.name!r}"))
        for c in calls
    )
