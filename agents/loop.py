"""One persona call with tools: turn by turn over a worktree, until it hands over or goes nowhere.

The history is exact and only grows, so that a model server can keep what it has read; it is never summarised. When there
is no room, no turn or no time left, or the turns go in circles, the call ends with a reason that has a name, and the
persona is asked once, without tools, to hand over what it has. Nothing is kept for the next call but the worktree.

Every decision here follows from recorded answers (replies, their durations, reports), so a replay takes the same turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from pydantic import ValidationError

from agents.call import repaired
from agents.context import Count, Section, build
from agents.failures import Failure
from agents.marks import free
from agents.parse import parse, storable
from agents.personas import Persona
from agents.replies import ReplyModel
from agents.stuck import Turn, Watch
from agents.tools.calls import read_calls
from agents.tools.catalogue import FINISH, TOOLS, finish
from agents.tools.worktree import Used
from tandem.errors import BadReply
from tandem.types import Json, Message, Reply, Tool, ToolCall

RESERVE_TOKENS = 512  # the chat template's own tokens, and what the estimate gets wrong
_TURN_TOKENS_MIN = 1024  # less room than this, and another turn is not worth beginning
_RESULT_SHARE = 3  # one result takes at most this part of the room there is
_RESULT_TOKENS_MIN = 64
_FIRST = 2  # the system prompt and what the persona is shown
_WORDS_TOKENS = 2048  # for the words that end a call, and, once more, for a reply that could not be used
_CALLS_A_TURN = 16
_TOKENS_PER_STEP = 2048  # a call may write this much for each of its turns, on average


class Toolbox(Protocol):
    """What tools act on."""

    async def use(self, call: ToolCall, room_tokens: int, count: Count) -> Used:
        """Do what a call asks for, and answer in at most `room_tokens`."""
        ...

    async def tree(self) -> str:
        """Return a digest of everything the tools can change."""
        ...


class Ask(Protocol):
    """Asks the persona's model; `used` is told of each tool call afterwards."""

    async def __call__(
        self, messages: tuple[Message, ...], schema: dict[str, Json] | None, tools: tuple[Tool, ...]
    ) -> Reply:
        """Return the reply."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one call may use: tokens of context, seconds of model and test time, tokens written (0: by its steps)."""

    context_tokens: int
    seconds: float
    written_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """What a persona handed over. `failure` names why it did not end by itself; `why` says it in words."""

    value: ReplyModel
    failure: str = ""
    why: str = ""
    turns: int = 0
    repairs: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class _Talk:
    """The call so far."""

    messages: list[Message]
    tools: tuple[Tool, ...]
    count: Count
    turns: int = 0
    tokens: int = 0
    written: int = 0
    seconds: float = 0.0
    repairs: list[str] = field(default_factory=list[str])

    def add(self, message: Message) -> None:
        self.messages.append(message)
        self.tokens += weigh(message, self.count)


def weigh(message: Message, count: Count) -> int:
    """Return the tokens a message takes in a prompt, with a few for the template around it."""
    calls = sum(count(call.name) + count(str(dict(call.arguments))) + 16 for call in message.tool_calls)
    return count(message.content) + calls + 8


OnUsed = Callable[[ToolCall, Used], None]


async def work(
    persona: Persona,
    sections: Sequence[Section],
    toolbox: Toolbox,
    *,
    language: str,
    bounds: Bounds,
    ask: Ask,
    count: Count,
    on_used: OnUsed = lambda _call, _used: None,
    leaves: ReplyModel | None = None,
) -> Worked:
    """Let `persona` work with its tools and return what it hands over.

    `leaves` is what counts as handed over when the work is stopped; None to ask the persona for it.

    Raises:
        BadReply: It handed over nothing that could be understood, twice; the message says how the work ended.
    """
    tools = tools_of(persona)
    context_tokens = first_prompt(persona, bounds, count)
    first = build(persona, sections, language=language, context_tokens=context_tokens, count=count)
    talk = _Talk(messages=[], tools=tools, count=count, tokens=_weight_of(tools, count))
    for message in first:
        talk.add(message)
    watch = Watch()
    while True:
        if ended := _spent(talk, persona, bounds):
            return await _stopped(talk, persona, bounds, ask, leaves, *ended)
        reply = await ask(tuple(talk.messages), None, tools)
        talk.turns, talk.written = talk.turns + 1, talk.written + _tokens_of(reply, count)
        talk.seconds += reply.total_ms / 1000
        turn, value = await _take(talk, reply, persona, toolbox, bounds, on_used)
        if value is not None:
            return Worked(value=value, turns=talk.turns, repairs=tuple(talk.repairs))
        judged = watch.look(turn)
        if judged.action == "end":
            return await _stopped(talk, persona, bounds, ask, leaves, judged.failure, judged.words)
        if judged.action == "nudge":
            talk.add(Message(role="user", content=judged.words))


