"""Run one confined command to its end, whatever that takes: time, memory, processes and output are all bounded.

The limits hold for the whole tree of processes and whoever started it: a watchdog counts and weighs the tree ten times a
second, because `RLIMIT_NPROC` does not bind root and `RLIMIT_AS` breaks runtimes that reserve address space. Past a limit
everything is killed at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from worker.sandbox import processes
from worker.sandbox.spec import SandboxSpec

if TYPE_CHECKING:
    from worker.sandbox.ladder import Rung

OnOutput = Callable[[bytes], None]
Breach = Literal["", "time", "memory", "processes", "output"]
WATCH_S = 0.1
FILE_BYTES_MAX = 2 << 30  # one file that a test writes
_HEAD = _TAIL = 64 << 10  # bytes of output that are kept, at either end
_PIECE = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxResult:
    """How a command ended. `breach` names the limit it was killed for."""

    exit_code: int | None
    output: str
    breach: Breach
    duration_s: float


async def run(
    rung: Rung,
    spec: SandboxSpec,
    launcher_env: Mapping[str, str] | None = None,
    on_output: OnOutput | None = None,
) -> SandboxResult:
    """Run `spec` on `rung` and return how it ended; nothing of it is left when this returns or is cancelled.

    The launcher's environment is empty but for `launcher_env`, which only the self-test sets.

    Raises:
        NoSandbox: The rung is the one that refuses.
        OSError: The launcher is not installed.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tandem-box-", ignore_cleanup_errors=True) as private:
        process = await asyncio.create_subprocess_exec(
            *rung.wrap(spec, Path(private)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(launcher_env or {}),
            cwd=_folder(spec),
            start_new_session=True,
        )
        _limit(process.pid)
        output = _Output(spec.limits.output_bytes, on_output)
        assert process.stdout is not None
        reading = asyncio.create_task(output.read(process.stdout))
        watching = asyncio.create_task(_watch(process.pid, spec, started, output))
        try:
            ended = asyncio.create_task(process.wait())
            await asyncio.wait((ended, watching), return_when=asyncio.FIRST_COMPLETED)
            breach: Breach = watching.result() if watching.done() else ""
        finally:
            watching.cancel()
            await asyncio.shield(_end(process))
            with contextlib.suppress(TimeoutError):  # a grandchild outside the tree may hold the pipe
                async with asyncio.timeout(2):
                    await asyncio.gather(reading, return_exceptions=True)
            reading.cancel()
    return SandboxResult(
        exit_code=None if breach else process.returncode,
        output=output.text(),
        breach=breach,
        duration_s=round(time.monotonic() - started, 3),
    )


def _folder(spec: SandboxSpec) -> str:
    """Return the working folder where there are no mounts: the tree's real path."""
    for mount in spec.mounts:
        if spec.cwd == mount.target or spec.cwd.startswith(f"{mount.target}/"):
            return str(mount.source) + spec.cwd[len(mount.target) :]
    return "/"


def _limit(pid: int) -> None:
    """Bound what one process may write; core dumps are off. Best effort: the watchdog is what holds."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, FILE_BYTES_MAX))
            resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


async def _watch(pid: int, spec: SandboxSpec, started: float, output: _Output) -> Breach:
    """Return the limit that was passed, when one is."""
    limits = spec.limits
    while True:
        if time.monotonic() - started > limits.wall_s:
            return "time"
        if output.over:
            return "output"
        tree = await asyncio.to_thread(processes.tree, pid)
        if len(tree) > limits.processes:
            return "processes"
        if sum(one.resident_bytes for one in tree) > limits.memory_bytes:
            return "memory"
        await asyncio.sleep(min(WATCH_S, max(limits.wall_s - (time.monotonic() - started), 0.01)))


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill the tree and reap its root. In a pid namespace the death of the first kills all."""
    tree = await asyncio.to_thread(processes.tree, process.pid) if process.returncode is None else []
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    for one in tree:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(one.pid, signal.SIGKILL)
    await process.wait()


class _Output:
    """What a command printed: the beginning, the end, and how much there was."""

    def __init__(self, bytes_max: int, on_output: OnOutput | None) -> None:
        self._bytes_max = bytes_max
        self._on_output = on_output
        self._head = b""
        self._tail = b""
        self._size = 0

    @property
    def over(self) -> bool:
        """Return whether it printed more than it may."""
        return self._size > self._bytes_max

    async def read(self, stream: asyncio.StreamReader) -> None:
        """Read to the end; memory stays bounded."""
        while piece := await stream.read(_PIECE):
            self._size += len(piece)
            if self._on_output is not None:
                self._on_output(piece)
            room = _HEAD - len(self._head)
            self._head += piece[:room]
            self._tail = (self._tail + piece[room:])[-_TAIL:] if room < len(piece) else self._tail

    def text(self) -> str:
        """Return what is kept, with a note about what is not."""
        cut = self._size - len(self._head) - len(self._tail)
        note = f"\n[{cut} bytes of output cut here]\n".encode() if cut > 0 else b""
        return (self._head + note + self._tail).decode("utf-8", "replace")
