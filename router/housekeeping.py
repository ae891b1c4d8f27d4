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
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from router.recorder import to_the_end
from router.repository import OwnRepository, one_at_a_time, repo_id_of
from router.roster import Roster
from router.summary import RunInfo
from tandem import clearing
from tandem.config import KeepConfig
from tandem.errors import Conflict, TandemError
from tandem.faults import failpoint
from tandem.types import CommitId, Freed, Kept, RunId

log = logging.getLogger(__name__)
DAY_S = 86_400.0
_MARK = "cleared"  # a file whose time says when it was last done
_AWAY = "git-"  # how a repository begins that is being removed; what is left of one goes as every such folder
_TICK_S = 1.0  # what is written now may be dated so much earlier
Collect = Callable[[Kept], Awaitable[list[Freed]]]


def due(infos: Iterable[RunInfo], now_s: float, days: float) -> list[RunId]:
    """Return the runs that ended more than `days` ago; one that cannot be read, or whose end is not recorded, is none."""
    ended = [(info.run, info.ended_s) for info in infos if info.over and info.ended_s is not None]
    return [run for run, ended_s in ended if now_s - ended_s > days * DAY_S]


def must_be_over(info: RunInfo) -> None:
    """Refuse to forget a run that may go on.

    Raises:
        Conflict: It is not over.
    """
    if not info.over:
        raise Conflict(f"run {info.run} is {info.state}; `tandem cancel {info.run}` first, then clear it away")


