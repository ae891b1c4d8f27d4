"""How long a run that was interrupted needs to go on: from the start of a router's process, its worker with it.

In each round a router is killed at a point of a run, then started again over the same state folder. Beside it, in the same
round, stand what any start costs: an interpreter that does nothing, one that imports what a router imports, and a router
over an empty state folder. What recovery adds is the difference of the pairs. Old runs in the journal are copies of a run
that was really made, taken in under other ids by the journal's own `adopt`.

All times are milliseconds from just before a process is started, on the system's monotonic clock. The points are the
programs' own failpoints, which they write into a file.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import pair
from bench.pair import Project
from bench.resume_report import Times, figures, lines
from cli.client import Client
from router.accept import new_run_id
from router.journal import Journal
from tandem.entry import APP_ROOT
from tandem.errors import TandemError, Unavailable
from tandem.paths import socket_path
from tandem.types import RunId

__all__ = ["lines", "run"]
ROUNDS, QUICK = 20, 3
OLD = (0, 500)  # runs that ended before, in the journal
POINTS = (  # in the order of a run, from the guardrail to the merge
    "journal.after.screening",
    "journal.after.reply:2",
    "journal.after.report:1",
    "journal.before.report:3",
    "journal.after.commit:2",
    "journal.after.reply:7",
    "journal.after.opened",  # a person is asked
    "effect.intended.delivery",
    "deliver.moved",
)
_WAITS = "journal.after.opened"
_IMPORTS = "import router.lifecycle, router.runs, router.guardrail"
_GOES_ON_S = 60.0
_GONE_S = 5.0  # for the worker of a router that was killed to leave


def run(
    rounds: int = ROUNDS, old: Sequence[int] = OLD, tell: Callable[[int, str], None] = lambda done, words: None
) -> dict[str, Any]:
    """Measure and return plain JSON; times in milliseconds.

    Args:
        rounds: How many, for each number of old runs; they take the points in turn.
        old: Numbers of old runs in the journal.
        tell: Called after each round: how many there were, and how it went, in words.
    """
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as name:
        folder = Path(name)
        began = {count: _with_old_runs(folder / f"old-{count}", count) for count in old}
        recovered: dict[int, list[Times]] = {count: [] for count in old}
        floors: list[Times] = []
        points = [POINTS[number % len(POINTS)] for number in range(rounds)]
        for number, point in enumerate(points):
            floors.append(_floor(folder / f"floor-{number}"))
            for count in _turned(old, number):
                place = folder / f"round-{number}-{count}"
                recovered[count].append(_round(place, began[count], point))
                shutil.rmtree(place, ignore_errors=True)
            tell(number + 1, f"{point}: {recovered[old[-1]][-1]['goes_on']:.0f} ms")
        sizes = {count: _journal_bytes(state) for count, state in began.items()}
    return figures(points, floors, recovered, sizes)


def _turned(values: Sequence[int], by: int) -> list[int]:
    """Return the values beginning with another one each time, so that no side is always the first."""
    at = by % len(values)
    return [*values[at:], *values[:at]]


def _round(place: Path, began: Path, point: str) -> Times:
    """Interrupt a run at `point`, start again, and return what that took."""
    project, script = pair.real(place)
    state = pair.copied(began, place / "state")
    run = _interrupted(state, project, script, point)
    log = place / "after.log"
    client, started = Client(socket_path(state, "router")), time.monotonic_ns()
    process = pair.spawn(pair.environment(state, script, {"TANDEM_FAULT_LOG": str(log)}))
    try:
        pair.status(client, process)
        times = {"status": _ms(started)}
        client.get(f"/v1/runs/{run}")  # answered once the journal is read
        times["known"] = _ms(started)
        if point == _WAITS:
            _until(lambda: client.get(f"/v1/runs/{run}")["question"], process)
            times["goes_on"] = _ms(started)
        else:
            _until(lambda: "goes_on" in _milestones(log, started), process)
        return times | {name: ms for name, ms in _milestones(log, started).items() if name not in times}
    finally:
        pair.stop(process)


def _interrupted(state: Path, project: Project, script: Path, point: str) -> str:
    """Begin a run, have the router killed at `point`, and return the run's id."""
    name, _, nth = point.partition(":")
    process = pair.spawn(pair.environment(state, script, {"TANDEM_FAULT": f"{name}:kill:{nth or 1}"}))
    try:
        client = Client(socket_path(state, "router"))
        found = pair.status(client, process, ("ready", "nodes"))
        bare = not found["nodes"][0]["sandbox"]
        run = pair.submit(client, project, yes=point != _WAITS, unsandboxed=bare)
        process.wait(_GOES_ON_S)
    except subprocess.TimeoutExpired:
        raise TandemError(f"the run never came to {point}") from None
    finally:
        pair.stop(process)
    end = time.monotonic() + _GONE_S
    while socket_path(state, "worker").exists() and time.monotonic() < end:
        time.sleep(pair.POLL_S)
    return run


