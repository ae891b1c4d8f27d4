"""Time that does not pass as it should: clocks that jump, programs that are stopped and wake, a lead who is away."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from grpc import aio

from router import gittunnel
from router.node import Node
from tandem import channel
from tandem.errors import Unreachable
from tandem.types import Reply
from tandem.wire.questions import complete_out, reply_in
from tests.faults.matrix import Reached
from tests.faults.scene import Place, came_to, ground, held, merged_once, passed, quick, scene, stopped, wanted
from tests.faults.wires import until
from tests.support import clockshim
from tests.support.checkouts import Checkout
from tests.support.clockshim import ClockShim, clock_shim
from tests.support.machine import Machine, ended, question
from tests.support.stack import TASK, Stack, git

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
CALLS, CHECKS = 6, 6  # of a run that nothing disturbs; what is merged is checked by itself, as copies and as twins


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[ClockShim]:
    """Yield a wall clock that can be set wrong."""
    if reason := clockshim.available():
        (pytest.fail if sys.platform == "linux" else pytest.skip)(reason)
    with clock_shim(tmp_path) as made:
        yield made


def wrong_by(told_s: Iterable[float]) -> set[int]:
    """Return by how many hours a program's clock was wrong when it told the time, in the last few minutes."""
    return {round((at_s - time.time()) / HOUR_S) for at_s in told_s}


def logged_s(log: Path) -> list[float]:
    """Return the times that a program wrote into its log, in seconds."""
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    return [datetime.fromisoformat(line["at"]).timestamp() for line in lines]


@pytest.mark.row(30)
def test_no_wait_depends_on_the_time_of_day(tmp_path: Path, clock: ClockShim, reached: Reached) -> None:
    stack, repo = scene(tmp_path / "scene", **clock.env), ground(tmp_path / "repo", holds=True)
    tree = wanted(tmp_path, repo)
    stack.start(TANDEM_REHEARSAL_SCRIPT=str(quick(tmp_path, "slow", hold_s=1)))
    try:
        began = time.monotonic()
        run = stack.submit(repo, TASK)
        held(stack, "call")
        clock.set(-3 * HOUR_S)
        held(stack, "tests")
        clock.set(DAY_S)
        body = came_to(stack, run, "waiting")
        clock.set(-3 * HOUR_S)
        cleared = stack.call("POST", "/v1/clear", {"days": 0.1})[1]["freed"]
        assert {one["what"] for one in cleared} <= {"commits on the worker"}  # they are sent again
        stack.answer(run, "approve")
        body = came_to(stack, run, "merged")
        assert (body["failures"], body["verdict"]) == ([], "passed")
        assert time.monotonic() - began < HOUR_S / 60
        merged_once(stack, run, repo, tree)
        assert (passed(stack, "worker.call"), passed(stack, "worker.tree")) == (CALLS, CHECKS)
        router = wrong_by(data["at_s"] for _, data in stack.events(run))
        worker = wrong_by(logged_s(stack.state / "worker" / "logs" / "worker.log"))
        reached.add("router's clock", len(router & {-3, 24}))
        reached.add("worker's clock", len(worker & {-3, 24}))
        assert {-3, 24} <= router & worker
    finally:
        stack.stop()


# stopped, and continued


STOPS: dict[str, tuple[float, float]] = {"router": (8.0, 1.5), "worker": (9.5, 1.5), "both": (1.5, 8.0)}
"""Who is stopped, and for how many seconds in a call and in the tests: a router notices 7, a connection 8."""


def pause(stack: Stack, who: str, stop_s: float) -> int:
    """Stop programs for a while, and return how many were seen to stand."""
    status = stack.call("GET", "/v1/status")[1]
    pids = {"router": [status["pid"]], "worker": [status["worker"]["pid"]]}
    chosen = pids.get(who) or [pid for group in pids.values() for pid in group]
    try:
        for pid in chosen:
            os.kill(pid, signal.SIGSTOP)
        until(lambda: all(stopped(pid) for pid in chosen), 10)
        time.sleep(stop_s)
        return sum(stopped(pid) for pid in chosen)
    finally:
        for pid in chosen:
            os.kill(pid, signal.SIGCONT)


def stopped_run(folder: Path, who: str) -> tuple[int, list[str]]:
    """See a run through two stops; return how many were seen, and the notes of the run."""
    folder.mkdir()
    stack, repo = scene(folder), ground(folder / "repo", holds=True)
    tree = wanted(folder, repo)
    stack.start(TANDEM_REHEARSAL_SCRIPT=str(quick(folder, "slow", hold_s=3)))
    try:
        run, seen = stack.submit(repo, TASK, yes=True), 0
        places: list[Place] = ["call", "tests"]
        for where, stop_s in zip(places, STOPS[who], strict=True):
            held(stack, where)
            seen += pause(stack, who, stop_s)
        body = came_to(stack, run, "merged")
        assert body["failures"] == []
        merged_once(stack, run, repo, tree)
        assert (passed(stack, "worker.call"), passed(stack, "worker.tree")) == (CALLS, CHECKS), stack.log()
        return seen, [str(data["text"]) for kind, data in stack.events(run) if kind == "note"]
    finally:
        stack.stop()


