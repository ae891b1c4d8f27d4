"""Clear folders and bare repositories up, and count what that frees. Shared by both programs' housekeeping."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tandem.errors import TandemError
from tandem.git import git

log = logging.getLogger(__name__)

YOUNG_S = 3600.0  # objects of work under way are younger; nothing leads to them yet
_REPACK_S = 900.0
_MARK = "tandem-clearing"  # a file in a Git directory from which something has still to go
# Every git looks through these anew: with 235 packs each took three times as long, and with the 7,000 references of 1,000
# runs a worker's gits took 226 ms of CPU a run where the first took 46.
PACKS_MAX = 32
REFERENCES_MAX = 256
_LOOSE_MAX = 8  # objects in one of the 256 folders they are spread over, so some 2,000 in all
_LOCK = "packed-refs.lock"


def size_of(place: Path) -> int:
    """Return how many bytes a file or folder takes on disk; what vanishes meanwhile counts nothing. Blocking."""
    total = _blocks(place)
    if place.is_symlink():
        return total
    for folder, names, files in os.walk(place):
        total += sum(_blocks(Path(folder, name)) for name in (*names, *files))
    return total


def _blocks(place: Path) -> int:
    with contextlib.suppress(OSError):
        return place.lstat().st_blocks * 512
    return 0


async def references(git_dir: Path, prefix: str) -> list[str]:
    """Return the names of a repository's references that begin with `prefix`."""
    said = await git("for-each-ref", "--format=%(refname)", prefix, git_dir=git_dir)
    return said.text.splitlines()


async def clear(git_dir: Path, stale: Iterable[str], *, before_s: float) -> int:
    """Delete references, then what only they led to and what was written before `before_s` (wall time); return its bytes.

    Cut off anywhere, or where something was too young to go, the next call for this repository goes on with it.
    """
    names = list(stale)
    mark = git_dir / _MARK
    if not names and not mark.exists():
        return 0
    mark.touch(mode=0o600)  # first: from here on there may be objects that nothing leads to
    before = await asyncio.to_thread(size_of, git_dir)
    await drop_references(git_dir, names)
    await _repack(git_dir, before_s)
    if not await loose_bytes(git_dir):
        mark.unlink(missing_ok=True)
    return max(before - await asyncio.to_thread(size_of, git_dir), 0)


async def drop_references(git_dir: Path, names: Iterable[str]) -> None:
    """Delete references, all of them or none."""
    orders = "".join(f"delete {name}\n" for name in names)
    if orders:
        drop_lock(git_dir / _LOCK, _REPACK_S)
        await git("update-ref", "--stdin", git_dir=git_dir, stdin=orders.encode())


async def _repack(git_dir: Path, before_s: float) -> None:
    """Put what is led to into one pack; of the rest, what was written before `before_s` goes, what is newer is loose."""
    drop_lock(git_dir / _LOCK, _REPACK_S)
    await git("pack-refs", "--all", git_dir=git_dir)
    expiry = f"@{int(before_s)} +0000"
    await git("repack", "-a", "-d", "-q", f"--unpack-unreachable={expiry}", git_dir=git_dir, timeout_s=_REPACK_S)
    await git("prune", f"--expire={expiry}", git_dir=git_dir, timeout_s=_REPACK_S)


async def gather(git_dir: Path) -> bool:
    """Put what was written one by one (references, objects, packs) into few files where there is much of it.

    Nothing is lost or removed by that, whatever leads to it, and others may read and write meanwhile. Returns whether it
    was done; where it could not be, everything works on as before, and the log says why.
    """
    try:
        if not await asyncio.to_thread(_scattered, git_dir):
            return False
        drop_lock(git_dir / _LOCK, _REPACK_S)
        await git("pack-refs", "--all", git_dir=git_dir)
        await git("repack", "--geometric=2", "-d", "-q", git_dir=git_dir, timeout_s=_REPACK_S)
    except (TandemError, OSError) as error:
        log.warning("repository could not be packed", extra={"repo": git_dir.name, "why": str(error)})
        return False
    return True


def _scattered(git_dir: Path) -> bool:
    """Return whether a repository's references or objects lie in many files; blocking, some milliseconds."""
    return (
        _count(git_dir / "objects" / "pack", "*.pack") > PACKS_MAX
        or _count(git_dir / "refs", "**/*") > REFERENCES_MAX
        or _count(git_dir / "objects" / "17", "*") > _LOOSE_MAX
    )


def _count(folder: Path, pattern: str) -> int:
    return sum(1 for _ in folder.glob(pattern))


def drop_lock(lock: Path, age_s: float) -> None:
    """Remove the lock of a git that was killed: a living one holds it for less than `age_s`."""
    with contextlib.suppress(OSError):
        if time.time() - lock.stat().st_mtime > age_s:
            lock.unlink()


async def loose_bytes(git_dir: Path) -> int:
    """Return what the objects take that are in no pack."""
    said = await git("count-objects", "-v", git_dir=git_dir)
    found = dict(line.split(": ", 1) for line in said.text.splitlines() if ": " in line)
    return int(found.get("size", 0)) * 1024


def older_than(paths: Iterable[Path], age_s: float, now_s: float) -> list[Path]:
    """Return the paths that were last changed longer ago than `age_s`."""
    found: list[Path] = []
    for path in paths:
        with contextlib.suppress(OSError):
            if now_s - path.stat().st_mtime > age_s:
                found.append(path)
    return found


def remove_all(paths: Sequence[Path], remove: Callable[[Path], None], *, dry_run: bool) -> int:
    """Remove what `paths` name and return how many bytes that frees, or would. Blocking."""
    total = 0
    for path in paths:
        total += size_of(path)
        if not dry_run:
            remove(path)
    return total
