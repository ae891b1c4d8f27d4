"""Run one confined command to its end, whatever that takes: time, memory, processes and output are all bounded.

The limits hold for the whole tree of processes and whoever started it. Where a control group can be made the kernel
itself refuses what is too much. Elsewhere a watchdog counts and weighs the tree ten times a second, because `RLIMIT_NPROC`
does not bind root and `RLIMIT_AS` breaks runtimes that reserve address space. Past a limit everything is killed at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tandem.types import Limits
from worker.sandbox.cgroups import Group
from worker.sandbox.confined import Breach, Confined
from worker.sandbox.output import OnOutput, Output
from worker.sandbox.spec import Command, Lines, SandboxSpec, working_folder

if TYPE_CHECKING:
    from worker.sandbox.ladder import Rung


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxResult:
    """How a command ended. `breach` names the limit it was killed for; then there is no exit code."""

    exit_code: int | None
    output: str
    breach: Breach
    duration_s: float


async def run(rung: Rung, spec: SandboxSpec, on_output: OnOutput | None = None) -> SandboxResult:
    """Run `spec` on `rung` and return how it ended; nothing of it is left when this returns or is cancelled.

    Raises:
        NoSandbox: The rung is the one that refuses.
        OSError: The launcher is not installed.
    """
    started = time.monotonic()
    output = Output(spec.limits.output_bytes, on_output)
    with (
        tempfile.TemporaryDirectory(prefix="tandem-box-", ignore_cleanup_errors=True) as name,
        _grouped(rung, spec.limits) as group,
    ):
        command = rung.wrap(spec, Path(name))
        with _descriptors(command) as (argv, passed, lines):
            starting = asyncio.ensure_future(
                asyncio.create_subprocess_exec(
                    *argv,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    env=dict(command.env),
                    cwd=working_folder(spec),
                    start_new_session=True,
                    pass_fds=passed,
                )
            )
            try:
                confined = Confined(await asyncio.shield(starting), lines, group)
            except asyncio.CancelledError:  # a half-started process would be nobody's
                await asyncio.shield(Confined(await starting, lines, group).end())
                raise
        try:
            exit_code, breach = await confined.follow(spec, started, output)
        finally:
            await asyncio.shield(asyncio.ensure_future(confined.end()))
    return SandboxResult(
        exit_code=None if breach else exit_code,
        output=output.text(),
        breach=breach,
        duration_s=round(time.monotonic() - started, 3),
    )


@contextlib.contextmanager
def _grouped(rung: Rung, limits: Limits) -> Generator[Group | None]:
    """Yield a control group for one run; None where none can be made, and the watchdog is what holds."""
    group = None
    if rung.groups is not None:
        with contextlib.suppress(OSError):
            group = Group.made(rung.groups, limits)
    try:
        yield group
    finally:
        if group is not None:
            with contextlib.suppress(OSError):  # it is swept at the next start
                group.remove()


@contextlib.contextmanager
def _descriptors(command: Command) -> Generator[tuple[tuple[str, ...], tuple[int, ...], Lines]]:
    """Yield an argv, the descriptors it inherits, and the worker's own ends, which whoever is started for takes over."""
    with contextlib.ExitStack() as stack:
        numbers: dict[str, int] = {}
        for name, content in command.handed.items():
            numbers[name] = os.memfd_create(name.strip("\0"))
            stack.callback(os.close, numbers[name])
            os.write(numbers[name], content)
            os.lseek(numbers[name], 0, os.SEEK_SET)
        own: dict[str, int] = {}
        for name in (name for name in (command.INFO, command.GATE) if name in command.argv):
            read, write = os.pipe()
            own[name], numbers[name] = (read, write) if name == command.INFO else (write, read)
            stack.callback(os.close, numbers[name])
        argv = tuple(str(numbers[part]) if part in numbers else part for part in command.argv)
        try:
            yield argv, tuple(numbers.values()), Lines(info=own.get(command.INFO, -1), gate=own.get(command.GATE, -1))
        except (OSError, ValueError):  # nothing was started that could own them
            for number in own.values():
                os.close(number)
            raise
