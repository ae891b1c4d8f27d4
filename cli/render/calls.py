"""Show the calls of a run as a person reads them: who was asked what, what it said, which tools it used. Pure.

Everything here was written by models, files or tools, so every line is made visible before it is shown. Long messages are
folded to their beginning and end; what a call repeats from the one before it is not shown again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cli.render.loose import mapping, number, objects, text, whole
from cli.render.text import clip, duration, one_line, visible
from cli.render.view import REHEARSAL

_LINES_SHOWN = 12  # of a folded message
_ROLES = {"system": "told", "user": "shown", "assistant": "said", "tool": "answer"}


def call_lines(calls: Sequence[Mapping[str, Any]], cells: int, *, full: bool = False) -> Iterator[str]:
    """Yield the lines of all calls in order; `full` unfolds long messages."""
    before: list[Any] = []
    for call in calls:
        yield head(call)
        messages = objects(call.get("messages"))
        same = _shared(before, messages)
        if same:
            yield f"  (the {same} messages before are as in the last turn)"
        said_before = same > 0 and text(messages[same], "role") == "assistant" if same < len(messages) else False
        for message in messages[same + said_before :]:  # the reply of the last turn was shown there
            yield from _message(message, cells, full=full)
        yield from _reply(call, cells, full=full)
        yield ""
        before = messages


def head(call: Mapping[str, Any]) -> str:
    """Return a call's first line: step, persona, turn, model, time and tokens."""
    reply = mapping(call.get("reply"))
    parts = [f"{text(call, 'step')} · {text(call, 'persona')}, turn {whole(call, 'turn')}", text(call, "model")]
    if whole(call, "attempt") > 1:
        parts.append(f"attempt {whole(call, 'attempt')}")
    if reply:
        parts.append(f"{whole(reply, 'prompt_tokens')} → {whole(reply, 'completion_tokens')} tokens")
        parts.append(duration(number(reply, "seconds")))
    if reply.get("rehearsed"):
        parts.append(REHEARSAL)
    return "── " + one_line(" · ".join(part for part in parts if part))


def _shared(before: Sequence[Any], now: Sequence[Any]) -> int:
    count = 0
    while count < min(len(before), len(now)) and before[count] == now[count]:
        count += 1
    return count


def _message(message: Mapping[str, Any], cells: int, *, full: bool) -> Iterator[str]:
    role = text(message, "role")
    yield from _body(_ROLES.get(role, one_line(role)), text(message, "content"), cells, full=full)
    for call in objects(message.get("tool_calls")):
        yield clip(f"    → {tool_line(call)}", cells)


def _reply(call: Mapping[str, Any], cells: int, *, full: bool) -> Iterator[str]:
    reply = mapping(call.get("reply"))
    if call.get("error"):
        yield f"  ! no reply: {one_line(text(call, 'error'))}"
    if not reply:
        return
    yield from _body("reply", text(reply, "text"), cells, full=full)
    for used in objects(reply.get("tool_calls")):
        yield clip(f"    → {tool_line(used)}", cells)
    if text(reply, "finish") == "length":
        yield "  ! cut off at the token limit"


def tool_line(call: Mapping[str, Any]) -> str:
    """Return a tool call in a line: its name and its arguments, the path first, long ones by their size."""
    shown: list[str] = []
    given = mapping(call.get("arguments"))
    for key, value in sorted(given.items(), key=lambda item: (item[0] != "path", len(str(item[1])))):
        words = value if isinstance(value, str) else repr(value)
        lines = words.count("\n") + 1
        shown.append(
            f"{key}={words!r}" if lines == 1 and len(words) <= 80 else f"{key}=[{lines} lines, {len(words)} characters]"
        )
    return one_line(" ".join([text(call, "name"), *shown]))


def _body(label: str, content: str, cells: int, *, full: bool) -> Iterator[str]:
    if not content:
        return
    lines = visible(content, keep="\n").splitlines()
    folded = not full and len(lines) > _LINES_SHOWN
    yield f"  {label}:" + (f" ({len(lines)} lines, {len(content)} characters)" if folded else "")
    half = _LINES_SHOWN // 2
    shown = (
        [*lines[:half], f"[… {len(lines) - 2 * half} lines; --full shows them …]", *lines[-half:]] if folded else lines
    )
    for line in shown:
        yield f"    {line if full else clip(line, max(cells - 4, 20))}"
