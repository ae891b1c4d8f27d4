"""A worker that no router started, and a router on the same state folder: there is one worker, and which is told."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from router import local_worker
from router.local_worker import LocalWorker
from tandem import held, identity
from tandem.errors import AlreadyRunning
from tandem.paths import socket_path
from tests.support.machine import Machine, ended
from tests.support.pairs import known_at
from tests.support.stack import Stack

REHEARSED = {
    "TANDEM_MODELS_ROUTER": "rehearsal/demo",
    "TANDEM_MODELS_WORKER": "rehearsal/demo",
    "TANDEM_REHEARSAL_SCRIPT": "demo",
}


class Service(Machine):
    """A worker as a service manager or, without `--service`, a person starts it, for the state folder of a router."""

    def __init__(self, stack: Stack, *how: str) -> None:
        self.argv = ["--socket", str(socket_path(stack.state, "worker")), "--state", str(stack.state / "worker")]
        self.argv += ["--home", str(stack.state), "--name", "desk", *how]
        self.env = dict(stack.env)
        self.process = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid


def until(holds: Callable[[], bool], what: str, wait_s: float = 30) -> None:
    end = time.monotonic() + wait_s
    while not holds():
        assert time.monotonic() < end, f"{what} did not come about"
        time.sleep(0.1)


def worker_of(stack: Stack) -> int | None:
    """Return the process id of the worker a router says it uses, once that answers."""
    status = stack.call("GET", "/v1/status")[1]
    return status["worker"]["pid"] if status["worker"]["ready"] and status["nodes"] else None


def test_a_router_uses_the_services_worker_and_starts_its_own_where_that_is_gone(tmp_path: Path) -> None:
    stack = Stack(tmp_path, REHEARSED)
    with Service(stack, "--service") as service:
        stack.start()
        try:
            assert worker_of(stack) == service.pid
            service.stop(signal.SIGTERM)
            until(lambda: worker_of(stack) is not None, "a worker of the router's own")
            own = worker_of(stack)
            assert own is not None
            service.start()  # installed while a router runs: it takes the place of the router's own
            until(lambda: worker_of(stack) == service.pid, "the service's worker")
            until(lambda: not Path(f"/proc/{own}").exists(), "the end of the router's own")
        finally:
            stack.stop()
        assert service.process is not None
        assert service.process.poll() is None  # it does not leave with the router
    assert held.owner(stack.state / "worker" / held.SERVICE) == ""


def test_a_router_uses_a_persons_worker_and_a_person_is_told_of_a_routers(tmp_path: Path) -> None:
    stack = Stack(tmp_path, REHEARSED)
    with Service(stack) as own:
        stack.start()
        try:
            assert worker_of(stack) == own.pid
            assert (stack.state / "worker" / "fence").read_text() == "1\n", "no other worker began over its folder"
            own.stop(signal.SIGTERM)
            until(lambda: worker_of(stack) is not None, "a worker of the router's own")
            kept = worker_of(stack)
            for more in ((), ("--socket", str(tmp_path / "other.sock"))):
                status, errors = ended(own.spawn(*more))
                assert status == 5
                assert "`tandem down` first" in errors
            assert worker_of(stack) == kept
        finally:
            stack.stop()


def test_a_router_does_not_stay_for_paired_routers_whose_worker_stays_without_it(tmp_path: Path) -> None:
    stack = Stack(tmp_path, {**REHEARSED, "TANDEM_ROUTER_LINGER_S": "1"})
    known_at(stack.state, identity.load(tmp_path / "book"), "book", "router")
    with Service(stack) as own:
        assert stack.cli("up").returncode == 0
        until(lambda: not held.owner(stack.state / held.ROUTER), "the router's end")
        assert own.process is not None
        assert own.process.poll() is None


def test_a_persons_worker_that_listens_elsewhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_worker, "KEPT_READY_S", 0.0)
    lock = tmp_path / "service.lock"
    descriptor = held.hold(lock)
    socket_file = tmp_path / "worker.sock"

    async def scenario() -> None:
        worker = LocalWorker([], tmp_path / "worker.log", kept_lock=lock, socket_file=socket_file)
        running = asyncio.create_task(worker.run())
        async with asyncio.timeout(20):
            while not worker.trouble:  # noqa: ASYNC110 - another task is looked at
                await asyncio.sleep(0.05)
            assert f"(process {os.getpid()}) was started with another --socket than {socket_file}" in worker.trouble
            socket_file.touch()
            while worker.trouble:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())
    os.close(descriptor)


def test_a_lock_is_held_by_one_process_and_gone_with_it(tmp_path: Path) -> None:
    path = tmp_path / "service.lock"
    assert held.owner(path) == ""
    descriptor = held.hold(path)
    assert held.owner(path) == str(os.getpid())
    with pytest.raises(AlreadyRunning, match=str(os.getpid())):
        held.hold(path)
    os.close(descriptor)
    assert held.owner(path) == ""
    os.close(held.hold(path))
