"""The local API over a real socket: what callers may send, what they hear, and what slow ones cost."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from router.api import faults, server, sse
from router.api.app import Api
from router.api.models import BODY_BYTES_MAX, Submission, parse
from router.api.service import Gate, Service
from router.feed import Feed
from tandem.errors import BadConfig, BadInput, BrokenJournal, DiskFull, NotFound, Refused, StaleApproval, TandemError
from tandem.events import RunEvent
from tandem.types import Decision, Json, RunId

RUN = RunId("1120-abcdefg")


@dataclass
class OneRun:
    """A service with a single run and a real feed: enough to see what the API makes of it."""

    feed: Feed = field(default_factory=lambda: Feed(RUN))
    question: dict[str, Json] | None = None
    bodies: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    decisions: list[Decision] = field(default_factory=list[Decision])
    closed_sources: int = 0
    busy: bool = False
    nodes_silent_s: float = 0.0

    async def resolve(self, prefix: str) -> RunId:
        if prefix == "latest" or RUN.startswith(prefix):
            return RUN
        raise NotFound(f"there is no run {prefix!r}")

    async def submit(self, body: Mapping[str, Any]) -> dict[str, Json]:
        self.bodies.append(body)
        return {"run": RUN}

    async def list_runs(self) -> list[dict[str, Json]]:
        return [{"run": RUN, "state": "waiting"}]

    async def get(self, run_id: RunId) -> dict[str, Json]:
        return {"run": run_id, "question": self.question}

    async def diff(self, run_id: RunId) -> bytes:
        return b"--- a/x\n+++ b/x\n\xff\n"

    async def artefacts(self, run_id: RunId, kind: str) -> bytes:
        if kind != "head":
            raise NotFound(f"run {run_id} has nothing that a {kind!r} check left")
        return b"PK"

    async def subscribe(self, run_id: RunId, after: int) -> AsyncIterator[RunEvent]:
        try:
            async for event in self.feed.subscribe(after):
                yield event
        finally:
            self.closed_sources += 1

    async def decide(self, run_id: RunId, decision: Decision) -> dict[str, Json]:
        if self.decisions:
            raise StaleApproval("the question was answered already")
        self.decisions.append(decision)
        return {"run": run_id}

    async def cancel(self, run_id: RunId) -> dict[str, Json]:
        raise Refused("not this one")

    async def resume(self, run_id: RunId) -> dict[str, Json]:
        raise ZeroDivisionError("unforeseen")

    async def replay(self, run_id: RunId) -> dict[str, Json]:
        return {"run": run_id, "same": True}

    async def undo(self, run_id: RunId) -> dict[str, Json]:
        raise BrokenJournal("it does not fit")

    async def verify(
        self, repo: str, commit: str, *, prepare: bool = False, unsandboxed: bool = False
    ) -> AsyncIterator[tuple[str, dict[str, Json]]]:
        yield "progress", {"stage": "clone", "prepare": prepare}
        if commit == "bad":
            raise NotFound("there is no commit 'bad'")
        yield "result", {"commit": commit, "verdict": "holds"}

    def standing(self) -> dict[str, Json]:
        return {"runs": {"waiting": 1}, "holds": []}

    async def status(self) -> dict[str, Json]:
        await asyncio.sleep(self.nodes_silent_s)
        return {"nodes": ["one"]}

    async def close(self) -> None:
        pass


@dataclass
class Answer:
    """An HTTP answer as it came."""

    status: int
    headers: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Running:
    """An API being served."""

    path: Path
    service: OneRun
    gate: Gate
    api: Api
    stopped: list[bool]

    async def connect(
        self, method: str, path: str, body: bytes = b""
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        return reader, writer

    async def call(self, method: str, path: str, body: Any = None) -> Answer:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        reader, writer = await self.connect(method, path, raw)
        try:
            async with asyncio.timeout(20):
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                rest = await reader.read()
        finally:
            writer.close()
        if "transfer-encoding: chunked" in head.lower():
            rest = _unchunked(rest)
        return Answer(int(head.split()[1]), head, rest)


def _unchunked(raw: bytes) -> bytes:
    whole = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        whole, raw = whole + raw[: int(size, 16)], raw[int(size, 16) + 2 :]
    return whole


@contextlib.asynccontextmanager
async def _served(tmp_path: Path, *, ready: bool = True, ready_s: float = 5.0) -> AsyncIterator[Running]:
    gate, service, stopped = Gate(ready_s), OneRun(), list[bool]()
    checked: Service = service  # the type checker sees that it fits
    if ready:
        gate.open(checked)
    api = Api(gate, lambda: {"version": "x", "ready": gate.ready}, lambda: stopped.append(True))
    path = tmp_path / "s" / "router.sock"
    serving = server.Server(api.app(), server.bind(path))
    task = asyncio.create_task(serving.run())
    try:
        await serving.started()
        yield Running(path, service, gate, api, stopped)
    finally:
        api.closing.set()
        serving.stop()
        async with asyncio.timeout(8):
            await task


def _run(tmp_path: Path, body: Callable[[Running], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(25), _served(tmp_path, **options) as running:
            await body(running)

    asyncio.run(main())


def _events(raw: bytes) -> list[tuple[str, dict[str, Any]]]:
    blocks = [b.splitlines() for b in raw.decode().split("\n\n") if b and not b.startswith(":")]
    fields = [dict(line.split(": ", 1) for line in lines) for lines in blocks]
    return [(f["event"], json.loads(f["data"])) for f in fields]


# --- the socket -----------------------------------------------------------------------------------------------


def test_only_the_owner_may_use_the_socket_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        server.bind(tmp_path / "s" / "router.sock").close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "s" / "router.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700


def test_a_left_over_socket_is_replaced_and_anything_else_is_not(tmp_path: Path) -> None:
    path = tmp_path / "router.sock"
    server.bind(path).close()
    listener = server.bind(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listener.close()
    path.unlink()
    path.write_text("a person's file")
    with pytest.raises(BadConfig, match="is not a socket"):
        server.bind(path)
    assert path.read_text() == "a person's file"


def test_a_path_too_long_for_a_socket_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="longer than 103 bytes"):
        server.bind(tmp_path / ("x" * 120) / "router.sock")


# --- calls ----------------------------------------------------------------------------------------------------


def test_calls_reach_the_service_and_answers_come_back(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        task = {"text": "더하기 함수를 고쳐줘", "repo": "/tmp/r", "branch": "b", "max_minutes": 5}
        answer = await running.call("POST", "/v1/runs", task)
        assert (answer.status, answer.json) == (201, {"run": RUN})
        assert running.service.bodies[0]["text"] == task["text"]
        assert running.service.bodies[0]["priority"] == 1
        assert (await running.call("GET", "/v1/runs")).json["runs"][0]["run"] == RUN
        assert (await running.call("GET", "/v1/runs/latest")).json["run"] == RUN
        diff = await running.call("GET", "/v1/runs/1120/diff")
        assert diff.body == b"--- a/x\n+++ b/x\n\xff\n"
        assert "text/x-diff" in diff.headers
        left = await running.call("GET", "/v1/runs/1120/artefacts/head")
        assert (left.status, left.body) == (200, b"PK")
        assert "application/zip" in left.headers
        assert (await running.call("GET", "/v1/runs/1120/artefacts/base")).status == 404
        assert (await running.call("POST", "/v1/runs/1120/replay", {})).json["same"] is True
        assert (await running.call("GET", "/v1/status")).json["ready"] is True
        assert (await running.call("POST", "/v1/shutdown", {})).status == 202
        assert running.stopped == [True]

    _run(tmp_path, body)


def test_status_does_not_wait_for_a_node_that_is_gone(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        assert (await running.call("GET", "/v1/status")).json["nodes"] == ["one"]
        running.service.nodes_silent_s = 30
        began = time.monotonic()
        status = (await running.call("GET", "/v1/status")).json
        assert time.monotonic() - began < 5
        assert status["runs"]["waiting"] == 1
        assert "no node answered" in status["trouble"][0]

    _run(tmp_path, body)


def test_an_answer_is_bound_to_its_question_and_to_who_runs_the_router(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        remark = {"path": "a.py", "line": 3, "text": "use max"}
        sent = {"question": "approve/1", "choice": "reject", "digest": "d", "comments": [remark]}
        assert (await running.call("POST", "/v1/runs/latest/decision", sent)).status == 200
        decision = running.service.decisions[0]
        assert (decision.question, decision.digest, decision.comments[0].line) == ("approve/1", "d", 3)
        assert decision.by
        again = await running.call("POST", "/v1/runs/latest/decision", sent)
        assert (again.status, again.json["error"]["class"]) == (409, "StaleApproval")
        forged = await running.call("POST", "/v1/runs/latest/decision", {**sent, "by": "somebody else"})
        assert forged.status == 400

    _run(tmp_path, body)


@pytest.mark.parametrize(
    ("method", "path", "sent", "status", "name", "exit_code"),
    [
        ("GET", "/v1/runs/zzz", None, 404, "NotFound", 2),
        ("GET", "/v1/nothing", None, 404, "NotFound", 2),
        ("POST", "/v1/runs/latest/explode", {}, 404, "NotFound", 2),
        ("DELETE", "/v1/runs", None, 404, "NotFound", 2),
        ("POST", "/v1/runs", b"{not json", 400, "BadInput", 2),
        ("POST", "/v1/runs", {"text": "x"}, 400, "BadInput", 2),
        ("POST", "/v1/runs", {"text": "x", "repo": "/r", "surprise": 1}, 400, "BadInput", 2),
        ("POST", "/v1/runs", {"text": "x", "repo": "/r", "max_minutes": -1}, 400, "BadInput", 2),
        ("GET", "/v1/runs/latest/events?after=-1", None, 400, "BadInput", 2),
        ("POST", "/v1/runs/latest/cancel", {}, 403, "Refused", 6),
        ("POST", "/v1/runs/latest/undo", {}, 500, "BrokenJournal", 7),
        ("POST", "/v1/runs/latest/resume", {}, 500, "TandemError", 1),
    ],
)
def test_an_error_has_a_class_a_message_and_an_exit_code(
    tmp_path: Path, method: str, path: str, sent: Any, status: int, name: str, exit_code: int
) -> None:
    async def body(running: Running) -> None:
        answer = await running.call(method, path, sent)
        error = answer.json["error"]
        assert (answer.status, error["class"], error["exit_code"]) == (status, name, exit_code)
        assert error["message"]
        assert "Traceback" not in error["message"]

    _run(tmp_path, body)


def test_a_body_too_large_is_refused_and_the_caller_hears_why(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        answer = await running.call("POST", "/v1/runs", b'{"text": "' + b"a" * (BODY_BYTES_MAX + 1) + b'"}')
        assert answer.status == 400
        assert "16 MiB" in answer.json["error"]["message"]
        assert running.service.bodies == []

    _run(tmp_path, body)


def test_what_a_field_may_hold_is_said_by_its_name() -> None:
    with pytest.raises(BadInput, match=r"priority: .*less than or equal to 10.*'99'"):
        parse(Submission, b'{"text": "x", "repo": "/r", "priority": 99}')
    with pytest.raises(BadInput, match="repo: Field required"):
        parse(Submission, b'{"text": "x"}')


# --- a router that is starting --------------------------------------------------------------------------------


def test_status_answers_while_other_calls_wait_for_readiness(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        assert (await running.call("GET", "/v1/status")).json["ready"] is False
        waiting = asyncio.create_task(running.call("GET", "/v1/runs"))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        running.gate.open(running.service)
        assert (await waiting).status == 200

    _run(tmp_path, body, ready=False)


def test_a_router_that_is_not_ready_in_time_says_so(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        answer = await running.call("GET", "/v1/runs")
        assert (answer.status, answer.json["error"]["class"]) == (503, "Unavailable")

    _run(tmp_path, body, ready=False, ready_s=0.2)


def test_a_start_that_failed_is_told_to_every_caller_with_its_exit_code(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        running.gate.fail(BrokenJournal("journal.db is not a journal"))
        for path in ("/v1/status", "/v1/runs"):
            error = (await running.call("GET", path)).json["error"]
            assert (error["class"], error["exit_code"]) == ("BrokenJournal", 7)

    _run(tmp_path, body, ready=False)


# --- events ---------------------------------------------------------------------------------------------------


def test_events_come_numbered_from_where_the_reader_was_to_the_end_of_the_run(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        feed = running.service.feed
        feed.emit("state", {"state": "running"})
        feed.emit("note", {"text": "한국어 and\nlines"})
        feed.emit("state", {"state": "merged", "commit": "c0ffee"})
        answer = await running.call("GET", "/v1/runs/latest/events?after=1")
        assert "text/event-stream" in answer.headers
        events = _events(answer.body)
        assert [kind for kind, _ in events] == ["note", "state"]
        assert events[0][1]["text"] == "한국어 and\nlines"
        assert events[1][1]["run"] == RUN
        assert b"id: 3\n" in answer.body
        assert running.service.closed_sources == 1

    _run(tmp_path, body)


def test_the_stream_ends_at_an_open_question_and_goes_on_with_follow(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        feed = running.service.feed
        feed.emit("question", {"question": {"id": "q1"}})
        feed.emit("answer", {"question": "q1"})
        feed.emit("question", {"question": {"id": "q2"}})
        running.service.question = {"id": "q2"}
        answer = await running.call("GET", "/v1/runs/latest/events")
        assert [kind for kind, _ in _events(answer.body)] == ["question", "answer", "question"]
        nothing_new = await running.call("GET", "/v1/runs/latest/events?after=3")
        assert _events(nothing_new.body) == []
        following = asyncio.create_task(running.call("GET", "/v1/runs/latest/events?follow=1"))
        await asyncio.sleep(0.4)
        assert not following.done()
        feed.emit("state", {"state": "rejected"})
        assert [kind for kind, _ in _events((await following).body)][-1] == "state"

    _run(tmp_path, body)


def test_an_answered_question_does_not_end_the_stream(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        feed = running.service.feed
        feed.emit("question", {"question": {"id": "q1"}})
        feed.emit("answer", {"question": "q1"})
        reading = asyncio.create_task(running.call("GET", "/v1/runs/latest/events"))
        await asyncio.sleep(0.3)
        assert not reading.done()
        feed.emit("state", {"state": "merged"})
        assert [kind for kind, _ in _events((await reading).body)] == ["question", "answer", "state"]

    _run(tmp_path, body)


def test_a_reader_who_leaves_is_forgotten(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        reader, writer = await running.connect("GET", "/v1/runs/latest/events?follow=1")
        await reader.readuntil(b": tandem")
        assert running.api.open_calls == 1
        writer.close()
        for _ in range(100):
            if running.api.open_calls == 0:
                break
            await asyncio.sleep(0.02)
        assert running.api.open_calls == 0
        assert running.service.closed_sources == 1
        assert not running.service.feed.watched

    _run(tmp_path, body)


def test_a_verification_is_told_as_events_errors_too(tmp_path: Path) -> None:
    async def body(running: Running) -> None:
        good = await running.call("POST", "/v1/verify", {"repo": "/r", "commit": "c0ffee", "prepare": True})
        assert _events(good.body) == [
            ("progress", {"stage": "clone", "prepare": True}),
            ("result", {"commit": "c0ffee", "verdict": "holds"}),
        ]
        bad = _events((await running.call("POST", "/v1/verify", {"repo": "/r", "commit": "bad"})).body)
        assert bad[-1] == ("error", {"class": "NotFound", "message": "there is no commit 'bad'", "exit_code": 2})

    _run(tmp_path, body)


def test_open_streams_end_at_once_when_the_router_leaves(tmp_path: Path) -> None:
    took = 0.0

    async def main() -> bytes:
        nonlocal took
        async with _served(tmp_path) as running:
            reader, writer = await running.connect("GET", "/v1/runs/latest/events?follow=1")
            await reader.readuntil(b": tandem")
            began = time.monotonic()
        took = time.monotonic() - began
        last = await reader.read()
        writer.close()
        return last

    assert sse.LEAVING.encode() in asyncio.run(main())
    assert took < 2.0


# --- one stream by itself -------------------------------------------------------------------------------------


async def _numbers(count: int, pause_s: float = 0.0) -> AsyncIterator[sse.Sent]:
    for seq in range(1, count + 1):
        await asyncio.sleep(pause_s)
        yield sse.Sent(kind="note", data={"n": seq}, seq=seq)


def test_silence_is_filled_with_comments() -> None:
    async def main() -> list[bytes]:
        pieces = sse.stream(_numbers(1, pause_s=0.35), closing=asyncio.Event(), heartbeat_s=0.1)
        return [piece async for piece in pieces]

    pieces = asyncio.run(main())
    assert pieces.count(sse.comment("still here")) in (2, 3)
    assert pieces[-1].startswith(b"id: 1\nevent: note\n")


def test_a_long_past_reaches_a_reader_who_keeps_up() -> None:
    async def main() -> list[bytes]:
        return [piece async for piece in sse.stream(_numbers(1000), closing=asyncio.Event(), size=8)]

    assert len(asyncio.run(main())) == 1001


def test_a_slow_reader_is_dropped_with_a_last_comment_and_costs_a_bounded_queue() -> None:
    made = 0

    async def endless() -> AsyncIterator[sse.Sent]:
        nonlocal made
        while True:
            made += 1
            yield sse.Sent(kind="note", seq=made)
            await asyncio.sleep(0)

    async def main() -> list[bytes]:
        pieces = sse.stream(endless(), closing=asyncio.Event(), size=8, slow_s=0.1)
        taken = [await anext(pieces), await anext(pieces)]
        await asyncio.sleep(0.5)
        return taken + [piece async for piece in pieces]

    pieces = asyncio.run(main())
    assert pieces[-1] == sse.comment(sse.DROPPED)
    assert made < 20


def test_a_fault_of_the_source_is_not_taken_for_its_end() -> None:
    async def broken() -> AsyncIterator[sse.Sent]:
        yield sse.Sent(kind="note")
        raise BrokenJournal("gone")

    async def main() -> None:
        async for _ in sse.stream(broken(), closing=asyncio.Event()):
            pass

    with pytest.raises(BrokenJournal):
        asyncio.run(main())


def test_a_full_disk_is_said_to_be_one() -> None:
    full = faults.unforeseen(OSError(errno.ENOSPC, "No space left on device", "/nowhere/file"))
    assert isinstance(full, DiskFull)
    assert "/nowhere/file" in full.message
    closed = faults.unforeseen(OSError(errno.EROFS, "Read-only file system"))
    assert isinstance(closed, BadConfig)
    assert type(faults.unforeseen(OSError(errno.EIO, "Input/output error"))) is TandemError
