"""What is said and done where a disk is full, or may not be written."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tandem.errors import BadConfig, DiskFull, TandemError

if TYPE_CHECKING:
    import sqlite3

NEEDED_BYTES = 16 << 20  # free, for work to begin or to go on: a tree, a report and a pack of a common size
_LITTLE_BYTES = 1 << 20  # with less than that free, a write that failed failed for want of room
FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
_CLOSED = frozenset((errno.EROFS, errno.EACCES, errno.EPERM))
_WORDS = ("No space left on device", "Out of diskspace", "Disk quota exceeded", "database or disk is full")


def free_bytes(place: Path) -> int:
    """Return how many bytes an ordinary user may still write where `place`, or the nearest folder above it, is."""
    for folder in (place, *place.parents):
        with contextlib.suppress(OSError, ValueError):  # not there, or no name at all
            about = os.statvfs(folder)
            return about.f_bavail * about.f_frsize
    return 0


def has_little(place: Path) -> bool:
    """Return whether there is no room to speak of."""
    return free_bytes(place) < _LITTLE_BYTES


def full(what: str, place: Path) -> DiskFull:
    """Return the error for a full disk: what could not be done, where, and how much is free there."""
    return DiskFull(
        f"{what}: the disk that holds {place} is full ({free_bytes(place) / 1e6:.1f} MB free); free some space there, "
        "and the work goes on by itself"
    )


def trouble(error: OSError, what: str, place: Path) -> TandemError | None:
    """Return our error for one of the system's, or None where it is not about the disk."""
    if error.errno in FULL:
        return full(what, place)
    if error.errno in _CLOSED:
        where = error.filename or place
        return BadConfig(
            f"{what}: {where} may not be written ({error.strerror}); change its rights, or set TANDEM_STATE"
        )
    return None


@contextmanager
def watched(what: str, place: Path) -> Generator[None]:
    """Turn the system's errors about a disk into ours.

    Raises:
        DiskFull: There is no room.
        BadConfig: It may not be written.
    """
    try:
        yield
    except OSError as error:
        found = trouble(error, what, place)
        if found is None:
            raise
        raise found from error


def is_full(words: str | sqlite3.Error, place: Path | None = None) -> bool:
    """Return whether a program's last words, Git's or SQLite's, say that the disk is full.

    Of some files Git says only that it could not write them; how much is free at `place` then tells why.
    """
    text = str(words)
    if any(known in text for known in _WORDS):
        return True
    return place is not None and "write" in text and has_little(place)


def must_have_room(what: str, place: Path, needed_bytes: int = NEEDED_BYTES) -> None:
    """Refuse to begin where too little is free.

    Raises:
        DiskFull: Less than `needed_bytes` is.
    """
    if free_bytes(place) < needed_bytes:
        raise full(what, place)


def replace_file(file: Path, content: bytes) -> None:
    """Write an owner-only file as a whole: after a power cut it is the old one or the new one."""
    fresh = file.with_name(f".{file.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(descriptor)
        fresh.replace(file)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Have a folder's list of names on disk, so that a file renamed into it survives a power cut."""
    with contextlib.suppress(OSError):  # some file systems cannot
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
