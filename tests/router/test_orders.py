"""Orders about a run that meet: with clearing up, with their own deadline, with each other; over a real journal.

Nothing is executed here: a run that gets its turn fails at once, which is all that matters.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pytest

from router import execution
from router.engine import Engine
from router.journal import Journal, RunRow, opening
from router.journal.entries import Entry
from router.links import Links
from router.runs import Runs
from router.settings import settings_of
from router.summary import RunInfo
from tandem.config import Config
from tandem.errors import Conflict, NotFound
from tandem.types import CommitId, Freed, Kept, RunId, Task

RUN = RunId("1121-abcdefg")
TASK = Task(text="Shout", repo="/nowhere", base=CommitId("ab" * 20), target="main")
FACTS = {"kind": "fix", "difficulty": "low", "round": 2, "product": "cd" * 20, "rehearsed": True, "plan": {"long": 1}}


class Nobody:
    """No worker."""

    async def collect(self, kept: Kept) -> list[Freed]:
        return []

    def abandon(self, run: str) -> None:
        pass

    async def close(self) -> None:
        pass


class Desk:
    """A router's runs, and the engine under them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.journal = engine.journal
        self.runs = Runs(Config(), engine, cast("Any", Nobody()), Links(engine.state, lambda nodes: None))

    async def run(self, state: str, **more: Any) -> None:
        """Record a run that came to `state`, which nobody holds."""
        row = RunRow(run=RUN, created_s=1.0, stamp="1", task=cast("Any", asdict(TASK)))
        await self.journal.add_run(row)
        info = RunInfo(run=RUN, task=TASK, created_s=1.0)
        self.engine.roster.settle(info)
        await self.engine.set_state(info, state=state, **more)
        del info
        gc.collect()

    async def stopped(self) -> dict[str, Any]:
        """Return how the run stands once nothing waits or works."""
        async with asyncio.timeout(10):
            while self.runs.busy or self.engine.at_work:  # noqa: ASYNC110 - nobody tells when both are over
                await asyncio.sleep(0.01)
        gc.collect()
        return await self.runs.get(RUN)


def play(path: Path, scenario: Callable[[Desk], Awaitable[None]]) -> None:
    async def run() -> None:
        nowhere: Any = execution.Nowhere()
        ports = execution.Ports(
            models=nowhere, checks=nowhere, guard=nowhere, personas={}, settings=settings_of(Config())
        )
        engine = Engine(Config(), path, await Journal.open(path / "j.db"), ports)
        desk = Desk(engine)
        try:
            await scenario(desk)
        finally:
            await desk.runs.close()

    asyncio.run(run())


def slowly(monkeypatch: pytest.MonkeyPatch, wait_s: float) -> None:
    """Have each acknowledged write take so long after it is on disk."""
    settle = opening.settle
    monkeypatch.setattr(opening, "settle", lambda db: (settle(db), time.sleep(wait_s)))


def test_what_is_known_of_a_run_outlives_whoever_held_it(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.run("waiting", facts=FACTS)
        await desk.runs.cancel(RUN)
        found = await desk.stopped()
        assert (found["state"], found["kind"], found["round"], found["rehearsed"]) == ("cancelled", "fix", 2, True)
        assert (found["product"], found["plan"]) == (FACTS["product"], FACTS["plan"])

    play(tmp_path, scenario)


def test_a_run_that_is_being_resumed_is_not_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.run("failed")
        reading, look = asyncio.Event(), desk.journal.runs_with

        async def runs_with(kind: str, made: Any) -> Any:
            found = await look(kind, made)
            reading.set()
            await asyncio.sleep(0.1)
            return found

        monkeypatch.setattr(desk.journal, "runs_with", runs_with)
        slowly(monkeypatch, 0.3)
        clearing = asyncio.create_task(desk.runs.clear(run="", days=0.0, dry_run=False))
        await reading.wait()
        resumed = await desk.runs.resume(RUN)
        freed = (await clearing)["freed"]
        assert (resumed["state"], freed) == ("queued", [])
        assert (await desk.stopped())["state"] == "failed", "it had its turn"

        reading.clear()
        by_name = asyncio.create_task(desk.runs.clear(run=RUN, days=None, dry_run=False))
        await reading.wait()
        resuming = asyncio.create_task(desk.runs.resume(RUN))
        with pytest.raises(Conflict, match="being worked with"):
            await by_name
        assert (await resuming)["state"] == "queued"
        await desk.stopped()

    play(tmp_path, scenario)


def test_an_order_whose_deadline_passes_is_carried_out_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.run("failed", message="the first time")
        with monkeypatch.context() as patch:
            slowly(patch, 0.4)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await desk.runs.resume(RUN)
        found = await desk.stopped()
        assert (found["state"], found["message"] != "the first time") == ("failed", True), "it had its turn"

    play(tmp_path, scenario)


def test_a_run_somebody_else_recorded_is_looked_at_and_not_taken_up(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        row = RunRow(run=RUN, created_s=1.0, stamp="1", task=cast("Any", asdict(TASK)))
        await desk.journal.add_run(row)  # by a call that is not through with it
        assert (await desk.runs.get(RUN))["state"] == "queued"
        assert not desk.runs.busy

    play(tmp_path, scenario)


def test_a_run_that_comes_back_is_told_anew(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.run("cancelled", message="moved", moved=True)
        seen = [event.seq async for event in desk.runs.subscribe(RUN, 0)]
        await desk.runs.clear(run=RUN, days=None, dry_run=False)
        with pytest.raises(NotFound):
            await desk.runs.get(RUN)
        question = {"id": "q1", "kind": "approve", "text": "Merge?", "choices": ["approve"], "digest": "d"}
        about: dict[str, Any] = {"ordinal": 0, "attempt": 1, "question": "", "at_s": 1.0}
        opened = Entry(id=1, step="q1", kind="opened", value=cast("Any", question), **about)
        state = Entry(id=2, step="", kind="state", value={"state": "waiting"}, **about)
        row = RunRow(run=RUN, created_s=1.0, stamp="1", task=cast("Any", asdict(TASK)))
        await desk.journal.adopt(row, [opened, state])
        await desk.engine.restore(RUN)
        events = desk.runs.subscribe(RUN, seen[-1])
        told = [await anext(events), await anext(events)]
        assert [event.kind for event in told] == ["state", "question"]
        await cast("Any", events).aclose()

    play(tmp_path, scenario)