def tools_of(persona: Persona) -> tuple[Tool, ...]:
    """Return the tools a persona's file names, and the one that ends its work."""
    named = tuple(TOOLS[name] for name in persona.tools if name != FINISH)
    return (*named, finish(persona.reply))


def uses_tools(persona: Persona) -> bool:
    """Return whether a persona works turn by turn."""
    return bool(persona.tools) and persona.steps > 1


def first_prompt(persona: Persona, bounds: Bounds, count: Count) -> int:
    """Return the context the first prompt may take: half of what the reply leaves; the turns get the other half."""
    free = bounds.context_tokens - persona.max_tokens - RESERVE_TOKENS - _weight_of(tools_of(persona), count)
    return free // 2 + persona.max_tokens + RESERVE_TOKENS


def _weight_of(tools: Sequence[Tool], count: Count) -> int:
    return sum(count(tool.name + tool.description + str(dict(tool.parameters))) + 16 for tool in tools)


def _tokens_of(reply: Reply, count: Count) -> int:
    return reply.completion_tokens or count(reply.text)


def _room(talk: _Talk, persona: Persona, bounds: Bounds) -> int:
    """Return the tokens the history may still grow by, before the next reply would not fit."""
    return bounds.context_tokens - persona.max_tokens - RESERVE_TOKENS - talk.tokens


def _spent(talk: _Talk, persona: Persona, bounds: Bounds) -> tuple[Failure, str] | None:
    """Return which bound is reached, if one is."""
    if talk.turns >= persona.steps:
        return "steps spent", f"{talk.turns} turns were taken, and there are no more"
    if talk.turns and _room(talk, persona, bounds) < _TURN_TOKENS_MIN:
        return "context spent", f"{talk.tokens} of {bounds.context_tokens} tokens of context are taken"
    written_max = bounds.written_tokens or persona.steps * _TOKENS_PER_STEP
    if talk.written >= written_max:
        return "tokens spent", f"{talk.written} tokens were written, of {written_max}"
    if talk.seconds >= bounds.seconds:
        return "time spent", f"it took {talk.seconds:.0f} s, of {bounds.seconds:.0f}"
    return None


async def _take(
    talk: _Talk, reply: Reply, persona: Persona, toolbox: Toolbox, bounds: Bounds, on_used: OnUsed
) -> tuple[Turn, ReplyModel | None]:
    """Put a reply into the history, do what it asks for, and return the turn, or what was handed over."""
    read = read_calls(reply, talk.tools)
    calls, problems = read.calls[:_CALLS_A_TURN], list(read.problems)
    if surplus := len(read.calls) - len(calls):
        problems.append(
            f"the last {surplus} of {len(read.calls)} calls were not done; make at most {_CALLS_A_TURN} at once"
        )
    talk.repairs += read.repairs
    native = bool(reply.tool_calls)
    if not calls and not problems:
        value = _typed(reply, persona)
        talk.add(Message(role="assistant", content=reply.text))
        if value is None:
            talk.add(Message(role="user", content=_reminder(reply)))
        return Turn(text=reply.text, tree=await toolbox.tree()), value
    talk.add(Message(role="assistant", content=reply.text, tool_calls=calls if native else ()))
    used, value = await _use(talk, calls, persona, toolbox, bounds, on_used, native=native, lost=bool(problems))
    for problem in problems:
        talk.add(Message(role="user", content=f"A tool call was not carried out: {problem}"))
    turn = Turn(
        calls=calls,
        results=tuple(one.text for one in used),
        failed=tuple(one.failed for one in used),
        text=read.text,
        tree=await toolbox.tree(),
        problems=tuple(problems),
    )
    return turn, value


