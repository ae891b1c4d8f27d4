"""The runs a router knows: over a real journal, ended ones are read when somebody asks, and there is one of each."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pytest

from router.journal import Journal, RunRow
from router.roster import Roster
from tandem.errors import BadInput, NotFound
from tandem.types import CommitId, RunId, RunState, Task

TASK = Task(text="Shout", repo="/a", base=CommitId("ab" * 20), target="main")


class Desk:
    """A roster over a journal."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.roster = Roster(journal)

    async def run(self, name: str, state: RunState = "merged", *, at_s: float = 1.0, ended: bool = True) -> RunId:
        """Record a run that came to `state`."""
        row = RunRow(run=RunId(name), created_s=at_s, stamp="1", task=cast("Any", asdict(TASK)))
        await self.journal.add_run(row)
        value: Any = {"state": state, "facts": {"round": 2, "plan": {"long": 1}}, **({"ended_s": 9.0} if ended else {})}
        await self.journal.append(
            row.run, step="", ordinal=0, attempt=1, kind="state", question="", value=value, at_s=1.0
        )
        return row.run

    def in_memory(self) -> list[str]:
        gc.collect()
        return sorted(set(self.roster._known))


def play(path: Path, scenario: Callable[[Desk], Awaitable[None]]) -> None:
    async def run() -> None:
        journal = await Journal.open(path / "j.db")
        try:
            await scenario(Desk(journal))
        finally:
            await journal.close()

    asyncio.run(run())


def test_a_run_that_ended_is_in_memory_only_while_somebody_has_it(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        over, asking = await desk.run("over"), await desk.run("asking", "waiting", ended=False)
        desk.roster.settle(await desk.roster.find(asking))
        for _ in range(2):
            await desk.roster.find(over)
            await desk.roster.find(asking)
            assert desk.in_memory() == ["asking"]
        one = await desk.roster.find(over)
        assert (one.state, one.facts, one.task) == ("merged", {"round": 2}, TASK), "its long facts are the journal's"
        assert (await desk.roster.find(over)) is one
        assert [info is one for info in await desk.roster.read_all()] == [False, True]
        assert [info.run for info in desk.roster.kept] == [asking]

    play(tmp_path, scenario)


def test_whoever_asks_at_the_same_moment_gets_the_same_one(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        over = await desk.run("over")
        found = await asyncio.gather(*(desk.roster.find(over) for _ in range(5)))
        assert len({id(info) for info in found}) == 1

    play(tmp_path, scenario)


def test_a_run_that_goes_on_again_stays_and_its_end_lets_it_go(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        info = await desk.roster.find(await desk.run("r", "failed"))
        for state, kept in (("queued", ["r"]), ("running", ["r"]), ("failed", ["r"])):  # the last was not recorded
            info.become({"state": state})
            desk.roster.settle(info)
            assert [one.run for one in desk.roster.kept] == kept
        info.become({"state": "failed", "ended_s": 5.0})
        desk.roster.settle(info)
        assert desk.roster.is_here(info)
        del info
        assert desk.in_memory() == []

    play(tmp_path, scenario)


def test_what_is_forgotten_is_found_by_nobody_and_its_holder_knows(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        gone, stays, busy = await desk.run("gone"), await desk.run("stays", "failed"), await desk.run("busy", at_s=2)
        held, again = await desk.roster.find(gone), await desk.roster.find(stays)
        again.become({"state": "queued"})  # between the decision what is old and now
        desk.roster.settle(again)
        forgetting = asyncio.create_task(desk.roster.forget([gone, stays, busy], lambda run: run == busy))
        await asyncio.sleep(0)
        with pytest.raises(NotFound, match="there is no run 'gone'"):
            await desk.roster.find(gone)
        count, _ = await forgetting
        assert (count, desk.roster.is_here(held), desk.roster.is_here(again)) == (1, False, True)
        assert [info.run for info in await desk.roster.read_all()] == [stays, busy]

    play(tmp_path, scenario)


def test_what_could_not_be_forgotten_is_there_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(runs: object) -> int:
        raise OSError(28, "no space left")

    async def scenario(desk: Desk) -> None:
        info = await desk.roster.find(await desk.run("r"))
        monkeypatch.setattr(desk.journal, "forget", full)
        with pytest.raises(OSError, match="no space"):
            await desk.roster.forget([info.run], lambda run: False)
        assert (await desk.roster.find(info.run)) is info

    play(tmp_path, scenario)


def test_a_run_that_cannot_be_read_stands_as_failed_and_hides_no_other(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        odd = RunRow(run=RunId("odd"), created_s=0.5, stamp="1", task=["no task"])
        await desk.journal.add_run(odd)
        await desk.run("strange", cast("RunState", "elsewhere"), ended=False)
        await desk.run("sound", at_s=2.0)
        read = {info.run: info for info in await desk.roster.read_all()}
        assert [info.state for info in read.values()] == ["failed", "failed", "merged"]
        for name in ("odd", "strange"):
            info = await desk.roster.find(RunId(name))
            assert (info.state, info.error, info.ended_s) == ("failed", "BrokenJournal", None)
            assert f"`tandem gc --run {name}` removes it" in info.message

    play(tmp_path, scenario)


def test_a_run_is_named_by_its_id_a_beginning_or_latest(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        for prefix in ("latest", "1120"):
            with pytest.raises(NotFound, match="tandem runs"):
                await desk.roster.resolve(prefix)
        one, two = await desk.run("1120-abc", at_s=1), await desk.run("1121-abd", at_s=2)
        for prefix, run in (
            ("latest", two),
            ("1120", one),
            ("abd", two),
            ("1120-abc", one),
            ("112", None),
            ("ab", None),
        ):
            if run is None:
                with pytest.raises(BadInput, match=f"'{prefix}' fits 2 runs"):
                    await desk.roster.resolve(prefix)
            else:
                assert await desk.roster.resolve(prefix) == run
        info = await desk.roster.find(one)
        assert await desk.roster.resolve("1120-abc") == info.run
        await desk.run("1120-abcd", at_s=3)
        assert await desk.roster.resolve("1120-abc") == one, "an id is itself, though another begins with it"

    play(tmp_path, scenario)