def _milestones(log: Path, started: int) -> Times:
    """Return when the programs first passed what matters, in milliseconds since `started`."""
    found: Times = {}
    for at, point in _passed(log):
        for name in _meaning(point):
            found.setdefault(name, (at - started) / 1e6)
    return found


def _passed(log: Path) -> Iterator[tuple[int, str]]:
    """Yield the points that were passed and when, in nanoseconds; a line that is being written is left out."""
    if log.exists():
        for row in log.read_text("utf-8").splitlines(keepends=True):
            if row.endswith("\n"):
                _, at, point = row.split()
                yield int(at), point


def _meaning(point: str) -> tuple[str, ...]:
    """Return what it says about a recovery that a point was passed."""
    room, _, rest = point.partition(".")
    if point in ("journal.opened", "worker.ready", "journal.after.state"):
        return ({"journal.opened": "journal", "worker.ready": "worker", "journal.after.state": "taken_up"}[point],)
    if room in ("worker", "effect", "deliver", "push") or (rest.startswith("before.") and rest != "before.state"):
        return ("at_work",)
    return ("goes_on",) if rest.startswith("after.") else ()


def _until(seen: Callable[[], Any], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _GOES_ON_S
    while not seen():
        if process.poll() is not None or time.monotonic() > end:
            raise Unavailable(f"the interrupted run did not go on within {_GOES_ON_S:g} s")
        time.sleep(pair.POLL_S)


def _ms(since_ns: int) -> float:
    return (time.monotonic_ns() - since_ns) / 1e6


def _floor(place: Path) -> Times:
    """Return what a start costs where there is nothing to recover."""
    times = {"interpreter": _program("pass"), "imports": _program(_IMPORTS)}
    _, script = pair.real(place)
    state, log = place / "state", place / "floor.log"
    client, started = Client(socket_path(state, "router")), time.monotonic_ns()
    process = pair.spawn(pair.environment(state, script, {"TANDEM_FAULT_LOG": str(log)}))
    try:
        pair.status(client, process)
        times["status"] = _ms(started)
        client.get("/v1/runs")
        times["known"] = _ms(started)
        _until(lambda: "worker" in _milestones(log, started), process)
        times |= _milestones(log, started)
        return {**times, "ready": max(times["known"], times["worker"])}
    finally:
        pair.stop(process)
        shutil.rmtree(place, ignore_errors=True)


def _program(code: str) -> float:
    started = time.monotonic_ns()
    subprocess.run([sys.executable, "-c", code], cwd=APP_ROOT, check=True)
    return _ms(started)


# --- old runs -------------------------------------------------------------------------------------------------


def _with_old_runs(place: Path, count: int) -> Path:
    """Return a state folder whose journal holds `count` runs that ended."""
    state = place / "state"
    if not count:
        state.mkdir(mode=0o700, parents=True)
        return state
    project, script = pair.real(place)
    with pair.running(state, pair.environment(state, script)) as made:
        run = pair.submit(made.client, project, unsandboxed=not made.sandbox)
        pair.must_be_merged(pair.to_its_end(made.client, run))
    asyncio.run(_multiply(state / "journal.db", count - 1))
    return state


async def _multiply(file: Path, count: int) -> None:
    """Take in so many copies of the run that a journal holds."""
    journal = await Journal.open(file)
    try:
        (row,) = await journal.runs()
        entries = await journal.everything(row.run)
        ids = {RunId(f"{new_run_id()}{number}") for number in range(count)}
        for run in ids:
            await journal.adopt(replace(row, run=run), entries)
    finally:
        await journal.close()


def _journal_bytes(state: Path) -> int:
    return sum(path.stat().st_size for path in state.glob("journal.db*"))
