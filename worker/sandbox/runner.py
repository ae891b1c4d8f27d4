"""Run one confined command to its end, whatever that takes: time, memory, processes and output are all bounded.

The limits hold for the whole tree of processes and whoever started it: a watchdog counts and weighs the tree ten times a
second, because `RLIMIT_NPROC` does not bind root and `RLIMIT_AS` breaks runtimes that reserve address space. Past a limit
everything is killed at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from worker.sandbox.confined import Breach, Confined
from worker.sandbox.output import OnOutput, Output
from worker.sandbox.spec import Command, SandboxSpec

if TYPE_CHECKING:
    from worker.sandbox.ladder import Rung


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxResult:
    """How a command ended. `breach` names the limit it was killed for; then there is no exit code."""

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
    output = Output(spec.limits.output_bytes, on_output)
    with tempfile.TemporaryDirectory(prefix="tandem-box-", ignore_cleanup_errors=True) as name:
        private = Path(name)
        command = rung.wrap(spec, private)
        with _descriptors(command, private) as (argv, passed, info):
            starting = asyncio.ensure_future(
                asyncio.create_subprocess_exec(
                    *argv,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    env=dict(launcher_env or {}),
                    cwd=_folder(spec),
                    start_new_session=True,
                    pass_fds=passed,
                )
            )
            try:
                confined = Confined(await asyncio.shield(starting), info)
            except asyncio.CancelledError:  # a half-started process would be nobody's
                await asyncio.shield(Confined(await starting, info).end())
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


def _folder(spec: SandboxSpec) -> str:
    """Return the working folder where there are no mounts: the tree's real path."""
    for mount in spec.mounts:
        if spec.cwd == mount.target or spec.cwd.startswith(f"{mount.target}/"):
            return str(mount.source) + spec.cwd[len(mount.target) :]
    return "/"


@contextlib.contextmanager
def _descriptors(command: Command, private: Path) -> Generator[tuple[tuple[str, ...], tuple[int, ...], int]]:
    """Yield an argv, the descriptors it inherits, and the end that tells the first process inside (-1: none)."""
    if not command.options:
        yield command.argv, (), -1
        return
    file = private / "options"
    file.touch(mode=0o600)
    file.write_bytes(b"".join(os.fsencode(option) + b"\0" for option in command.options))
    options = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    info, told = os.pipe()
    program, *rest = command.argv
    argv = (program, "--args", str(options), "--info-fd", str(told), "--", *rest)
    try:
        yield argv, (options, told), info
    except (OSError, ValueError):  # nothing was started that could own it
        os.close(info)
        raise
    finally:
        os.close(options)
        os.close(told)