@pytest.mark.row(31)
def test_what_was_stopped_goes_on_and_does_nothing_twice(tmp_path: Path, reached: Reached) -> None:
    with ThreadPoolExecutor(len(STOPS)) as threads:
        begun = {who: threads.submit(stopped_run, tmp_path / who, who) for who in STOPS}
    told = {who: run.result() for who, run in begun.items()}
    for who, (seen, _) in told.items():
        reached.add(f"{who} stopped", seen)
    assert [seen for seen, _ in told.values()] == [2, 2, 4]
    for who in ("router", "both"):
        assert any("this machine slept, or was stopped; going on" in note for note in told[who][1]), told[who]


# stopped, and replaced


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Yield a worker that was started as a router starts its own."""
    replies: list[Mapping[str, Any]] = [
        {"persona": "coder", "text": "x"},
        {"persona": "slow", "text": "late", "delay_s": 1.0},
    ]
    made = Machine(tmp_path, replies, TANDEM_FAULT_LOG=str(tmp_path / "passed.log")).start("--lifeline")
    first = made.process
    yield made
    made.__exit__()  # the one that was started last
    if first is not None:
        first.kill()
        ended(first)


@asynccontextmanager
async def node_of(machine: Machine) -> AsyncGenerator[Node]:
    """Yield a connection to whichever worker listens now."""
    made = Node.at_socket(machine.socket)
    try:
        yield made
    finally:
        await made.channels.calls.close()


async def asked(node: Node, name: str, persona: str = "coder") -> Reply | None:
    """Ask over a connection, and only once."""
    reply: Reply | None = None
    try:
        async for response in node.stub.Complete(complete_out(question(name, persona)), timeout=30):
            reply = reply_in(response.reply) if response.HasField("reply") else reply
    except aio.AioRpcError as error:
        raise channel.error_in(error, "worker desk") from error
    return reply


async def pushed(node: Node, checkout: Checkout) -> None:
    """Push a commit over a connection."""
    await gittunnel.push(checkout.root / ".git", checkout.base, "repo", node.stub, node="worker desk")


async def replaced(machine: Machine, reached: Reached) -> subprocess.Popen[bytes]:
    """Stop a worker, start another in its place, and let the first one go on; return that one."""
    first = machine.process
    assert first is not None
    first.send_signal(signal.SIGSTOP)
    await asyncio.to_thread(until, lambda: stopped(first.pid), 10)
    reached.add("stopped")
    await asyncio.to_thread(machine.start, "--lifeline")
    first.send_signal(signal.SIGCONT)
    return first


@pytest.mark.row(32)
def test_a_worker_that_was_replaced_while_it_stood_does_nothing_more(
    machine: Machine, tmp_path: Path, reached: Reached
) -> None:
    checkout = Checkout(tmp_path / "work")

    async def scenario() -> None:
        async with node_of(machine) as old:
            assert await asked(old, "early")
            late = asyncio.create_task(asked(old, "late", "slow"))
            await asyncio.to_thread(until, lambda: passed(machine, "worker.call") == 2)
            first = await replaced(machine, reached)
            for work in (late, asked(old, "anew"), pushed(old, checkout)):
                with pytest.raises(Unreachable):  # by its number, or because it has left already
                    await work
        socket_now = machine.socket.stat()
        assert await asyncio.to_thread(first.wait, 20) == 75
        reached.add("left with 75")
        assert os.path.samestat(machine.socket.stat(), socket_now)
        assert not (machine.state / "git" / "repo.git" / "refs" / "tandem").exists()
        async with node_of(machine) as new:
            await pushed(new, checkout)
            assert await asked(new, "late", "slow")
        assert passed(machine, "worker.call") == 3  # the late answer was not kept, either

    asyncio.run(scenario())


# three days


def worked(stack: Stack) -> list[int]:
    """Return how often models were asked, tests run and packages installed."""
    return [passed(stack, point) for point in ("worker.call", "worker.tree", "worker.built")]


@pytest.mark.row(40)
def test_a_run_waits_three_days_for_its_lead_and_costs_nothing(
    tmp_path: Path, clock: ClockShim, reached: Reached
) -> None:
    stack, repo = scene(tmp_path / "scene", **clock.env), ground(tmp_path / "repo")
    tree = wanted(tmp_path, repo)
    stack.start()
    try:
        run = stack.submit(repo, TASK)
        asked: dict[str, Any] = stack.wait(run)["question"]
        cost = worked(stack)
        assert cost[:2] == [CALLS - 1, CHECKS]  # all but the report
        for days in (1.5, 3.0):
            stack.stop()
            clock.set(days * DAY_S)
            stack.start()
            body = stack.wait(run)
            assert (body["state"], body["question"]) == ("waiting", asked)
            reached.add("restarted days later", round((time.time() + days * DAY_S - body["created_s"]) / DAY_S) > 0)
        status, cleared = stack.call("POST", "/v1/clear", {"days": 1})
        assert (status, cleared["troubles"]) == (200, [])
        assert stack.wait(run)["question"] == asked
        assert worked(stack) == cost
        stack.answer(run, "approve")
        assert came_to(stack, run, "merged")["failures"] == []
        merged_once(stack, run, repo, tree)
        assert worked(stack) == [CALLS, CHECKS, cost[2]]
        assert git(repo, "log", "-1", "--format=%an") != ""
    finally:
        stack.stop()
    assert {0, 36, 72} <= wrong_by(logged_s(stack.state / "logs" / "router.log"))
