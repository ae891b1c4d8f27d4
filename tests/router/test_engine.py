"""What an engine holds of runs that ended: the events of the newest, and nothing that a watcher would miss."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pytest

from router import engine as room
from router import execution
from router.engine import Engine
from router.journal import Journal, RunRow
from router.settings import settings_of
from router.summary import RunInfo
from tandem.config import Config
from tandem.errors import Unreachable
from tandem.types import CommitId, RunId, Screening, Task
from tests.support.stack import git, sample

TASK = Task(text="Shout", repo="/a", base=CommitId("ab" * 20), target="main")


def play(path: Path, scenario: Callable[[Engine], Awaitable[None]], guard: Any = None) -> None:
    async def run() -> None:
        journal, config = await Journal.open(path / "j.db"), Config()
        nowhere: Any = execution.Nowhere()
        ports = execution.Ports(
            models=nowhere, checks=nowhere, guard=guard or nowhere, personas={}, settings=settings_of(config)
        )  # fmt: skip
        engine = Engine(config, path, journal, ports)
        try:
            await scenario(engine)
        finally:
            await engine.close()
            await journal.close()

    asyncio.run(run())


async def ended(engine: Engine, name: str, state: str = "merged") -> RunInfo:
    """Have a run that came to `state`, with ten notes on the way."""
    row = RunRow(run=RunId(name), created_s=1.0, stamp="1", task=cast("Any", asdict(TASK)))
    await engine.journal.add_run(row)
    info = RunInfo(run=row.run, task=TASK, created_s=1.0)
    engine.roster.settle(info)
    for number in range(10):
        engine.feed(info).emit("note", {"text": f"{number}", "level": "info"})
    await engine.set_state(info, state=state)
    return info


def held(engine: Engine) -> list[str]:
    return list(engine._feeds)


@pytest.mark.parametrize("state", ["merged", "failed"])
def test_the_events_of_the_newest_runs_are_kept_and_those_somebody_watches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(room, "FEEDS", 2)

    async def scenario(engine: Engine) -> None:
        for name in "abcd":
            info = await ended(engine, name, state)
            if name == "a":
                watching = engine.feed(info).subscribe(0)
                await anext(watching)
        engine.drop()
        assert held(engine) == ["a", "c", "d"]
        await watching.aclose()
        engine.drop()
        assert held(engine) == ["c", "d"]

    play(tmp_path, scenario)


def test_who_comes_back_after_a_drop_misses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "FEEDS", 1)

    async def scenario(engine: Engine) -> None:
        info = await ended(engine, "r", "failed")
        seen = engine.feed(info).last
        assert seen > 10
        await ended(engine, "later")
        engine.drop()
        assert held(engine) == ["later"]
        await engine.set_state(info, state="merged")  # it was resumed
        told = [event async for event in engine.feed(info).subscribe(seen)]
        assert {event.data["state"] for event in told} == {"merged"}
        assert told[0].seq == seen + 1

    play(tmp_path, scenario)


class Away:
    """A guardrail on a machine that is away."""

    def __init__(self) -> None:
        self.asked = 0

    async def screen(self, text: str) -> Screening:
        self.asked += 1
        raise Unreachable("the machine is away")


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - the engine works on its own
            await asyncio.sleep(0.01)


def test_a_run_that_waits_for_a_machine_tries_again_as_soon_as_one_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room.holds, "pause_s", lambda tries: 3600.0)
    repo, guard = sample(tmp_path / "repo"), Away()

    async def scenario(engine: Engine) -> None:
        task = Task(text="Shout", repo=str(repo), base=CommitId(git(repo, "rev-parse", "HEAD")), target="main")
        row = RunRow(run=RunId("r"), created_s=1.0, stamp="1", task=cast("Any", asdict(task)))
        await engine.journal.add_run(row)
        info = RunInfo(run=row.run, task=task, created_s=1.0)
        engine.roster.settle(info)
        await engine.enqueue(info)
        for times in (1, 2, 3):
            await until(lambda times=times: guard.asked == times and info.hold is not None)
            await asyncio.sleep(0.05)
            assert guard.asked == times
            engine.again()

    play(tmp_path, scenario, guard)