class Housekeeping:
    """Clears up after the runs of one router."""

    def __init__(self, state: Path, roster: Roster, keep: KeepConfig) -> None:
        self._state = state
        self._roster = roster
        self._keep = keep
        self.lock = asyncio.Lock()  # one clearing at a time

    @property
    def overdue(self) -> bool:
        """Return whether it is a day since this was last done."""
        return not clearing.older_than([self._state / _MARK], -DAY_S, time.time()) or bool(
            clearing.older_than([self._state / _MARK], DAY_S, time.time())
        )

    async def clear(
        self,
        collect: Collect,
        *,
        runs: Sequence[RunId] = (),
        days: float | None = None,
        dry_run: bool,
        idle: bool,
        busy: Callable[[RunId], bool] = lambda run: False,
    ) -> tuple[list[Freed], list[str]]:
        """Clear up and return what it freed, and what could not be cleared.

        `runs` go whatever their age; the others are older than `days`, or than the configuration says. `collect` asks
        the workers; `idle` says that no run is at work, and `busy` of which an order is being carried out: that one stays.
        Runs that are accepted meanwhile lose nothing: each place is looked at first, and what the runs need of it then.

        Raises:
            Conflict: One of `runs` is not over.
        """
        before_s = time.time() - (_TICK_S if idle else clearing.YOUNG_S)
        async with self.lock:
            there = await self._roster.read_all()
            for info in there:
                if info.run in runs:
                    must_be_over(info)  # it may have been resumed while another clearing was under way
                    if busy(info.run):
                        raise Conflict(f"run {info.run} is being worked with at this moment; clear it away in another")
            age = self._keep.runs_days if days is None else days
            gone = list(dict.fromkeys([*runs, *due(there, time.time(), age)]))
            aside = frozenset(gone) if dry_run else frozenset[RunId]()  # else they are forgotten, or here once more
            freed = [await self._forget(gone, busy, dry_run=dry_run)]
            troubles: list[str] = []
            freed += await self._repositories(there, aside, before_s, troubles, dry_run=dry_run)
            failpoint("gc.references")
            freed += await self._files(there, aside, days, dry_run=dry_run)
            try:
                freed += await collect(self._kept(await self._left(there, aside), days, dry_run=dry_run))
            except TandemError as error:
                troubles.append(f"nothing was cleared on the workers: {error.message}")
            if not dry_run:
                (self._state / _MARK).touch(mode=0o600)
            found = [one for one in freed if one.count]
            log.info("cleared up", extra={"dry_run": dry_run, "bytes": sum(one.size_bytes for one in found)})
            return found, troubles

    async def _left(self, there: Iterable[RunInfo], aside: Collection[RunId]) -> list[RunInfo]:
        """Return the runs there are at this moment; `there` were at the beginning."""
        return [info for info in await self._roster.again(there) if info.run not in aside]

    async def _forget(self, gone: Sequence[RunId], busy: Callable[[RunId], bool], *, dry_run: bool) -> Freed:
        if dry_run or not gone:
            return Freed(what="runs", count=len(gone), size_bytes=await self._roster.size_of(gone))
        count, size = await to_the_end(self._roster.forget(gone, busy))
        failpoint("gc.journal")
        return Freed(what="runs", count=count, size_bytes=size)

    async def _repositories(
        self, there: Sequence[RunInfo], aside: Collection[RunId], before_s: float, troubles: list[str], *, dry_run: bool
    ) -> list[Freed]:
        """Clear our own Git directories: those of no run, and in the others what only forgotten runs needed."""
        unused: list[Path] = []
        count = size = 0
        for folder in sorted((self._state / "git").glob("*.git")):
            async with one_at_a_time(folder):  # else a run that begins now is told that objects are there which then go
                names, trouble = await _names(folder)
                left = await self._left(there, aside)  # after the names: a run is known before it has any
                stale = _stale(names, left)
                unread = trouble and (folder / "HEAD").exists()  # where that is gone, there is nothing to read
                if not unread and not _needed(folder, names, stale, left):
                    unused.append(folder if dry_run else self._away(folder))
                    continue
                count += len(stale)
                if not dry_run and not trouble:
                    try:
                        size += await clearing.clear(folder, stale, before_s=before_s)
                    except TandemError as error:
                        trouble = error.message
                if trouble:
                    troubles.append(f"nothing was cleared in {folder.name}: {trouble}")
        bytes_freed = await asyncio.to_thread(clearing.remove_all, unused, _rmtree, dry_run=dry_run)
        return [
            Freed(what="repositories", count=len(unused), size_bytes=bytes_freed),
            Freed(what="references to drafts", count=count, size_bytes=size),
        ]

    def _away(self, folder: Path) -> Path:
        """Move a repository away at once, so that a run that is accepted now finds none rather than half of one."""
        place = self._state / "tmp" / f"{_AWAY}{uuid.uuid4().hex}"
        place.parent.mkdir(mode=0o700, exist_ok=True)
        return folder.rename(place)

    async def _files(
        self, there: Sequence[RunInfo], aside: Collection[RunId], days: float | None, *, dry_run: bool
    ) -> list[Freed]:
        records = sorted((self._state / "flight").glob("*.jsonl"))
        left_by_checks = sorted((self._state / "artefacts").glob("*"))
        # after these: a run is known before its own are
        left = {str(info.run): info.over for info in await self._left(there, aside)}
        return await asyncio.to_thread(self._remove_files, records, left_by_checks, left, days, dry_run=dry_run)

    def _remove_files(
        self,
        records: Sequence[Path],
        left_by_checks: Sequence[Path],
        left: Mapping[str, bool],
        days: float | None,
        *,
        dry_run: bool,
    ) -> list[Freed]:
        """Remove what files no run needs; `left` says of each run whether it is over. Blocking."""
        now_s = time.time()
        orphans = [path for path in records if path.stem not in left]
        old = clearing.older_than(records, (self._keep.calls_days if days is None else days) * DAY_S, now_s)
        stale = [path for path in dict.fromkeys([*orphans, *old]) if left.get(path.stem, True)]
        copies = [*self._state.glob("journal.db.damaged-*"), *self._state.glob("journal.db.format-*")]
        aged = clearing.older_than(copies, self._keep.runs_days * DAY_S, now_s)  # the last resort: `days` is about runs
        half_done = [*(self._state / "tmp").glob("*"), *(self._state / "git").glob(".*")]
        leftovers = clearing.older_than(half_done, DAY_S, now_s)
        return [
            Freed(what=what, count=len(paths), size_bytes=clearing.remove_all(paths, _remove, dry_run=dry_run))
            for what, paths in (
                ("records of calls", stale),
                ("artefacts of checks", [path for path in left_by_checks if path.name not in left]),
                ("copies of the journal", aged),
                ("leftovers", leftovers),
            )
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


async def _names(folder: Path) -> tuple[list[str], str]:
    """Return the names of a repository's references, or none and why."""
    try:
        return await clearing.references(folder, "refs/tandem/"), ""
    except TandemError as error:
        return [], error.message


def _stale(names: Iterable[str], left: Iterable[RunInfo]) -> list[str]:
    """Return the references that none of the runs needs; of a run that cannot be read, nobody knows where it began."""
    runs = {OwnRepository.ref_part(info.run): bool(info.task.base) for info in left}
    bases = {info.task.base for info in left}
    parts = [(name, *name.split("/")[2:4]) for name in names]
    unclear = any(kind == "runs" and runs.get(part) is False for _, kind, part in parts)
    return [
        name
        for name, kind, part in parts
        if (kind == "runs" and part not in runs) or (kind == "base" and part not in bases and not unclear)
    ]


def _needed(folder: Path, names: Sequence[str], stale: Sequence[str], left: Iterable[RunInfo]) -> bool:
    """Return whether a repository is that of a run, by its name or by the drafts in it."""
    of_runs = any(name.startswith("refs/tandem/runs/") for name in frozenset(names) - frozenset(stale))
    return of_runs or any(_repo_id(info) == folder.stem for info in left)


def _repo_id(info: RunInfo) -> str:
    return repo_id_of(Path(info.task.repo), info.task.base)


def _rmtree(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def _remove(path: Path) -> None:
    _rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
