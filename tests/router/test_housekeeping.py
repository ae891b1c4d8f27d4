"""Clearing up after runs: what is old goes with all it left, and what a run may still need stays."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.housekeeping import DAY_S, Housekeeping, due, must_be_over
from router.journal import Journal, RunRow
from router.repository import OwnRepository, repo_id_of
from router.roster import Roster
from router.summary import RunInfo
from tandem import clearing
from tandem.config import KeepConfig
from tandem.errors import Conflict, DeadlineExceeded, Unreachable
from tandem.types import ENDED, CommitId, Edit, Freed, Kept, RunId, RunState, Task
from tests.support.checkouts import Checkout

NOW_S = time.time()


def run(name: str, state: RunState = "merged", *, days: float | None = 100, task: Task | None = None) -> RunInfo:
    """Return a run that ended, if it did, so many days ago."""
    ended_s = None if days is None else NOW_S - days * DAY_S
    task = task or Task(text="t", repo="/a", base=CommitId("ab" * 20), target="main")
    return RunInfo(run=RunId(name), task=task, created_s=NOW_S - 200 * DAY_S, state=state, ended_s=ended_s)


# --- what is old --------------------------------------------------------------------------------------------------


def test_a_run_is_old_when_it_ended_long_ago() -> None:
    infos = [run("old", days=91), run("new", days=89), run("undated", days=None)]  # one that cannot be read has no end
    assert due(infos, NOW_S, 90) == ["old"]
    assert due([run("now", days=0)], NOW_S + 1, 0) == ["now"]


STATES: list[RunState] = [*sorted(ENDED), "queued", "running", "waiting"]


@given(st.lists(st.tuples(st.sampled_from(STATES), st.floats(-1e4, 1e4))), st.floats(0, 1e4))
def test_what_is_not_over_or_ended_later_is_never_old(made: list[tuple[RunState, float]], days: float) -> None:
    infos = [run(f"r{number}", state, days=ago) for number, (state, ago) in enumerate(made)]
    found = due(infos, NOW_S, days)
    for info in infos:
        assert info.ended_s is not None
        assert (info.run in found) == (info.over and NOW_S - info.ended_s > days * DAY_S)


@pytest.mark.parametrize("state", ["queued", "running", "waiting"])
def test_a_run_that_may_go_on_is_not_forgotten(state: RunState) -> None:
    with pytest.raises(Conflict, match=f"run r is {state}; `tandem cancel r` first, then clear it away"):
        must_be_over(run("r", state))
    must_be_over(run("r", "failed"))


# --- a router's state folder --------------------------------------------------------------------------------------


class Scene:
    """A state folder with a journal and repositories, and runs in it that nobody works on."""

    def __init__(self, checkout: Checkout, journal: Journal) -> None:
        self.checkout = checkout
        self.state = checkout.state
        self.journal = journal
        self.roster = Roster(journal)
        self.keeping = Housekeeping(self.state, self.roster, KeepConfig())
        self.told: list[Kept] = []
        self.commits: dict[str, CommitId] = {}
        (self.state / "flight").mkdir()

    async def collect(self, kept: Kept) -> list[Freed]:
        self.told.append(kept)
        return [Freed(what="on the worker", count=1, size_bytes=5)]

    async def clear(self, *, dry_run: bool = False, idle: bool = True, **more: Any) -> dict[str, int]:
        freed, troubles = await self.keeping.clear(self.collect, dry_run=dry_run, idle=idle, **more)
        assert troubles == []
        return {one.what: one.count for one in freed}

    async def add(
        self, name: str, state: RunState = "merged", *, days: float = 100, checkout: Checkout | None = None
    ) -> RunInfo:
        """Record a run with a draft, held by a reference, and a record of its calls."""
        where = checkout or self.checkout
        task = Task(text="t", repo=str(where.root), base=CommitId(where.base), target="main")
        info = run(name, state, days=days, task=task)
        await self.journal.add_run(RunRow(run=info.run, created_s=1.0, stamp="1", task=cast("Any", asdict(task))))
        self.roster.settle(info)
        own = await OwnRepository.open(self.state, where.root, where.base)
        edit = Edit(path=f"{name}.txt", content=os.urandom(4000).hex())
        made = await own.commit(parent=task.base, edits=[edit], persona="coder", message=name, at_s=1)
        await own.keep(info.run, "code.1", made)
        self.commits[name] = made
        if info.over:  # what was written within the last seconds could be a new run's
            for path in self.folder(where).glob("objects/*/*"):
                os.utime(path, (NOW_S - 9, NOW_S - 9))
        self.record(name).write_text("{}\n")
        self.left(name).mkdir(parents=True)
        (self.left(name) / "head.zip").write_bytes(b"what its checks left")
        value: Any = {"state": state, **({"ended_s": info.ended_s} if info.over else {})}
        await self.journal.append(
            info.run, step="", ordinal=0, attempt=1, kind="state", question="", value=value, at_s=1.0
        )
        return info

    def record(self, name: str) -> Path:
        return self.state / "flight" / f"{name}.jsonl"

    def left(self, name: str) -> Path:
        return self.state / "artefacts" / name

    def folder(self, checkout: Checkout | None = None) -> Path:
        where = checkout or self.checkout
        return self.state / "git" / f"{repo_id_of(where.root, where.base)}.git"

    def there(self, name: str) -> dict[str, bool]:
        """Return what of a run is there: its reference, its draft's content, its record, what its checks left."""
        refs = (
            self.checkout.git("for-each-ref", "--format=%(refname)", at=self.folder()) if self.folder().exists() else ""
        )
        found = f"{self.commits[name]}:{name}.txt"
        has = bool(refs) and bool(self.checkout.git("cat-file", "-t", found, at=self.folder(), check=False))
        return {
            "reference": f"refs/tandem/runs/{name}/code.1" in refs,
            "draft": has,
            "record": self.record(name).exists(),
            "left": self.left(name).exists(),
        }

    async def known(self) -> set[str]:
        return {row.run for row in await self.journal.runs()}