async def _use(
    talk: _Talk,
    calls: Sequence[ToolCall],
    persona: Persona,
    toolbox: Toolbox,
    bounds: Bounds,
    on_used: OnUsed,
    *,
    native: bool,
    lost: bool,
) -> tuple[list[Used], ReplyModel | None]:
    """Do the calls in order and answer each, `finish` last: it counts when everything beside it went well.

    `lost` says that the reply held another call that was not done. The answers come one for each of `calls`, in order.
    """
    answers: dict[int, Used] = {}
    value: ReplyModel | None = None
    for at in sorted(range(len(calls)), key=lambda at: (calls[at].name == FINISH, at)):
        call = calls[at]
        room = max(_room(talk, persona, bounds) - _TURN_TOKENS_MIN // 2, 0)
        if call.name == FINISH:
            used, value = _finish(call, persona, [lost, *(one.failed for one in answers.values())])
        elif room <= _RESULT_TOKENS_MIN:
            used = Used(text="Not done: there is no room left to answer.", failed=True)
        else:
            used = await toolbox.use(call, max(room // _RESULT_SHARE, _RESULT_TOKENS_MIN), talk.count)
        talk.seconds += used.seconds
        answers[at] = used
        on_used(call, used)
        talk.add(_answer(call, used, native=native))
    return [answers[at] for at in range(len(calls))], value


def _finish(call: ToolCall, persona: Persona, failed: Sequence[bool]) -> tuple[Used, ReplyModel | None]:
    if any(failed):
        return Used(text="Not taken: another call of this reply failed. Look at its answer first.", failed=True), None
    try:
        value = persona.reply.model_validate(storable(cast("Any", dict(call.arguments))))
    except ValidationError as error:
        words = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        return Used(text=f"Not taken: {words}", failed=True), None
    return Used(text="Taken."), value


def _answer(call: ToolCall, used: Used, *, native: bool) -> Message:
    """Return a tool's answer: in the form of the server's own, or as text where the call was text."""
    if native:
        return Message(role="tool", content=used.text, tool_call_id=call.id)
    mark = free("tool_response", used.text)
    return Message(role="user", content=f"<{mark}>\n{used.text}\n</{mark}>")


def _typed(reply: Reply, persona: Persona) -> ReplyModel | None:
    """Return the persona's reply where the text is one; a JSON object with none of its fields is not."""
    try:
        value = parse(reply.text, persona.reply, cut=reply.finish == "length").value
    except BadReply:
        return None
    return value if value.model_fields_set else None


def _reminder(reply: Reply) -> str:
    if reply.finish == "length":
        return "Your reply was cut off at the token limit. Write less at once: change a file piece by piece."
    if not reply.text.strip():
        return "Your reply was empty. Call a tool; call finish when you are done."
    return "No tool was called. Call a tool to go on, or finish to hand over your work."


async def _stopped(
    talk: _Talk, persona: Persona, bounds: Bounds, ask: Ask, leaves: ReplyModel | None, failure: str, why: str
) -> Worked:
    """Return what there is; where the worktree does not hold it, ask once more, without tools.

    Raises:
        BadReply: Neither the reply nor its repair could be understood.
    """
    repairs = tuple(talk.repairs)
    if leaves is not None:
        return Worked(value=leaves, failure=failure, why=why, turns=talk.turns, repairs=repairs)
    words = f"Stop here: {why}. Hand over what you have now: one JSON object that follows the schema, no tool call."
    asked = (*_that_fit(talk, persona, bounds), Message(role="user", content=words))
    try:
        spoken = await repaired(persona, asked, lambda messages, schema: ask(messages, schema, ()))
    except BadReply as error:
        raise BadReply(f"the {persona.title}'s work ended ({failure}: {why}), and {error}") from None
    repairs += spoken.repairs
    return Worked(value=spoken.value, failure=failure, why=why, turns=talk.turns, repairs=repairs)


def _that_fit(talk: _Talk, persona: Persona, bounds: Bounds) -> list[Message]:
    """Return the history, without its last messages where the last reply left no room for another."""
    kept, over = list(talk.messages), _WORDS_TOKENS - _room(talk, persona, bounds)
    if over <= 0:
        return kept
    while len(kept) > _FIRST and over > 0:
        over -= weigh(kept.pop(), talk.count)
    while len(kept) > _FIRST and kept[-1].role in ("assistant", "tool"):
        kept.pop()  # a call without all its answers is no history
    return kept
