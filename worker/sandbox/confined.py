"""A confined command's processes: follow them to their end, watch what they use, and leave none.

Where the rung has a process namespace, the death of its first process takes all along. Where there is a control group, it
knows every process. Elsewhere everything that was ever seen of the tree is killed, from the leaves to the root.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import select
import signal
import sys
import time
from pathlib import Path
from typing import Literal

from tandem.types import Limits
from worker.sandbox import processes
from worker.sandbox.cgroups import Group
from worker.sandbox.limits import FILE_BYTES_MAX, tasks
from worker.sandbox.output import Output
from worker.sandbox.spec import Lines, SandboxSpec

Breach = Literal["", "time", "memory", "processes", "output"]
WATCH_S = 0.1
_GONE_S = 5.0  # for the last of a killed tree to leave
_INFO_BYTES = 4096
_LAUNCHERS = 2  # bubblewrap outside and inside, or a keeper: not what was asked for


class Confined:
    """A launcher's process and all that came of it.

    The launcher waits at the gate until it, and the first process inside, are in the `group` that holds all of it, where
    there is one.
    """

    def __init__(self, process: asyncio.subprocess.Process, lines: Lines, group: Group | None = None) -> None:
        self._process = process
        self._info, self._gate = lines.info, lines.gate
        self._group = group
        self._first = -1  # a descriptor of the first process inside, which takes its whole namespace along
        self._inside = 0  # its number
        self._seen: set[processes.One] = set()
        self._reading: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[int] | None = None

    async def follow(self, spec: SandboxSpec, started: float, output: Output) -> tuple[int | None, Breach]:
        """Return the exit code, and the limit that was passed, if one was."""
        _bound(self._process.pid)
        assert self._process.stdout is not None
        self._reading = asyncio.create_task(output.read(self._process.stdout))
        await self._let_in(spec.limits)
        watches = (
            asyncio.create_task(self._watch(spec, started)),
            asyncio.create_task(_flooded(output)),
            asyncio.create_task(self._ended()),
        )
        try:
            done, _ = await asyncio.wait(watches, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in watches:
                task.cancel()
        passed: list[Breach] = [task.result() for task in watches if task in done and task.result()]
        breach: Breach = passed[0] if passed else ""
        if not breach:  # what it printed last may still be on its way
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GONE_S):
                    await asyncio.shield(self._reading)
            breach = "output" if output.passed.is_set() else self._refused()
        return self._process.returncode, breach

    def _hold(self, pid: int) -> None:
        """Keep hold of the first process inside."""
        if pid > 0 and sys.platform == "linux":
            with contextlib.suppress(OSError):  # it has ended already
                self._first = os.pidfd_open(pid)
                self._inside = pid

    def _bound_inside(self, tasks_max: int) -> None:
        """Bound the tasks of the namespace's user, whom the kernel counts apart, unless that is root outside."""
        if sys.platform == "linux" and self._inside and os.geteuid() != 0:
            with contextlib.suppress(OSError):
                resource.prlimit(self._inside, resource.RLIMIT_NPROC, (tasks_max, tasks_max))

    def _refused(self) -> Breach:
        return self._group.refused() if self._group is not None else ""

    async def _let_in(self, limits: Limits) -> None:
        """Bound what waits at the gate, and open it."""
        if self._group is not None:  # meanwhile the launcher sets up what it can
            await asyncio.to_thread(self._take, self._process.pid)
        if self._info >= 0:
            self._telling = asyncio.create_task(asyncio.to_thread(_first_inside, self._info))
            self._hold(await asyncio.shield(self._telling))
            if self._group is None:
                self._bound_inside(tasks(limits))
            elif self._inside:
                self._take(self._inside)
        if self._gate >= 0:
            with contextlib.suppress(BrokenPipeError):  # it has ended already, and says why
                os.write(self._gate, b"x")

    def _take(self, pid: int) -> None:
        assert self._group is not None
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            self._group.take(pid)

    async def _ended(self) -> Breach:
        await self._process.wait()
        await self._clear()  # what it left running holds the pipe open
        return ""

    async def _watch(self, spec: SandboxSpec, started: float) -> Breach:
        limits = spec.limits
        while True:
            left_s = limits.wall_s - (time.monotonic() - started)
            if left_s <= 0:
                return "time"
            if passed := await self._passed(limits):
                return passed
            await asyncio.sleep(max(min(WATCH_S, left_s), 0.01))

    async def _passed(self, limits: Limits) -> Breach:
        """Return which limit is passed at this moment: what the control group says, or what counting and weighing does."""
        if self._group is not None:
            too_many = len(self._group.processes()) > limits.processes + _LAUNCHERS
            return "processes" if too_many else self._group.refused()
        tree = await asyncio.to_thread(processes.tree, self._process.pid)
        self._seen = self._seen.union(tree) if self._first < 0 else set()
        if len(tree) > limits.processes + _LAUNCHERS:
            return "processes"
        return "memory" if sum(one.resident_bytes for one in tree) > limits.memory_bytes else ""

    async def end(self) -> None:
        """Kill what still runs and wait until it is gone."""
        if self._telling is not None and self._first < 0:  # cancelled while waiting; the launcher's end ends this too
            self._kill_group()
            self._hold(await self._telling)
        await self._clear()
        await self._process.wait()
        if self._reading is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GONE_S):
                    await asyncio.gather(self._reading, return_exceptions=True)
            self._reading.cancel()
        for descriptor in (self._info, self._gate, self._first):
            if descriptor >= 0:
                os.close(descriptor)
        self._info = self._gate = self._first = -1

    async def _clear(self) -> None:
        """Kill the tree: its namespace, its control group, or else whatever was ever seen of it, until none is left."""
        if sys.platform == "linux" and self._first >= 0:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
        until = time.monotonic() + _GONE_S
        while time.monotonic() < until:
            running, below = self._running()
            processes.kill(below)
            if not below:  # the root goes last: until then, those that lose their parent are its own
                self._kill_group()
                if not running and _is_over(self._first):
                    return
            await asyncio.sleep(0.01)
        self._kill_group()

    def _running(self) -> tuple[bool, list[int]]:
        """Return whether anything still runs, and which processes besides the launcher."""
        if self._group is not None:
            found = self._group.processes()
            return bool(found), [pid for pid in found if pid != self._process.pid]
        tree = [] if self._process.returncode is not None else processes.tree(self._process.pid)
        tree += processes.alive(self._seen) if self._seen else []
        return bool(tree), [one.pid for one in tree if one.pid != self._process.pid and not one.zombie]

    def _kill_group(self) -> None:
        if self._process.returncode is not None and self._first >= 0:
            return  # reaped, and its namespace holds the rest
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


async def _flooded(output: Output) -> Breach:
    await output.passed.wait()
    return "output"


def _bound(pid: int) -> None:
    """Bound what one process may write; core dumps are off, and where memory runs out it is the first to go."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, FILE_BYTES_MAX))
            resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
            Path(f"/proc/{pid}/oom_score_adj").write_text("1000")


def _first_inside(info: int) -> int:
    """Return the number of the first process in the namespace, or 0; blocks until the launcher tells or ends."""
    said = b""
    while b"}" not in said and len(said) < _INFO_BYTES and (piece := os.read(info, _INFO_BYTES)):
        said += piece
    found = re.search(rb'"child-pid"\s*:\s*(\d+)', said)
    return int(found.group(1)) if found else 0


def _is_over(first: int) -> bool:
    """Return whether the namespace's first process has ended, and so everything in it."""
    if first < 0:
        return True
    poll = select.poll()
    poll.register(first, select.POLLIN)
    return bool(poll.poll(0))
