"""Remove what no run needs any more: repositories, commits, environments, leftovers of killed processes.

Everything here can be had again: the router pushes what is missing, and Prepare builds. So what is kept is a matter of
time alone, and removing is safe at any moment: a reference goes before the objects it holds, an environment is moved away
before it is taken apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection
from pathlib import Path

from tandem import clearing
from tandem.errors import TandemError
from tandem.identity import NodeId
from tandem.types import CommitId, Freed, Kept
from worker import callers
from worker.environments import MARK, owner_of
from worker.fence import Fence
from worker.workspace import remove, scratch, sweep

log = logging.getLogger(__name__)
_USED_S = 3600.0  # an environment used within the last hour may be in use now


class Collector:
    """Clears this node up."""

    def __init__(self, state: Path, fence: Fence) -> None:
        self._state = state
        self._fence = fence
        self._one = asyncio.Lock()

    async def collect(self, kept: Kept) -> list[Freed]:
        """Remove what is not kept, and return what that freed."""
        async with self._one:
            troubles: list[TandemError] = []
            freed = [
                await self._repositories(kept),
                await self._commits(kept, troubles),
                await asyncio.to_thread(self._environments, kept),
            ]
            if not kept.dry_run:
                await asyncio.to_thread(sweep, self._state / "tmp")
                await asyncio.to_thread(self._half_made)
        found = [one for one in freed if one.count]
        log.info("cleared up", extra={"dry_run": kept.dry_run, "bytes": sum(one.size_bytes for one in found)})
        if troubles:  # told when all the rest is done
            raise troubles[0]
        return found

    async def _repositories(self, kept: Kept) -> Freed:
        folders = [path for path in self._folders() if path.stem not in kept.repositories]
        size = await asyncio.to_thread(self._removed, folders, dry_run=kept.dry_run)
        return Freed(what="repositories on the worker", count=len(folders), size_bytes=size)

    def _folders(self) -> list[Path]:
        """Return the repositories of whoever asks."""
        return sorted(path for path in (self._state / "git").glob("*.git") if callers.owns(path.stem))

    def _half_made(self) -> None:
        """Remove the repositories that a killed worker had not finished making."""
        for path in clearing.older_than((self._state / "git").glob(".new-*"), _USED_S, time.time()):
            remove(path)

    async def _commits(self, kept: Kept, troubles: list[TandemError]) -> Freed:
        count = size = 0
        for folder in self._folders():
            wanted = kept.repositories.get(folder.stem)
            if wanted is None:
                continue
            if not kept.dry_run:
                self._fence.check()
            try:
                stale, freed = await self._stale(folder, wanted, dry_run=kept.dry_run)
            except TandemError as error:  # one repository's; the others have nothing to do with it
                log.warning("repository was not cleared", extra={"repo": folder.stem, "why": error.message})
                troubles.append(error)
                continue
            count, size = count + stale, size + freed
        return Freed(what="commits on the worker", count=count, size_bytes=size)

    async def _stale(self, folder: Path, wanted: Collection[CommitId], *, dry_run: bool) -> tuple[int, int]:
        """Remove what is not wanted, and return how many references there were and how many bytes that freed."""
        names = await clearing.references(folder, "refs/tandem/")
        stale = [name for name in names if CommitId(name.rpartition("/")[2]) not in wanted]
        if dry_run:
            return len(stale), await clearing.loose_bytes(folder) if stale else 0  # what a repack frees is mostly these
        return len(stale), await clearing.clear(folder, stale, before_s=time.time() - clearing.YOUNG_S)

    def _environments(self, kept: Kept) -> Freed:
        marks = (self._state / "environments").glob(f"*/{MARK}")
        age_s = max(kept.environments_s, _USED_S)
        old = [mark.parent for mark in clearing.older_than(marks, age_s, time.time())]
        stale = [folder for folder in old if owner_of(folder) == callers.mark()]
        size = self._removed(stale, dry_run=kept.dry_run)
        return Freed(what="environments on the worker", count=len(stale), size_bytes=size)

    async def keep_only(self, routers: Collection[NodeId]) -> None:
        """Remove repositories and environments of paired routers other than these; this machine's own stay."""
        async with self._one:
            freed = await asyncio.to_thread(self._leavings, {callers.mark_of(node) for node in routers})
        if freed:
            log.info("what unpaired routers left is removed", extra={"bytes": freed})

    def _leavings(self, marks: Collection[str]) -> int:
        repositories = [path for path in (self._state / "git").glob("*@*.git") if _mark_in(path.stem) not in marks]
        built = (mark.parent for mark in (self._state / "environments").glob(f"*/{MARK}"))
        environments = [folder for folder in built if (owner := owner_of(folder)) and owner not in marks]
        return self._removed([*repositories, *environments], dry_run=False)

    def _removed(self, folders: list[Path], *, dry_run: bool) -> int:
        """Remove folders by moving each away first, so that nobody finds half of one."""
        if dry_run or not folders:
            return clearing.remove_all(folders, remove, dry_run=True)
        self._fence.check()
        with scratch(self._state / "tmp") as away:

            def take(folder: Path) -> None:
                with contextlib.suppress(FileNotFoundError):  # somebody removed it by hand
                    folder.rename(away / folder.name)

            return clearing.remove_all(folders, take, dry_run=False)


def _mark_in(stored: str) -> str:
    """Return the mark that a repository is called by here."""
    return stored[stored.find("@") :]
