"""Run a process of its own for a figure, and leave nothing of it, whatever ends the wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

_LEAVE_S = 10.0


async def said(argv: Sequence[str], wait_s: float) -> tuple[int, str, str]:
    """Return a process's status, output and errors.

    Raises:
        TimeoutError: It took longer than `wait_s`; it is ended.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(wait_s):
            out, err = await process.communicate()
        return process.returncode or 0, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
    finally:
        await asyncio.shield(_end(process))


async def _end(process: asyncio.subprocess.Process) -> None:
    """End it and those it started; first it is asked, so that it can clear up."""
    if process.returncode is not None:
        return
    _tell(process, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LEAVE_S):
            await process.wait()
    _tell(process, signal.SIGKILL)
    await process.wait()


def _tell(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        os.killpg(process.pid, number)  # its session is its own: pid and group are one
