"""A worker as a process of its own, and a wire between it and a router that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from router.dispatcher import Dispatcher
from router.node import Node
from tandem.types import Chunk, CompleteRequest, Message, RequestId, RunId

ROOT = Path(__file__).resolve().parents[2]
LONG = "".join(f"{number:06d} " for number in range(20_000))  # every place in it is its own


class Machine:
    """One worker over a state folder; `start` returns once it says that it is ready."""

    def __init__(self, folder: Path, replies: list[Mapping[str, Any]], **env: str) -> None:
        self.socket = folder / "w.sock"
        self.state = folder / "state"
        self.argv = ["--socket", str(self.socket), "--state", str(self.state), "--name", "desk"]
        script = folder / "script.yaml"
        script.write_text(json.dumps({"name": "play", "replies": replies}))
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "TANDEM_CONFIG": os.devnull,
            "TANDEM_MODELS_ROUTER": "rehearsal/play",
            "TANDEM_MODELS_WORKER": "rehearsal/play",
            "TANDEM_REHEARSAL_SCRIPT": str(script),
            **env,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self, *more: str) -> subprocess.Popen[bytes]:
        """Start another process with the same arguments and more; the caller ends it."""
        return subprocess.Popen(
            [sys.executable, "-m", "tandem", "worker", *self.argv, *more],
            env=self.env,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def start(self, *more: str) -> Machine:
        self.process = self.spawn(*more)
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], 40)[0], "not ready within 40 s"
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate(timeout=10)[1].decode())
        assert json.loads(line)["ready"]
        return self

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it and return its status."""
        assert self.process is not None
        process, self.process = self.process, None
        process.send_signal(how)
        return ended(process)[0]

    def __enter__(self) -> Machine:
        return self.start()

    def __exit__(self, *raised: object) -> None:
        if self.process is not None:
            self.stop(signal.SIGKILL)


def ended(process: subprocess.Popen[bytes], timeout_s: float = 40) -> tuple[int, str]:
    """Return a process's status and what it said on standard error; nothing of it is left."""
    try:
        errors = process.communicate(timeout=timeout_s)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, errors.decode()


@asynccontextmanager
async def dispatcher(socket: Path, git_dir: Path = Path("/nowhere")) -> AsyncGenerator[Dispatcher]:
    """Yield a dispatcher with the one worker behind `socket`."""
    made = Dispatcher([Node.at_socket(socket)], lambda repo_id: git_dir)
    try:
        yield made
    finally:
        await made.close()


def question(name: str, persona: str = "coder", **more: Any) -> CompleteRequest:
    """Return a call of `persona`, called `name`."""
    given: dict[str, Any] = {
        "request_id": RequestId(name),
        "run_id": RunId("run"),
        "persona": persona,
        "turn": 1,
        "model": "rehearsal/play",
        "messages": (Message(role="user", content="begin"),),
        "deadline_s": 30.0,
        **more,
    }
    return CompleteRequest(**given)


def whole(chunks: list[Chunk]) -> str:
    """Return the text of pieces that must follow each other without a gap or an overlap."""
    text = ""
    for chunk in chunks:
        assert chunk.offset == len(text), f"a piece begins at {chunk.offset}, and {len(text)} characters are here"
        text += chunk.text
    return text


class Wire:
    """A Unix socket that leads to another; each connection is cut once `cut_after(number)` bytes came back over it."""

    def __init__(self, cut_after: Callable[[int], int]) -> None:
        self.connections = 0
        self._cut_after = cut_after

    @asynccontextmanager
    async def to(self, target: Path, path: Path) -> AsyncGenerator[Path]:
        self._target = target
        server = await asyncio.start_unix_server(self._connected, str(path))
        try:
            yield path
        finally:
            server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        allowed = self._cut_after(self.connections)
        there, back = await asyncio.open_unix_connection(str(self._target))
        there_and_back = [
            asyncio.create_task(_pump(reader, back, sys.maxsize)),
            asyncio.create_task(_pump(there, writer, allowed)),
        ]
        try:
            await asyncio.wait(there_and_back, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in there_and_back:
                task.cancel()
            await asyncio.gather(*there_and_back, return_exceptions=True)
            for end in (writer, back):
                end.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, allowed: int) -> None:
    with contextlib.suppress(ConnectionError):
        while allowed > 0 and (piece := await reader.read(min(allowed, 1 << 14))):
            allowed -= len(piece)
            writer.write(piece)
            await writer.drain()