ALL, NONE = (
    dict.fromkeys(("reference", "draft", "record", "left"), True),
    dict.fromkeys(("reference", "draft", "record", "left"), False),
)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    monkeypatch.setenv("HOME", str(tmp_path / "one" / "home"))
    return Checkout(tmp_path / "one")


def play(checkout: Checkout, scenario: Callable[[Scene], Awaitable[None]]) -> None:
    @asynccontextmanager
    async def scene() -> AsyncGenerator[Scene]:
        checkout.state.mkdir(parents=True, exist_ok=True)
        journal = await Journal.open(checkout.state / "journal.db")
        try:
            yield Scene(checkout, journal)
        finally:
            await journal.close()

    async def main() -> None:
        async with scene() as made:
            await scenario(made)

    asyncio.run(main())


def test_an_old_run_goes_with_all_it_left_and_the_others_stay(checkout: Checkout) -> None:
    async def scenario(made: Scene) -> None:
        await made.add("old")
        await made.add("new", days=1)
        await made.add("asking", "waiting", days=100)
        os.utime(made.record("asking"), (1, 1))
        dry = await made.clear(dry_run=True)
        assert (made.there("old"), await made.known()) == (ALL, {"old", "new", "asking"})
        assert not (made.state / "cleared").exists()
        assert await made.clear() == dry == {
            "runs": 1, "references to drafts": 1, "records of calls": 1, "artefacts of checks": 1, "on the worker": 1
        }  # fmt: skip
        assert (made.there("old"), made.there("new"), made.there("asking")) == (NONE, ALL, ALL)
        assert await made.known() == {info.run for info in await made.roster.read_all()} == {"new", "asking"}
        assert await made.clear() == {"on the worker": 1}
        assert not made.keeping.overdue

    play(checkout, scenario)


