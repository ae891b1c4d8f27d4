"""Clear away what is old: runs that ended long ago with all they left behind, here and on the workers.

What goes is a matter of age and decided purely (`due`); a run that works, waits or can be gone on with by itself is never
old. Removing goes from the truth outwards: the journal forgets a run first, and what it left (references, files) is what
no run of the journal names. So clearing up that was cut off anywhere is ended by the next one.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from router.journal import Journal
from router.repository import OwnRepository, repo_id_of
from router.summary import RunInfo
from tandem import clearing
from tandem.config import KeepConfig
from tandem.errors import Conflict, TandemError
from tandem.faults import failpoint
from tandem.types import CommitId, Freed, Kept, RunId

log = logging.getLogger(__name__)
DAY_S = 86_400.0
_MARK = "cleared"  # a file whose time says when it was last done
Collect = Callable[[Kept], Awaitable[list[Freed]]]


def due(infos: Iterable[RunInfo], now_s: float, days: float) -> list[RunId]:
    """Return the runs that ended more than `days` ago."""
    return [info.run for info in infos if info.over and now_s - (info.ended_s or info.created_s) > days * DAY_S]


def must_be_over(info: RunInfo) -> None:
    """Refuse to forget a run that may go on.

    Raises:
        Conflict: It is not over.
    """
    if not info.over:
        raise Conflict(f"run {info.run} is {info.state}; `tandem cancel {info.run}` first, then clear it away")


class Housekeeping:
    """Clears up after the runs of one router. `infos` are all of them, and lose those that are forgotten."""

    def __init__(self, state: Path, journal: Journal, infos: dict[RunId, RunInfo], keep: KeepConfig) -> None:
        self._state = state
        self._journal = journal
        self._infos = infos
        self._keep = keep
        self._one = asyncio.Lock()

    @property
    def overdue(self) -> bool:
        """Return whether it is a day since this was last done."""
        return not clearing.older_than([self._state / _MARK], -DAY_S, time.time()) or bool(
            clearing.older_than([self._state / _MARK], DAY_S, time.time())
        )

    async def clear(
        self, collect: Collect, *, runs: Sequence[RunId] = (), days: float | None = None, dry_run: bool, idle: bool
    ) -> tuple[list[Freed], list[str]]:
        """Clear up and return what it freed, and what could not be cleared.

        `runs` go whatever their age; the others are older than `days`, or than the configuration says. `collect` asks
        the workers; `idle` says that no run is at work.
        """
        async with self._one:
            age = self._keep.runs_days if days is None else days
            gone = list(dict.fromkeys([*runs, *due(self._infos.values(), time.time(), age)]))
            freed = [await self._forget(gone, dry_run=dry_run)]
            left = {run: info for run, info in self._infos.items() if run not in gone}
            freed += await self._repositories(left.values(), dry_run=dry_run, idle=idle)
            failpoint("gc.references")
            freed += await asyncio.to_thread(self._files, left, days, dry_run=dry_run)
            troubles: list[str] = []
            try:
                freed += await collect(self._kept(left.values(), days, dry_run=dry_run))
            except TandemError as error:
                troubles.append(f"nothing was cleared on the workers: {error.message}")
            if not dry_run:
                (self._state / _MARK).touch(mode=0o600)
            found = [one for one in freed if one.count]
            log.info("cleared up", extra={"dry_run": dry_run, "bytes": sum(one.size_bytes for one in found)})
            return found, troubles

    async def _forget(self, gone: Sequence[RunId], *, dry_run: bool) -> Freed:
        if dry_run or not gone:
            size = await self._journal.size_of(gone)
        else:
            size = await self._journal.forget(gone)
            failpoint("gc.journal")
            for run in gone:
                self._infos.pop(run, None)
        return Freed(what="runs", count=len(gone), size_bytes=size)

    async def _repositories(self, left: Iterable[RunInfo], *, dry_run: bool, idle: bool) -> list[Freed]:
        """Clear our own Git directories: those of no run, and in the others what only forgotten runs needed."""
        runs: dict[str, set[str]] = {}
        bases: dict[str, set[str]] = {}
        for info in left:
            name = _repo_id(info)
            runs.setdefault(name, set()).add(OwnRepository.ref_part(info.run))
            bases.setdefault(name, set()).add(info.task.base)
        folders = sorted((self._state / "git").glob("*.git"))
        unused = [folder for folder in folders if folder.stem not in runs]
        size = await asyncio.to_thread(clearing.remove_all, unused, _rmtree, dry_run=dry_run)
        freed = [Freed(what="repositories", count=len(unused), size_bytes=size)]
        count = size = 0
        for folder in folders:
            if folder.stem in runs:
                dropped, bytes_freed = await self._references(
                    folder, runs[folder.stem], bases[folder.stem], dry_run=dry_run, idle=idle
                )
                count, size = count + dropped, size + bytes_freed
        return [*freed, Freed(what="references to drafts", count=count, size_bytes=size)]

    async def _references(
        self, folder: Path, runs: Collection[str], bases: Collection[str], *, dry_run: bool, idle: bool
    ) -> tuple[int, int]:
        ours = await clearing.references(folder, "refs/tandem/runs/")
        stale = [name for name in ours if name.split("/")[3] not in runs]
        held = await clearing.references(folder, "refs/tandem/base/")
        stale += [name for name in held if name.rpartition("/")[2] not in bases]
        if not stale or dry_run:
            return len(stale), 0
        before = await asyncio.to_thread(clearing.size_of, folder)
        await clearing.drop_references(folder, stale)
        await clearing.repack(folder, idle=idle)
        return len(stale), max(before - await asyncio.to_thread(clearing.size_of, folder), 0)

    def _files(self, left: Mapping[RunId, RunInfo], days: float | None, *, dry_run: bool) -> list[Freed]:
        now_s = time.time()
        records = sorted((self._state / "flight").glob("*.jsonl"))
        orphans = [path for path in records if path.stem not in left]
        old = clearing.older_than(records, (self._keep.calls_days if days is None else days) * DAY_S, now_s)
        at_work = {run for run, info in left.items() if not info.over}
        stale = [path for path in dict.fromkeys([*orphans, *old]) if path.stem not in at_work]
        copies = [*self._state.glob("journal.db.damaged-*"), *self._state.glob("journal.db.format-*")]
        aged = clearing.older_than(copies, (self._keep.runs_days if days is None else days) * DAY_S, now_s)
        leftovers = clearing.older_than((self._state / "tmp").glob("*"), DAY_S, now_s)
        return [
            Freed(what=what, count=len(paths), size_bytes=clearing.remove_all(paths, _remove, dry_run=dry_run))
            for what, paths in (("records of calls", stale), ("copies of the journal", aged), ("leftovers", leftovers))
        ]

    def _kept(self, left: Iterable[RunInfo], days: float | None, *, dry_run: bool) -> Kept:
        bases: dict[str, set[CommitId]] = {}
        for info in left:
            bases.setdefault(_repo_id(info), set()).add(info.task.base)
        age_days = self._keep.environments_days if days is None else days
        return Kept(
            repositories={name: tuple(sorted(commits)) for name, commits in bases.items()},
            environments_s=age_days * DAY_S,
            dry_run=dry_run,
        )


def _repo_id(info: RunInfo) -> str:
    return repo_id_of(Path(info.task.repo), info.task.base)


def _rmtree(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def _remove(path: Path) -> None:
    _rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
