"""Plays a script instead of asking a model, and says everywhere that it does.

A script is YAML: a `name`, and `replies` chosen by persona and turn. Product code, not a mock: for demos, for tests of
everything around a model, and for trying a workflow out. `rehearsal/random` plays noise instead (`noise`).

A folder may stand in a script's place: then each task names its script in a line of its own, `Rehearsal: NAME`, which is
read from NAME.yaml when it is asked for. So one worker plays many, and a script may be written just before its task.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tandem.errors import BadConfig, BadReply, Unavailable, UnknownModel
from tandem.types import Chunk, CompleteRequest, Message, ModelInfo, Reply, ToolCall
from worker.backends import noise
from worker.backends.base import clean

RANDOM = "random"
_BURST_CHARS = 2000  # of one piece where no pace is set
_NAME = r"[a-z0-9][a-z0-9._-]*"
_CALLED_FOR = re.compile(rf"^Rehearsal: ({_NAME})$", re.MULTILINE)


class _Call(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    arguments: dict[str, Any] = {}


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    persona: str
    turn: int = Field(default=1, ge=1)
    reply: Any = None
    text: str | None = None
    tool_calls: list[_Call] = []
    delay_s: float = Field(default=0, ge=0)
    fault: Literal["", "cut", "error", "hang"] = ""


class Script(BaseModel):
    """A script as its file has it."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=rf"^{_NAME}$")
    replies: list[_Entry]

    def line(self, persona: str, turn: int) -> _Entry:
        """Return what `persona` says at its `turn`: the entry of the nearest turn not after it.

        Raises:
            BadReply: The script has nothing for this persona.
        """
        known = [entry for entry in self.replies if entry.persona == persona and entry.turn <= turn]
        if not known:
            raise BadReply(f"the rehearsal script {self.name!r} has no reply for persona {persona!r}, turn {turn}")
        return max(known, key=lambda entry: entry.turn)


class Scripts:
    """A folder of scripts; it is named like the folder."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self._folder = folder

    def called_for(self, messages: Sequence[Message]) -> Script:
        """Return the script that the first of the messages' lines `Rehearsal: NAME` names; it reads a file.

        Raises:
            BadReply: No line does, or its script cannot be used.
        """
        found = next((match for said in messages if (match := _CALLED_FOR.search(said.content))), None)
        if found is None:
            raise BadReply(f"the task has no line 'Rehearsal: NAME', which names one of the scripts in {self._folder}")
        try:
            return _read(self._folder / f"{found[1]}.yaml")
        except BadConfig as error:
            raise BadReply(error.message) from error


def load(path: Path) -> Script | Scripts:
    """Return the script in a file, or all those of a folder, which are read as they are asked for.

    Raises:
        BadConfig: It cannot be read or does not fit; the message names the file and the entry.
    """
    return Scripts(path) if path.is_dir() else _read(path)


def _read(path: Path) -> Script:
    try:
        return Script.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadConfig(f"cannot read the rehearsal script {path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadConfig(f"{path}: {where}: {first['msg']}") from error


class RehearsalBackend:
    """A script and its pace, as a model runtime."""

    name = "rehearsal"
    rehearsal = True

    def __init__(self, script: Script | Scripts, *, tokens_s: float, seed: int) -> None:
        self._script = script
        self._tokens_s = tokens_s
        self._seed = seed

    async def models(self) -> list[ModelInfo]:
        """Return the script's name and `random`."""
        names = (self._script.name, RANDOM)
        return [
            ModelInfo(name=f"{self.name}/{name}", backend=self.name, rehearsal=True, resident=True) for name in names
        ]

    def named(self) -> list[ModelInfo]:
        """Return none: it always lists what it has."""
        return []

    async def complete(self, request: CompleteRequest, model: str) -> AsyncGenerator[Chunk | Reply]:
        """Play the reply for the request's persona and turn.

        Raises:
            UnknownModel: It is neither the script nor `random`.
            BadReply: The script has nothing for this persona, or the task names none that is there.
        """
        started = time.monotonic()
        if model == RANDOM:
            text, calls, cut = noise.reply(request, self._seed), (), False
        elif model == self._script.name:
            entry = (await self._called_for(request)).line(request.persona, request.turn)
            if entry.delay_s:
                await asyncio.sleep(entry.delay_s)
            await self._fault(entry.fault)
            text, calls, cut = _text(entry), _calls(entry), entry.fault == "cut"
        else:
            raise UnknownModel(f"there is no rehearsal {model!r}; there are {self._script.name!r} and {RANDOM!r}")
        offset, first_ms = 0, 0.0
        async for piece in self._paced(text[: len(text) // 2] if cut else text):
            first_ms = first_ms or (time.monotonic() - started) * 1000
            yield Chunk(offset=offset, text=piece)
            offset += len(piece)
        if cut:
            raise Unavailable("the rehearsal script asks for the fault 'cut' here, in the middle of the reply")
        yield Reply(
            text=text,
            tool_calls=calls,
            finish="tool_calls" if calls else "stop",
            model=request.model,
            backend=self.name,
            rehearsed=True,
            prompt_tokens=sum(len(m.content) for m in request.messages) // 4,
            completion_tokens=len(text) // 4,
            first_token_ms=first_ms,
            total_ms=(time.monotonic() - started) * 1000,
        )

    async def _called_for(self, request: CompleteRequest) -> Script:
        if isinstance(self._script, Script):
            return self._script
        return await asyncio.to_thread(self._script.called_for, request.messages)

    @staticmethod
    async def _fault(fault: str) -> None:
        if fault == "hang":
            await asyncio.Event().wait()
        if fault == "error":
            raise Unavailable("the rehearsal script asks for the fault 'error' here")

    async def _paced(self, text: str) -> AsyncIterator[str]:
        """Yield `text` word by word at the set pace, or in large pieces where there is none."""
        if self._tokens_s <= 0:
            for start in range(0, len(text), _BURST_CHARS):
                yield text[start : start + _BURST_CHARS]
            return
        for piece in re.findall(r"\s*\S{1,8}|\s+", text):
            yield piece
            await asyncio.sleep(max(len(piece) / 4, 1) / self._tokens_s)

    async def close(self) -> None:
        """Hold nothing."""


def _text(entry: _Entry) -> str:
    if entry.text is not None:
        return clean(entry.text)
    return "" if entry.reply is None else clean(json.dumps(entry.reply, ensure_ascii=False))


def _calls(entry: _Entry) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(id=f"call-{number}", name=call.name, arguments=call.arguments)
        for number, call in enumerate(entry.tool_calls, 1)
    )
