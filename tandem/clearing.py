"""Clear folders and bare repositories up, and count what that frees. Shared by both programs' housekeeping."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tandem.git import git

_REPACK_S = 900.0
_YOUNG_S = 3600  # objects of work under way are younger; nothing leads to them yet


def size_of(place: Path) -> int:
    """Return how many bytes a file or folder takes on disk; what vanishes meanwhile counts nothing. Blocking."""
    total = _blocks(place)
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


async def drop_references(git_dir: Path, names: Iterable[str]) -> None:
    """Delete references, all of them or none."""
    orders = "".join(f"delete {name}\n" for name in names)
    if orders:
        await git("update-ref", "--stdin", git_dir=git_dir, stdin=orders.encode())


async def repack(git_dir: Path, *, idle: bool) -> None:
    """Leave objects out that nothing leads to: where work is under way (not `idle`), only those of an hour ago."""
    await git("pack-refs", "--all", git_dir=git_dir)
    expiry = "now" if idle else f"{_YOUNG_S}.seconds.ago"
    await git("repack", "-a", "-d", "-q", "--unpack-unreachable=" + expiry, git_dir=git_dir, timeout_s=_REPACK_S)
    await git("prune", f"--expire={expiry}", git_dir=git_dir, timeout_s=_REPACK_S)


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