def test_the_last_run_of_a_repository_takes_it_along(checkout: Checkout, tmp_path: Path) -> None:
    async def scenario(made: Scene) -> None:
        other = Checkout(tmp_path / "two")
        await made.add("old")
        await made.add("elsewhere", days=1, checkout=other)
        assert (await made.clear(dry_run=True))["repositories"] == 1
        assert made.folder().exists()
        assert (await made.clear())["repositories"] == 1
        assert (made.folder().exists(), made.folder(other).exists()) == (False, True)
        assert list((made.state / "tmp").iterdir()) == []

    play(checkout, scenario)


def test_a_named_run_goes_whatever_its_age_and_only_if_it_is_over(checkout: Checkout) -> None:
    async def scenario(made: Scene) -> None:
        await made.add("new", "failed", days=0)
        await made.add("asking", "waiting")
        with pytest.raises(Conflict, match="run asking is waiting"):
            await made.clear(runs=[RunId("new"), RunId("asking")])
        assert (made.there("new"), made.there("asking"), made.told) == (ALL, ALL, [])
        assert (await made.clear(runs=[RunId("new"), RunId("new"), RunId("nobody")]))["runs"] == 2
        assert (made.there("new"), made.there("asking")) == (NONE, ALL)

    play(checkout, scenario)


def test_the_workers_are_told_what_each_repository_still_needs(checkout: Checkout, tmp_path: Path) -> None:
    async def scenario(made: Scene) -> None:
        other = Checkout(tmp_path / "two")
        await made.add("old", checkout=other)
        first = (await made.add("one", days=1)).task.base
        checkout.base = checkout.commit({"more.py": "more = 1\n"})
        second = (await made.add("two", days=1)).task.base
        await made.clear(days=3)
        assert made.told == [
            Kept(
                repositories={made.folder().stem: tuple(sorted((first, second)))},
                environments_s=3 * DAY_S,
                dry_run=False,
            )
        ]

    play(checkout, scenario)


def test_a_worker_that_is_away_is_told_of_and_everything_here_is_cleared(checkout: Checkout) -> None:
    async def away(kept: Kept) -> list[Freed]:
        raise Unreachable("worker desk does not answer")

    async def scenario(made: Scene) -> None:
        await made.add("old")
        freed, troubles = await made.keeping.clear(away, dry_run=False, idle=True)
        assert troubles == ["nothing was cleared on the workers: worker desk does not answer"]
        assert {one.what for one in freed} == {"runs", "repositories", "records of calls", "artefacts of checks"}
        assert not made.keeping.overdue

    play(checkout, scenario)


# --- cut off, damaged ---------------------------------------------------------------------------------------------


def test_cut_off_after_the_journal_the_next_one_ends_it(checkout: Checkout) -> None:
    async def scenario(made: Scene) -> None:
        await made.add("old")
        await made.add("new", days=1)
        await made.journal.forget([RunId("old")])
        assert made.there("old") == ALL
        assert await made.clear() == {
            "references to drafts": 1, "records of calls": 1, "artefacts of checks": 1, "on the worker": 1
        }  # fmt: skip
        assert (made.there("old"), made.there("new")) == (NONE, ALL)

    play(checkout, scenario)


