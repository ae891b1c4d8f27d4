"""Read the tool calls of a reply: those the server understood, and those the model wrote as text.

What is returned as a call fits a tool's schema. What cannot be read as exactly one call is a problem, told to the model in
words; nothing is executed on a guess, and nothing that was cut off in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.parse import storable
from agents.tools import textcalls
from agents.tools.fitting import MisfitError, fit
from agents.tools.textcalls import Attempt
from tandem.errors import BadReply
from tandem.types import Reply, Tool, ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsRead:
    """What a reply asks for. `text` is what is left beside the calls; `problems` are attempts that were not understood."""

    calls: tuple[ToolCall, ...] = ()
    text: str = ""
    repairs: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def read_calls(reply: Reply, tools: Sequence[Tool]) -> CallsRead:
    """Return the calls in `reply`, each fitted to one of `tools`; never raises."""
    try:
        return _read(reply, tools)
    except (
        Exception
    ) as error:  # a model can write anything, and what it wrote is in the journal: it would end every resume
        return CallsRead(
            text=reply.text, problems=(f"the reply cannot be read ({type(error).__name__}); write it plainly",)
        )


def _read(reply: Reply, tools: Sequence[Tool]) -> CallsRead:
    if reply.tool_calls:
        attempts = [Attempt(name=call.name, arguments=dict(call.arguments)) for call in reply.tool_calls]
        return _fitted(attempts, reply.text, [call.id for call in reply.tool_calls], tools, cut=False)
    attempts, rest = textcalls.find(reply.text, tools)
    return _fitted(attempts, rest if attempts else reply.text, [], tools, cut=reply.finish == "length")


def _fitted(
    attempts: Sequence[Attempt], text: str, ids: Sequence[str], tools: Sequence[Tool], *, cut: bool
) -> CallsRead:
    calls: list[ToolCall] = []
    repairs: list[str] = []
    problems: list[str] = []
    for number, attempt in enumerate(attempts[: textcalls.CALLS_MAX], 1):
        if attempt.problem:
            problems.append(attempt.problem)
            continue
        if attempt.cut and cut:
            problems.append(f"{attempt.name} was cut off at the token limit and was not done; write less at once")
            continue
        try:
            name, arguments, mended = fit(attempt.name, storable(attempt.arguments), tools)
        except (MisfitError, BadReply) as error:
            problems.append(str(error))
            continue
        given = ids[number - 1] if number <= len(ids) else ""
        calls.append(ToolCall(id=given or f"call-{number}", name=name, arguments=arguments))
        repairs += [*attempt.repairs, *mended]
    if len(attempts) > textcalls.CALLS_MAX:
        problems.append(f"there were more than {textcalls.CALLS_MAX} calls; the others were not done")
    return CallsRead(calls=tuple(calls), text=text, repairs=tuple(dict.fromkeys(repairs)), problems=tuple(problems))
