"""Room on a person's disk: asked for before a delivery, and given back where a merge broke off for want of it.

Git fills a checkout file by file. Where the disk is full in the middle, some are new, one is cut off, and no reference has
moved: the person would find changes they never made.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from router.repository.objects import Store
from tandem import disk
from tandem.git import user_git
from tandem.types import CommitId


async def must_have_room(store: Store, root: Path, commit: CommitId) -> None:
    """Refuse to begin where what a commit changes would not fit: once as objects, once as files, and some to spare.

    Raises:
        DiskFull: It would not; nothing was written.
    """
    listed = await store.run("diff-tree", "-r", "-z", "--root", "--no-commit-id", "--diff-filter=d", commit)
    blobs = [about.split()[3] for about in listed.text.split("\0")[::2] if about]
    sizes = await store.run("cat-file", "--batch-check=%(objectsize)", stdin="".join(f"{b}\n" for b in blobs).encode())
    needed = 2 * sum(int(size) for size in sizes.text.split() if size.isdigit()) + disk.NEEDED_BYTES
    disk.must_have_room("nothing was delivered", root, needed)


@dataclass(frozen=True, slots=True)
class Written:
    """What a merge may write into a checkout: files that are not there before it, and how those are that Git knows."""

    new: tuple[Path, ...]
    known: Mapping[bytes, tuple[int, int, int] | None]
    lock: Path  # of the index; a git that is killed leaves it


async def to_be_written(root: Path, base: CommitId, commit: CommitId) -> Written:
    """Return what a merge from `base` to `commit` may write; a file of the person's own is never in it."""
    listed = await user_git(
        "diff-tree", "-r", "-z", "--no-renames", "--name-status", base, commit, "--", checkout=root, check=False
    )
    fields = listed.stdout.split(b"\0")
    changes = list(zip(fields[::2], fields[1::2], strict=False))
    added = [Path(os.fsdecode(path)) for status, path in changes if status == b"A"]
    lock = await user_git("rev-parse", "--git-path", "index.lock", checkout=root)
    return Written(
        lock=root / lock.text.strip(),
        new=tuple(path for path in added if not os.path.lexists(root / path)),
        known={path: _looks(root, path) for status, path in changes if status != b"A"},
    )


async def put_back(root: Path, written: Written, *, killed: bool = False) -> None:
    """Take back what a merge wrote before it broke off, in a checkout it had just found clean.

    The index is still as it was, so it knows what stood there; what was not there before is the merge's work. What looks
    as it did is left alone: Git may have been told not to look at changes of the person's own.
    """
    if killed:
        written.lock.unlink(missing_ok=True)  # it was the merge's: with another's, the merge would have ended by itself
    for path in written.new:
        _remove(root, path)
    stdin = b"".join(path + b"\0" for path, before in written.known.items() if _looks(root, path) != before)
    await user_git("checkout-index", "-f", "-z", "--stdin", checkout=root, stdin=stdin, check=False)


def _looks(root: Path, path: bytes) -> tuple[int, int, int] | None:
    """Return what tells whether a file was written: its inode, size and time of change; None where it is not there."""
    try:
        about = os.lstat(root / os.fsdecode(path))
    except OSError:
        return None
    return about.st_ino, about.st_size, about.st_mtime_ns


def _remove(root: Path, path: Path) -> None:
    """Remove a file and the folders that are empty without it; never through a link."""
    folder = root / path.parent
    if os.path.realpath(folder) != str(folder):
        return
    with contextlib.suppress(OSError):
        (root / path).unlink()
        for above in path.parents[:-1]:
            (root / above).rmdir()
