"""Keep this machine's worker running beside the router: started, watched, started again, stopped.

Knows a command line, a line of JSON that says "ready", and exit statuses; what a worker does it does not know. The
worker reads a pipe the router holds open: when the router is gone, however it went, the pipe ends and the worker too.
Where a service manager (`tandem install worker`) or a person (`tandem worker`) keeps one for this state folder, that one is
used and none started.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from tandem import held
from tandem.paths import private_dir

log = logging.getLogger(__name__)
READY_S = 60.0  # from start to the ready line, on a machine that is busy
STUCK_S = 30.0  # of silence, after which a worker is taken for stuck; it gives a sign every 5 s
STOP_S = 3.0  # from SIGTERM to SIGKILL
QUICK_S = 10.0  # a worker that lived shorter did not really start
TRIES = 6  # quick deaths in a row, after which it is left alone
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
LOG_BYTES_MAX = 5 << 20
KEPT_S = 1.0  # between two looks whether a worker that is kept otherwise is still there
KEPT_READY_S = 15.0  # until such a one must have its socket where this router looks for it


def command(socket_file: Path, state: Path) -> list[str]:
    """Return how a worker is started for a router's state folder."""
    program = [sys.executable, "-m", "tandem", "worker"]
    places = ["--socket", str(socket_file), "--state", str(state / "worker"), "--home", str(state)]
    return [*program, *places, "--lifeline"]


class LocalWorker:
    """The worker process that belongs to this router. `run` until cancelled; `trouble` says what is wrong with it."""

    def __init__(
        self,
        argv: Sequence[str],
        log_file: Path,
        env: Mapping[str, str] = os.environ,
        *,
        kept_lock: Path | None = None,
        socket_file: Path | None = None,
    ) -> None:
        self._argv = list(argv)
        self._kept_lock = kept_lock
        self._socket_file = socket_file
        self._log_file = log_file
        self._env = dict(env)
        self.pid: int | None = None
        self.is_kept_otherwise = False  # and goes on without this router
        self.ready = asyncio.Event()
        self.trouble = ""

    async def run(self) -> None:
        """Keep a worker running; stops it when cancelled. Returns only when it died too often to go on."""
        quick = 0
        while True:
            await self._stand_aside()
            began = time.monotonic()
            status = await self._once()
            quick = quick + 1 if time.monotonic() - began < QUICK_S else 1
            if quick >= TRIES:
                self.trouble = (
                    f"the worker on this machine left with {status} {quick} times in a row and is not started again;"
                    f" its log is {self._log_file}; `tandem doctor` looks for the cause, `tandem down` starts afresh"
                )
                log.error("worker given up", extra={"status": status, "tries": quick})
                return
            pause_s = BACKOFF_S[min(quick, len(BACKOFF_S)) - 1]
            self.trouble = (
                f"the worker on this machine left with {status} and is started again; its log: {self._log_file}"
            )
            log.warning("worker left", extra={"status": status, "again_in_s": pause_s})
            await asyncio.sleep(pause_s)

    async def _stand_aside(self) -> None:
        """Wait as long as a worker that is kept otherwise holds the state folder; whether it answers, asking it shows."""
        seen_s = time.monotonic()
        while self._kept_lock is not None and (theirs := held.owner(self._kept_lock)):
            if not self.ready.is_set():
                log.info("worker found that is kept otherwise", extra={"worker_pid": theirs})
            self.pid, self.trouble = int(theirs) if theirs.isdigit() else None, ""
            self.is_kept_otherwise = True
            if self._socket_file is None or self._socket_file.exists():
                seen_s = time.monotonic()
            elif time.monotonic() - seen_s > KEPT_READY_S:
                self.trouble = (
                    f"the worker on this machine (process {theirs}) was started with another --socket than"
                    f" {self._socket_file}; stop it, or start it without"
                )
            self.ready.set()
            await asyncio.sleep(KEPT_S)
        self.ready.clear()
        self.pid, self.is_kept_otherwise = None, False

    async def _once(self) -> str:
        """Run one worker to its end and return, in words, how it ended."""
        try:
            child = await self._spawn()
        except OSError as error:
            return f"'{error.strerror}' at its start"
        self.pid = child.pid
        assert child.stdout is not None
        try:
            listening = asyncio.create_task(self._listen(child.stdout))
            try:
                return _in_words(await child.wait())
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
        finally:
            self.ready.clear()
            self.pid = None
            await _stop(child)

    async def _spawn(self) -> asyncio.subprocess.Process:
        private_dir(self._log_file.parent)
        if self._log_file.exists() and self._log_file.stat().st_size > LOG_BYTES_MAX:
            self._log_file.replace(self._log_file.with_suffix(".log.1"))
        errors = os.open(self._log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            return await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,  # the lifeline; never written to
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd="/",
                env=self._env,
                start_new_session=True,  # Ctrl-C at the router's terminal is the router's business
            )
        finally:
            os.close(errors)

    async def _listen(self, stdout: asyncio.StreamReader) -> None:
        """Wait for the ready line, then read on, so that the pipe never fills."""
        try:
            async with asyncio.timeout(READY_S):
                while not self.ready.is_set():
                    line = await stdout.readline()
                    if not line:
                        return
                    if _says_ready(line):
                        self.trouble = ""
                        self.ready.set()
                        log.info("worker got ready", extra={"worker_pid": self.pid})
        except (TimeoutError, ValueError):  # ValueError: a line longer than the reader's limit
            self.trouble = (
                f"the worker on this machine did not get ready within {READY_S:g} s; its log: {self._log_file}"
            )
            log.warning("worker not ready", extra={"wait_s": READY_S})
        await self._watch(stdout)

    async def _watch(self, stdout: asyncio.StreamReader) -> None:
        """Read the worker's signs of life; kill one that gives none, so that another takes its place.

        Twice in a row: when this process itself was stopped, by a lid that closed, the first wait has run out as well.
        """
        missed = 0
        while missed < 2:
            try:
                async with asyncio.timeout(STUCK_S / 2):
                    if not await stdout.read(1 << 16):
                        return
                missed = 0
            except TimeoutError:
                missed += 1 if self.ready.is_set() else 0
        self.trouble = (
            f"the worker on this machine did not move for {STUCK_S:g} s and was replaced; log: {self._log_file}"
        )
        log.error("worker stuck, killed", extra={"worker_pid": self.pid, "silent_s": STUCK_S})
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)


def _says_ready(line: bytes) -> bool:
    try:
        value: object = json.loads(line)
    except ValueError:
        return False
    return isinstance(value, dict) and "ready" in cast("dict[str, object]", value)


def _in_words(status: int) -> str:
    return f"status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"


async def _stop(child: asyncio.subprocess.Process) -> None:
    """End a worker and everything it started, politely and then not."""
    assert child.stdin is not None
    child.stdin.close()
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        # not asyncio.timeout: in a task that was cancelled, Python before 3.11.3 takes its end for that cancel
        ending = asyncio.ensure_future(child.wait())
        await asyncio.wait((ending,), timeout=STOP_S)
        if not ending.done():
            ending.cancel()
            log.warning("worker killed", extra={"worker_pid": child.pid, "after_s": STOP_S})
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it leads its own group; what it left goes too
        os.killpg(child.pid, signal.SIGKILL)
    await child.wait()