def test_cut_off_after_the_references_the_next_one_ends_it(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    async def killed(git_dir: Path, before_s: float) -> None:
        raise KeyboardInterrupt

    async def scenario(made: Scene) -> None:
        await made.add("old")
        await made.add("new", days=1)
        with monkeypatch.context() as patch:
            patch.setattr(clearing, "_repack", killed)
            with pytest.raises(KeyboardInterrupt):
                await made.clear()
        assert made.there("old") == {"reference": False, "draft": True, "record": True, "left": True}
        await made.clear()
        assert (made.there("old"), made.there("new")) == (NONE, ALL)

    play(checkout, scenario)


def test_of_a_run_that_cannot_be_read_everything_is_kept(checkout: Checkout) -> None:
    async def scenario(made: Scene) -> None:
        info = await made.add("broken", "failed", days=1)
        base = info.task.base
        info.task = Task(text="(this run cannot be read)", repo="", base=CommitId(""), target="")
        await made.add("old")
        await made.clear()
        assert (made.there("broken"), made.there("old")["reference"]) == (ALL, False)
        assert f"refs/tandem/base/{base}" in checkout.git("for-each-ref", at=made.folder())

    play(checkout, scenario)


def test_a_repository_git_could_not_read_just_now_is_left_though_no_run_names_it(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(git_dir: Path, prefix: str) -> list[str]:
        raise DeadlineExceeded("git for-each-ref took longer than 60 s")

    async def scenario(made: Scene) -> None:
        await made.add("old")
        monkeypatch.setattr(clearing, "references", slow)
        _, troubles = await made.keeping.clear(made.collect, dry_run=False, idle=True)
        assert troubles == [f"nothing was cleared in {made.folder().name}: git for-each-ref took longer than 60 s"]
        assert made.folder().exists()

    play(checkout, scenario)


def test_a_repository_that_is_broken_hinders_no_other_and_goes_with_its_last_run(
    checkout: Checkout, tmp_path: Path
) -> None:
    async def scenario(made: Scene) -> None:
        other = Checkout(tmp_path / "two")
        await made.add("mine", days=1, checkout=other)
        await made.add("old")
        await made.add("new", days=1)
        (made.folder(other) / "HEAD").unlink()
        _, troubles = await made.keeping.clear(made.collect, dry_run=False, idle=True)
        assert len(troubles) == 1
        assert f"nothing was cleared in {made.folder(other).name}: git for-each-ref failed" in troubles[0]
        assert (made.there("old"), made.there("new")) == (NONE, ALL)
        assert (await made.clear(runs=[RunId("mine")]))["repositories"] == 1

    play(checkout, scenario)


# --- while others work --------------------------------------------------------------------------------------------


def test_a_run_that_was_resumed_while_another_clearing_was_under_way_is_not_forgotten(checkout: Checkout) -> None:
    async def scenario(made: Scene) -> None:
        info = await made.add("failed", "failed")
        async with made.keeping.lock:
            clearing_up = asyncio.create_task(made.clear(runs=[info.run]))
            await asyncio.sleep(0)
            info.state = "running"
        with pytest.raises(Conflict):
            await clearing_up
        assert made.there("failed") == ALL

    play(checkout, scenario)


@pytest.mark.parametrize("moment", ["before", "looked", "repacked"])
def test_a_run_that_is_accepted_meanwhile_loses_nothing(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    async def scenario(made: Scene) -> None:
        await made.add("old")
        await made.add("new", days=1)
        look, repack = clearing.references, clearing._repack
        own = await OwnRepository.open(made.state, checkout.root, checkout.base)

        async def accepted() -> None:
            await made.add("late", "running", days=0)
            edit = Edit(path="late too", content="nothing leads to it yet")
            made.commits["draft"] = await own.commit(
                parent=CommitId(checkout.base), edits=[edit], persona="coder", message="d", at_s=1
            )

        late: list[asyncio.Task[None]] = []  # it may have to wait until the repository is cleared

        async def begun() -> None:
            late.append(asyncio.create_task(accepted()))
            await asyncio.sleep(0.2)

        async def looked(git_dir: Path, prefix: str) -> list[str]:
            found = await look(git_dir, prefix)
            if moment == "looked" and not late:
                await begun()
            return found

        async def repacked(git_dir: Path, before_s: float) -> None:
            if moment == "repacked" and not late:
                await begun()
            await repack(git_dir, before_s)

        monkeypatch.setattr(clearing, "references", looked)
        monkeypatch.setattr(clearing, "_repack", repacked)
        async with made.keeping.lock:
            task = asyncio.create_task(made.clear())
            await asyncio.sleep(0)
            if moment == "before":
                await accepted()
        await task
        await asyncio.gather(*late)
        assert (made.there("late"), made.there("new"), made.there("old")["reference"]) == (ALL, ALL, False)
        assert checkout.git("cat-file", "-t", made.commits["draft"], at=made.folder()) == "commit"
        assert made.told[-1].repositories == {made.folder().stem: (checkout.base,)}

    play(checkout, scenario)


def test_a_run_that_finds_its_repository_gone_makes_it_anew(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(made: Scene) -> None:
        await made.add("old")
        remove_all = clearing.remove_all

        def slowly(paths: list[Path], *args: Any, **more: Any) -> int:
            if paths and paths[0].name.startswith("git-"):
                asyncio.run_coroutine_threadsafe(made.add("late", "running", days=0), loop).result(20)
            return remove_all(paths, *args, **more)

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(clearing, "remove_all", slowly)
        await made.clear()
        assert made.there("late") == ALL

    play(checkout, scenario)


# --- files --------------------------------------------------------------------------------------------------------


def test_files_go_by_their_age_and_a_link_goes_alone(checkout: Checkout, tmp_path: Path) -> None:
    def aged(path: Path, days: float) -> Path:
        when_s = time.time() - days * DAY_S
        os.utime(path, (when_s, when_s), follow_symlinks=False)
        return path

    async def scenario(made: Scene) -> None:
        state = made.state
        await made.add("young", days=1)
        await made.add("kept", days=1)
        aged(made.record("young"), 31)
        aged(made.record("kept"), 29)
        (state / "flight" / "nobody.jsonl").touch()
        for name in ("journal.db.damaged-1", "journal.db.format-1", "journal.db.damaged-2"):
            (state / name).touch()
        aged(state / "journal.db.damaged-1", 91)
        aged(state / "journal.db.format-1", 91)
        (state / "tmp").mkdir(exist_ok=True)
        precious = tmp_path / "precious"
        precious.mkdir()
        (precious / "file").touch()
        (state / "tmp" / "link").symlink_to(precious)
        for name in ("old", "new"):
            (state / "tmp" / name).mkdir()
            (state / "tmp" / name / "inside").touch()
        aged(state / "tmp" / "old", 2)
        aged(precious, 2)
        half_made = state / "git" / ".words-1.git.x"
        half_made.mkdir()
        aged(half_made, 2)
        assert await made.clear() == {
            "records of calls": 2, "copies of the journal": 2, "leftovers": 3, "on the worker": 1
        }  # fmt: skip
        assert [path.name for path in sorted((state / "flight").iterdir())] == ["kept.jsonl"]
        assert sorted(path.name for path in state.glob("journal.db*")) == [
            "journal.db", "journal.db-shm", "journal.db-wal", "journal.db.damaged-2", "journal.db.made"
        ]  # fmt: skip
        assert [path.name for path in (state / "tmp").iterdir()] == ["new"]
        assert (precious / "file").exists()
        assert not half_made.exists()
        assert await made.known() == {"young", "kept"}

    play(checkout, scenario)


@pytest.mark.parametrize(
    ("age_days", "overdue"), [(None, True), (0, False), (0.9, False), (1.1, True), (-0.5, False), (-2, True)]
)
def test_it_is_due_once_a_day_also_where_the_clock_went_back(
    checkout: Checkout, age_days: float | None, overdue: bool
) -> None:
    async def scenario(made: Scene) -> None:
        if age_days is not None:
            (made.state / "cleared").touch()
            when_s = time.time() - age_days * DAY_S
            os.utime(made.state / "cleared", (when_s, when_s))
        assert made.keeping.overdue is overdue

    play(checkout, scenario)


def test_a_state_folder_in_which_nothing_ever_ran_is_cleared_too(checkout: Checkout) -> None:
    async def scenario(made: Scene) -> None:
        shutil.rmtree(made.state / "flight")
        assert await made.clear() == {"on the worker": 1}

    play(checkout, scenario)
