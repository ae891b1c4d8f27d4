"""Which runs there are: those that may still do something by themselves are in memory, the others in the journal.

A router runs for months, and what it holds must not grow with what it has done; so a run that ended, and whose end is
recorded, is read again when somebody asks. Of each run there is one `RunInfo` at a time: whoever asks while another holds
it gets the same one, and sees what the other changes.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Iterable
from typing import Any, cast, get_args
from weakref import WeakValueDictionary

from router.accept import task_in
from router.journal import Journal, RunRow
from router.summary import RunInfo
from tandem.errors import BadInput, BrokenJournal, NotFound
from tandem.types import CommitId, Json, RunId, RunState, Task

log = logging.getLogger(__name__)
_STATES = frozenset(get_args(RunState))
_DAMAGED = Task(text="(this run cannot be read)", repo="", base=CommitId(""), target="")
ODD = (AttributeError, IndexError, KeyError, TypeError, ValueError)  # of what is chained, and yet of another form


class Roster:
    """The runs of one router."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._kept: dict[RunId, RunInfo] = {}
        self._known: WeakValueDictionary[RunId, RunInfo] = WeakValueDictionary()
        self._leaving: set[RunId] = set()  # while the journal forgets them

    @property
    def kept(self) -> Collection[RunInfo]:
        """Return the runs in memory: all that are not over, and those whose end could not be recorded."""
        return list(self._kept.values())

    def known(self, run: RunId) -> RunInfo | None:
        """Return a run that is in memory, or None; one that is not over always is."""
        return self._known.get(run)

    def is_here(self, info: RunInfo) -> bool:
        """Return whether `info` is what stands for its run; not after that was cleared away."""
        return self._known.get(info.run) is info

    def settle(self, info: RunInfo) -> None:
        """Take a run up, or have it go on or end as it now stands; `info` is the one there is."""
        self._known[info.run] = info
        if info.over and info.ended_s is not None:
            self._kept.pop(info.run, None)
        else:
            self._kept[info.run] = info

    async def read_all(self) -> list[RunInfo]:
        """Return every run there is, oldest first.

        One whose lines are not what was recorded stands as failed, with the words why.
        """
        found = await self._journal.runs_with("state", _read)
        return [self._known.get(info.run) or info for info in found if info.run not in self._leaving]

    async def again(self, earlier: Iterable[RunInfo]) -> list[RunInfo]:
        """Return every run there is now, newest first; of those in `earlier` that nobody holds, as they were then."""
        known = {info.run: info for info in earlier}
        found: list[RunInfo] = []
        for run in await self._journal.ids():
            with contextlib.suppress(NotFound):  # it was cleared away meanwhile
                found.append(self._known.get(run) or known.get(run) or await self.find(run))
        return found

    async def find(self, run: RunId) -> RunInfo:
        """Return a run.

        Raises:
            NotFound: There is none of that id.
        """
        found = self._known.get(run)
        if found is None:
            row = await self._journal.run_with(run, "state")
            found = self._known.get(run)  # another call may have read it meanwhile
            if found is None and row is not None and run not in self._leaving:
                found = self._known[run] = _read(*row)
        if found is None:
            raise NotFound(f"there is no run {run!r}; `tandem runs` lists them")
        return found

    async def resolve(self, prefix: str) -> RunId:
        """Return the run that `prefix`, or `latest`, means.

        Raises:
            NotFound: No run begins so.
            BadInput: More than one does.
        """
        if RunId(prefix) in self._known:
            return RunId(prefix)
        newest = await self._journal.ids()
        if prefix == "latest" and newest:
            return newest[0]
        found = [run for run in newest if run.startswith(prefix) or run.split("-")[-1].startswith(prefix)]
        exact = [run for run in found if run == prefix]
        if exact or len(found) == 1:
            return (exact or found)[0]
        if not found:
            raise NotFound(f"there is no run {prefix!r}; `tandem runs` lists them")
        raise BadInput(f"{prefix!r} fits {len(found)} runs ({', '.join(found[:4])}); type more of it")

    async def size_of(self, runs: Iterable[RunId]) -> int:
        """Return about how many bytes runs take in the journal."""
        return await self._journal.size_of(runs)

    async def forget(self, runs: Iterable[RunId], busy: Callable[[RunId], bool]) -> tuple[int, int]:
        """Take runs out of memory and journal, and return how many and how many bytes.

        One that goes on again stays, and so does one that an order is being carried out about: what is `busy`.
        """
        gone = [run for run in runs if not busy(run) and ((info := self._known.get(run)) is None or info.over)]
        known = [info for run in gone if (info := self._known.pop(run, None)) is not None]
        for run in gone:
            self._kept.pop(run, None)
        self._leaving.update(gone)
        try:
            return len(gone), await self._journal.forget(gone)
        except BaseException:
            for info in known:
                self.settle(info)
            raise
        finally:
            self._leaving.difference_update(gone)


def _read(row: RunRow, state: Json | BrokenJournal | None) -> RunInfo:
    """Return a run as its row and its newest state tell of it."""
    info = RunInfo(run=row.run, task=_DAMAGED, created_s=row.created_s)
    if isinstance(state, BrokenJournal):  # one run's lines; the others have nothing to do with them
        cannot_be_read(info, state)
        return info
    try:
        info.task = task_in(row.task)
        info.become(cast("dict[str, Any]", state or {"state": "queued"}))
        if info.state not in _STATES:
            raise ValueError(info.state)
    except ODD:
        cannot_be_read(info)
    return info


def cannot_be_read(info: RunInfo, error: BrokenJournal | None = None) -> None:
    """Have a run stand as failed because what is recorded of it cannot be used."""
    error = error or BrokenJournal(
        f"what is recorded of run {info.run} cannot be read; `tandem gc --run {info.run}` removes it"
    )
    log.error("run cannot be read", extra={"run_id": info.run, "why": error.message})
    info.become({"state": "failed", "message": error.message, "class": type(error).__name__})
