"""The flight recorder: what was really said to models in a run, and what they said, for people to read afterwards.

One JSONL file a run, owner-only, beside the journal and never a truth: nothing is decided from it, and losing it loses
nothing but the record. A message or tool that was sent before is named by its hash instead of being written again, because
each turn of a call sends the whole history. Where each call went, and why, stands between them. Known forms of
credentials are struck out.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from graphs.records import call_out, message_out
from tandem.paths import private_dir
from tandem.secrets import redacted
from tandem.types import CompleteRequest, Json, Reply, RunId, Tool

log = logging.getLogger(__name__)
FILE_BYTES_MAX = 64 << 20  # of one run; beyond it calls are left out, and the last line says so


class FlightLog:
    """Writes one run's calls. Implements `tandem.ports.Flight`."""

    def __init__(self, state: Path, run_id: RunId) -> None:
        self._file = _file(state, run_id)
        self._run = run_id
        self._known: set[str] | None = None
        self._full = False

    def note(self, request: CompleteRequest, reply: Reply | None, error: str) -> None:
        """Keep one live call. Never raises: a full disk must not end a run for want of its record."""
        try:
            self._write(request, reply, error)
        except Exception as trouble:
            self._known = None  # what did not get there has no name yet
            why = f"{type(trouble).__name__}: {getattr(trouble, 'strerror', '') or ''}"
            log.warning("flight recorder failed", extra={"run_id": self._run, "why": why})

    def place(self, row: dict[str, Json]) -> None:
        """Keep where a call went and why. Never raises, as `note`."""
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._append([{"placed": row}])
        except Exception as trouble:
            log.warning("flight recorder failed", extra={"run_id": self._run, "why": type(trouble).__name__})

    def _write(self, request: CompleteRequest, reply: Reply | None, error: str) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._known is None:
            self._known = {str(line["part"]) for line in _lines(self._file) if "part" in line}
        rows: list[dict[str, Json]] = []
        messages: list[Json] = [self._name(message_out(message), rows) for message in request.messages]
        tools: list[Json] = [self._name(_tool(tool), rows) for tool in request.tools]
        rows.append({"call": _call(request, reply, error), "messages": messages, "tools": tools})
        self._append(rows)

    def _name(self, body: Json, rows: list[dict[str, Json]]) -> str:
        """Return the name of a message or a tool; what has none yet is put into `rows`."""
        assert self._known is not None
        name = hashlib.sha256(json.dumps(body, sort_keys=True).encode("utf-8", "replace")).hexdigest()[:20]
        if name not in self._known:
            self._known.add(name)
            rows.append({"part": name, "body": body})
        return name

    def _append(self, rows: list[dict[str, Json]]) -> None:
        data = _line(rows)
        descriptor = os.open(self._file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "rb+") as file:
            size = file.seek(0, os.SEEK_END)
            if self._full or size + len(data) > FILE_BYTES_MAX:
                data = (
                    b"" if self._full else _line([{"full": f"calls from here on are not kept: {FILE_BYTES_MAX} bytes"}])
                )
                self._full = True
            elif size and os.pread(descriptor, 1, size - 1) != b"\n":
                data = b"\n" + data  # behind a line that a full disk tore
            file.write(data)


def _line(rows: list[dict[str, Json]]) -> bytes:
    return "".join(json.dumps(redacted(row), ensure_ascii=False) + "\n" for row in rows).encode("utf-8", "replace")


def _call(request: CompleteRequest, reply: Reply | None, error: str) -> Json:
    parts = request.request_id.split("/")
    return {
        "run": request.run_id,
        "step": parts[1] if len(parts) > 1 else "",
        "persona": request.persona,
        "turn": request.turn,
        "attempt": request.attempt,
        "model": request.model,
        "schema": cast("Json", request.schema),
        "temperature": request.sampling.temperature,
        "max_tokens": request.sampling.max_tokens,
        "reply": _reply(reply),
        "error": error,
    }


def _tool(tool: Tool) -> Json:
    return {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}


def _reply(reply: Reply | None) -> Json:
    if reply is None:
        return None
    calls: list[Json] = [call_out(call) for call in reply.tool_calls]
    return {
        "text": reply.text,
        "tool_calls": calls,
        "finish": reply.finish,
        "node": reply.node,
        "backend": reply.backend,
        "rehearsed": reply.rehearsed,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "seconds": round(reply.total_ms / 1000, 3),
    }


def calls(state: Path, run_id: RunId) -> Iterator[dict[str, Json]]:
    """Yield a run's calls in their order, each with its messages written out; a torn last line is left out."""
    bodies: dict[str, Json] = {}
    for line in _lines(_file(state, run_id)):
        if "part" in line:
            bodies[str(line["part"])] = line["body"]
        elif "call" in line:
            told = dict(cast("dict[str, Json]", line["call"]))
            told["messages"] = [_shaped(bodies.get(str(name))) for name in cast("list[Json]", line["messages"])]
            told["tools"] = [bodies.get(str(name)) for name in cast("list[Json]", line["tools"])]
            yield told


def placements(state: Path, run_id: RunId) -> Iterator[dict[str, Json]]:
    """Yield where a run's calls went and why, in their order (`router.placing` makes the rows)."""
    for line in _lines(_file(state, run_id)):
        if isinstance(line.get("placed"), dict):
            yield cast("dict[str, Json]", line["placed"])


def _shaped(body: Any) -> Json:
    found: list[Json] = body or ["", "[lost]", [], ""]
    role, content, tool_calls, call_id = found
    return {"role": role, "content": content, "tool_calls": tool_calls, "tool_call_id": call_id}


def raw(state: Path, run_id: RunId) -> bytes:
    """Return a run's file as it is; empty where there is none. Blocking."""
    try:
        return _file(state, run_id).read_bytes()
    except FileNotFoundError:
        return b""


def put(state: Path, run_id: RunId, content: bytes) -> None:
    """Put a run's file in place, as it came from another machine. Blocking."""
    if content:
        private_dir(state / "flight")
        descriptor = os.open(_file(state, run_id), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content[:FILE_BYTES_MAX])


def _file(state: Path, run_id: RunId) -> Path:
    return state / "flight" / f"{run_id}.jsonl"


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    try:
        with file.open("rb") as lines:
            for raw in lines:
                try:
                    line: Any = json.loads(raw)
                except ValueError:
                    continue
                if isinstance(line, dict):
                    yield cast("dict[str, Any]", line)
    except FileNotFoundError:
        return
