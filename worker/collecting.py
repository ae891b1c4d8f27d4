"""Remove what no run needs any more: repositories, commits, environments, leftovers of killed processes.

Everything here can be had again: the router pushes what is missing, and Prepare builds. So what is kept is a matter of
time alone, and removing is safe at any moment: a reference goes before the objects it holds, an environment is moved away
before it is taken apart.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from tandem import clearing
from tandem.git import git
from tandem.types import CommitId, Freed, Kept
from worker.environments import MARK
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
            freed = [
                await self._repositories(kept),
                await self._commits(kept),
                await asyncio.to_thread(self._environments, kept),
            ]
            if not kept.dry_run:
                await asyncio.to_thread(sweep, self._state / "tmp")
        found = [one for one in freed if one.count]
        log.info("cleared up", extra={"dry_run": kept.dry_run, "bytes": sum(one.size_bytes for one in found)})
        return found

    async def _repositories(self, kept: Kept) -> Freed:
        folders = [path for path in self._folders() if path.stem not in kept.repositories]
        size = await asyncio.to_thread(self._removed, folders, dry_run=kept.dry_run)
        return Freed(what="repositories on the worker", count=len(folders), size_bytes=size)

    def _folders(self) -> list[Path]:
        return sorted((self._state / "git").glob("*.git"))

    async def _commits(self, kept: Kept) -> Freed:
        count = size = 0
        for folder in self._folders():
            wanted = kept.repositories.get(folder.stem)
            if wanted is None:
                continue
            names = await clearing.references(folder, "refs/tandem/")
            stale = [name for name in names if CommitId(name.rpartition("/")[2]) not in wanted]
            count += len(stale)
            if stale and not kept.dry_run:
                self._fence.check()
                before = await asyncio.to_thread(clearing.size_of, folder)
                await clearing.drop_references(folder, stale)
                await clearing.repack(folder, idle=False)
                size += max(before - await asyncio.to_thread(clearing.size_of, folder), 0)
            elif stale:
                size += await _loose_bytes(folder)
        return Freed(what="commits on the worker", count=count, size_bytes=size)

    def _environments(self, kept: Kept) -> Freed:
        marks = (self._state / "environments").glob(f"*/{MARK}")
        age_s = max(kept.environments_s, _USED_S)
        stale = [mark.parent for mark in clearing.older_than(marks, age_s, time.time())]
        size = self._removed(stale, dry_run=kept.dry_run)
        return Freed(what="environments on the worker", count=len(stale), size_bytes=size)

    def _removed(self, folders: list[Path], *, dry_run: bool) -> int:
        """Remove folders by moving each away first, so that nobody finds half of one."""
        if dry_run or not folders:
            return clearing.remove_all(folders, remove, dry_run=True)
        self._fence.check()
        with scratch(self._state / "tmp") as away:

            def take(folder: Path) -> None:
                folder.rename(away / folder.name)

            return clearing.remove_all(folders, take, dry_run=False)


async def _loose_bytes(folder: Path) -> int:
    """Return what the unpacked objects take: an estimate from above of what a repack frees."""
    said = await git("count-objects", "-v", git_dir=folder)
    for line in said.text.splitlines():
        if line.startswith("size: "):
            return int(line[6:]) * 1024
    return 0
