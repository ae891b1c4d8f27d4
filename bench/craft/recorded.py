"""Play recorded calls, as `tandem show RUN --export` writes them, through the parser and the loop detector again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from agents.stuck import Turn, Watch
from agents.tools.calls import read_calls
from tandem.errors import BadInput
from tandem.types import Reply, Tool, ToolCall

Recorded = Mapping[str, Any]


def play(file: Path) -> dict[str, Any]:
    """Return what the parser and the detector say of each persona's work in the file.

    Raises:
        BadInput: The file cannot be read, or a line is no call.
    """
    works: dict[str, list[Recorded]] = {}
    for call in _calls(file):
        works.setdefault(f"{call.get('run', '')}/{call.get('step', '')}/{call.get('persona', '')}", []).append(call)
    return {name: _work(calls) for name, calls in works.items()}


def _calls(file: Path) -> list[Recorded]:
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the transcripts {file}: {error}") from error
    found: list[Recorded] = []
    for number, line in enumerate(lines, 1):
        try:
            call: Any = json.loads(line or "null")
        except ValueError:
            call = None
        if not isinstance(call, dict) or "messages" not in call:
            raise BadInput(f"{file}, line {number}: that is no recorded call; `tandem show RUN --export` writes them")
        found.append(cast("Recorded", call))
    return found


def _work(calls: Sequence[Recorded]) -> dict[str, Any]:
    watch, repairs, problems, judged = Watch(), list[str](), list[str](), list[str]()
    used = 0
    for number, call in enumerate(calls):
        reply, tools = _reply(call), _tools(call)
        if reply is None or not tools:
            continue
        read = read_calls(reply, tools)
        used += len(read.calls)
        repairs += read.repairs
        problems += read.problems
        answers = _answers(calls[number + 1], len(call["messages"])) if number + 1 < len(calls) else ()
        said = watch.look(Turn(calls=read.calls, results=answers, text=read.text, problems=read.problems))
        judged += [f"turn {number + 1}: {said.action}, {said.failure}"] if said.action != "go on" else []
    return {"turns": len(calls), "tool_calls": used, "repairs": repairs, "problems": problems, "judged": judged}


def _reply(call: Recorded) -> Reply | None:
    given = call.get("reply")
    if not given:
        return None
    made = tuple(
        ToolCall(id=str(one.get("id", "")), name=str(one["name"]), arguments=one.get("arguments") or {})
        for one in given.get("tool_calls") or ()
    )
    return Reply(text=str(given.get("text", "")), tool_calls=made, finish=given.get("finish", "stop"))


def _tools(call: Recorded) -> tuple[Tool, ...]:
    return tuple(
        Tool(name=str(one["name"]), description=str(one.get("description", "")), parameters=one.get("parameters") or {})
        for one in call.get("tools") or ()
        if one
    )


def _answers(following: Recorded, before: int) -> tuple[str, ...]:
    """Return what the tools answered: the messages after the reply, as the next turn was shown them."""
    later = following["messages"][before + 1 :]
    return tuple(str(message["content"]) for message in later if message and message["role"] in ("tool", "user"))
