"""One router from its start to its end: lock, socket, worker, workflow, and all of it away again.

Decides the order alone. The socket answers first; what takes long to import follows in a thread while `status` already
answers. Every way out (signal, `shutdown`, nothing to do, a start that failed) leads through the same close.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import signal
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router import local_worker
from router.api import server
from router.api.app import Api
from router.api.service import Gate, Service
from router.feed import Watch
from router.local_worker import LocalWorker
from router.lock import StateLock
from tandem import __version__, build, held, memory
from tandem.config import Config
from tandem.errors import TandemError
from tandem.paths import private_dir, socket_path
from tandem.peers import Peers
from tandem.types import Json

log = logging.getLogger(__name__)
CLOSE_S = 3.0  # for the runs to stop; they can stop anywhere, the journal has what counts
FAILED_S = 2.0  # how long a router that could not start stays to say why
TICK_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run: `linger` leaves when there has been nothing to do for `router.linger_s`, here or for a paired router."""

    config: Config
    state: Path
    config_file: Path | None = None
    linger: bool = False


class Router:
    """A router process. `run` returns its exit status."""

    def __init__(self, options: Options, watch: Watch | None = None) -> None:
        self._options = options
        self._watch = watch
        self._began = time.monotonic()
        self._build = build.commit()  # of this moment; the checkout may move while this runs
        self._gate = Gate()
        self._api = Api(self._gate, self._status, self._stop_soon)
        self._stopping = asyncio.Event()
        self._peers = Peers(options.state)
        self._worker = LocalWorker(
            local_worker.command(socket_path(options.state, "worker"), options.state),
            options.state / "logs" / "worker.log",
            _worker_env(options),
            kept_lock=options.state / "worker" / held.SERVICE,
            socket_file=socket_path(options.state, "worker"),
        )
        self._exit = 0
        self.failed: TandemError | None = None  # why it could not start

    async def run(self) -> int:
        """Serve until there is a reason to leave.

        Raises:
            AlreadyRunning: Another router has this state folder.
            BadConfig: The state folder or the socket cannot be used.
        """
        state = private_dir(self._options.state)
        socket_file = socket_path(state, "router")
        lock = StateLock.take(state)
        try:
            listener = server.bind(socket_file)
            try:
                self._hear_signals()
                serving = server.Server(self._api.app(), listener)
                async with asyncio.TaskGroup() as tasks:
                    answering = tasks.create_task(serving.run())
                    await serving.started()
                    log.info("socket ready", extra={"socket": str(socket_file), "cpu_s": round(time.process_time(), 3)})
                    async with self._working():
                        await self._stopping.wait()
                        self._api.closing.set()
                        serving.stop()
                        await answering
            finally:
                socket_file.unlink(missing_ok=True)
        finally:
            lock.release()
        log.info("router left", extra={"status": self._exit, "uptime_s": round(time.monotonic() - self._began, 1)})
        return self._exit

    @contextlib.asynccontextmanager
    async def _working(self) -> AsyncGenerator[None]:
        """Have a worker and the runs inside the block; after it neither is left."""
        worker = asyncio.create_task(self._worker.run())
        opening = asyncio.create_task(self._open())
        watching = asyncio.create_task(self._leave_when_idle())
        try:
            yield
        finally:
            await _cancelled(watching, opening)
            await self._close_runs()
            await _cancelled(worker)

    async def _open(self) -> None:
        """Import the workflow and open the runs; where that fails, stay a little to say why, then leave."""
        try:
            self._gate.open(await _open_runs(self._options, self._watch))
            log.info("router ready", extra={"cpu_s": round(time.process_time(), 3)})
            return
        except TandemError as error:
            failed = error
        except Exception as error:
            log.exception("start failed unforeseen")
            failed = TandemError(
                f"the router could not start ({type(error).__name__}: {error}); its log has the details"
            )
        log.error("start failed", extra={"reason": failed.message})
        self.failed = failed
        self._exit = failed.exit_code
        self._gate.fail(failed)
        await asyncio.sleep(FAILED_S)
        self._stop_soon()

    async def _close_runs(self) -> None:
        service = self._gate.now()
        if service is None:
            return
        try:
            async with asyncio.timeout(CLOSE_S):
                await service.close()
        except TimeoutError:
            log.warning("runs did not stop in time", extra={"wait_s": CLOSE_S})
        except Exception:  # the worker, the socket and the lock must go all the same
            log.exception("runs did not close")

    async def _leave_when_idle(self) -> None:
        if not self._options.linger:
            return
        linger_s, idle_since = self._options.config.router.linger_s, time.monotonic()
        while time.monotonic() - idle_since < linger_s:
            await asyncio.sleep(min(TICK_S, max(linger_s, 0.01)))
            service = self._gate.now()
            if (
                self._api.open_calls
                or self._api.called()
                or service is None
                or service.busy
                or self._works_for_others()
            ):
                idle_since = time.monotonic()
        log.info("nothing to do", extra={"linger_s": linger_s})
        self._stop_soon()

    def _works_for_others(self) -> bool:
        """Return whether a router on another machine may ask the worker that leaves with this one, at any time.

        A file that cannot be read may be such a router's.
        """
        if self._worker.is_kept_otherwise:
            return False
        book = self._peers.read()
        return bool(book.of("router") or book.damaged)

    def _hear_signals(self) -> None:
        for sign in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(sign, self._stop_soon)

    def _stop_soon(self) -> None:
        self._stopping.set()

    def _status(self) -> dict[str, Json]:
        """Return what can be said without the service."""
        models = self._options.config.models
        trouble: list[Json] = [self._worker.trouble] if self._worker.trouble else []
        return {
            "version": __version__,
            "pid": os.getpid(),
            "state_dir": str(self._options.state),
            "build": self._build,
            "uptime_s": round(time.monotonic() - self._began, 3),
            "ready": self._gate.ready,
            "runs": {"active": 0, "queued": 0, "waiting": 0},
            "models": {"router": models.router, "worker": models.worker},
            "nodes": [],
            "worker": {"pid": self._worker.pid, "ready": self._worker.ready.is_set()},
            "trouble": trouble,
        }


async def _open_runs(options: Options, watch: Watch | None) -> Service:
    """Import what is heavy in a thread, then open the runs, whose events `watch` is told."""
    with memory.no_garbage():
        runs: Any = await asyncio.to_thread(importlib.import_module, "router.runs")
        guardrail: Any = importlib.import_module("router.guardrail")
        loaded = guardrail.load()
    return await runs.Runs.open(
        config=options.config,
        state=options.state,
        worker_socket=socket_path(options.state, "worker"),
        guardrail=loaded,
        watch=watch,
    )


def _worker_env(options: Options) -> Mapping[str, str]:
    if options.config_file is None:
        return os.environ
    return {**os.environ, "TANDEM_CONFIG": str(options.config_file.absolute())}


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            log.error("task failed", exc_info=result)
