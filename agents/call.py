"""One persona call: messages out, a typed reply back, one repair attempt.

A call starts from an empty history and is given all it needs. How a model is asked, and whether the answer comes from
a journal, is the business of the `ask` it is handed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from agents.context import Count, Section, build, estimate_tokens
from agents.parse import Parsed, parse
from agents.personas import Persona
from agents.replies import ReplyModel
from agents.schemas import schema_of
from tandem.errors import BadReply
from tandem.types import Json, Message, Reply

Ask = Callable[[tuple[Message, ...], dict[str, Json]], Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What a persona said: the typed reply, and what it took to get it."""

    value: ReplyModel
    replies: tuple[Reply, ...]
    repairs: tuple[str, ...]


async def call(
    persona: Persona,
    sections: Sequence[Section],
    *,
    language: str,
    context_tokens: int,
    ask: Ask,
    count: Count = estimate_tokens,
) -> Spoken:
    """Ask `persona` once, without tools, and return its typed reply.

    Raises:
        BadReply: Neither the reply nor its repair could be used; the message quotes the trouble.
    """
    messages = build(persona, sections, language=language, context_tokens=context_tokens, count=count)
    return await repaired(persona, messages, ask)


async def repaired(persona: Persona, messages: tuple[Message, ...], ask: Ask) -> Spoken:
    """Ask with `messages` and return the typed reply; one that cannot be used is asked for once more.

    Raises:
        BadReply: As `call`.
    """
    schema = schema_of(persona.reply)
    first = await ask(messages, schema)
    try:
        parsed = _parse(first, persona)
        return Spoken(value=parsed.value, replies=(first,), repairs=parsed.repairs)
    except BadReply as trouble:
        again = (*messages, *_repair(first, trouble))
    second = await ask(again, schema)
    try:
        parsed = _parse(second, persona)
    except BadReply as trouble:
        raise BadReply(f"the {persona.title} ({second.model}) could not be understood, twice: {trouble}") from None
    repairs = ("the reply was asked for again", *parsed.repairs)
    return Spoken(value=parsed.value, replies=(first, second), repairs=repairs)


def _parse(reply: Reply, persona: Persona) -> Parsed[ReplyModel]:
    return parse(reply.text, persona.reply, cut=reply.finish == "length")


def _repair(reply: Reply, trouble: BadReply) -> tuple[Message, ...]:
    shown = reply.text if len(reply.text) < 4000 else reply.text[:4000] + "\n[cut]"
    return (
        Message(role="assistant", content=shown or "(empty)"),
        Message(
            role="user",
            content=f"That could not be used: {trouble}. Answer again with exactly one JSON object that follows the "
            "schema, and nothing else.",
        ),
    )
