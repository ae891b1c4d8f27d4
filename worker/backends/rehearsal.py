"""Plays a script instead of asking a model, and says everywhere that it does.

A script is YAML: a `name`, and `replies` chosen by persona and turn. Product code, not a mock: for demos, for tests of
everything around a model, and for trying a workflow out. `rehearsal/random` plays noise instead (`noise`).
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tandem.errors import BadConfig, BadReply, Unavailable, UnknownModel
from tandem.types import Chunk, CompleteRequest, ModelInfo, Reply, ToolCall
from worker.backends import noise
from worker.backends.base import clean

RANDOM = "random"
_BURST_CHARS = 2000  # of one piece where no pace is set


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

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
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


def load(path: Path) -> Script:
    """Return the script in a file.

    Raises:
        BadConfig: It cannot be read or does not fit; the message names the file and the entry.
    """
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

    def __init__(self, script: Script, *, tokens_s: float, seed: int) -> None:
        self._script = script
        self._tokens_s = tokens_s
        self._seed = seed

    async def models(self) -> list[ModelInfo]:
        """Return the script's name and `random`."""
        names = (self._script.name, RANDOM)
        return [ModelInfo(name=f"{self.name}/{name}", backend=self.name, rehearsal=True) for name in names]

    def named(self) -> list[ModelInfo]:
        """Return none: it always lists what it has."""
        return []

    async def complete(self, request: CompleteRequest, model: str) -> AsyncGenerator[Chunk | Reply]:
        """Play the reply for the request's persona and turn.

        Raises:
            UnknownModel: It is neither the script nor `random`.
            BadReply: The script has nothing for this persona.
        """
        started = time.monotonic()
        if model == RANDOM:
            text, calls, cut = noise.reply(request, self._seed), (), False
        elif model == self._script.name:
            entry = self._script.line(request.persona, request.turn)
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
