"""What is said and done where a disk is full, or may not be written."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tandem.errors import BadConfig, DiskFull, TandemError

NEEDED_BYTES = 16 << 20  # free, for work to begin or to go on: a tree, a report and a pack of a common size
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
_CLOSED = frozenset((errno.EROFS, errno.EACCES, errno.EPERM))


def free_bytes(place: Path) -> int:
    """Return how many bytes an ordinary user may still write where `place`, or the nearest folder above it, is."""
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        about = os.statvfs(place)
    except OSError:
        return 0
    return about.f_bavail * about.f_frsize


def full(what: str, place: Path) -> DiskFull:
    """Return the error for a full disk: what could not be done, where, and how much is free there."""
    return DiskFull(
        f"{what}: the disk that holds {place} is full ({free_bytes(place) / 1e6:.1f} MB free); free some space there, "
        "and the work goes on by itself"
    )


def trouble(error: OSError, what: str, place: Path) -> TandemError | None:
    """Return our error for one of the system's, or None where it is not about the disk."""
    if error.errno in _FULL:
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


def is_full(words: str | sqlite3.Error) -> bool:
    """Return whether a program's last words, Git's or SQLite's, say that the disk is full."""
    text = str(words)
    return "No space left on device" in text or "Disk quota exceeded" in text or "database or disk is full" in text


def must_have_room(what: str, place: Path, needed_bytes: int = NEEDED_BYTES) -> None:
    """Refuse to begin where too little is free.

    Raises:
        DiskFull: Less than `needed_bytes` is.
    """
    if free_bytes(place) < needed_bytes:
        raise full(what, place)


def sync_folder(folder: Path) -> None:
    """Have a folder's list of names on disk, so that a file renamed into it survives a power cut."""
    with contextlib.suppress(OSError):  # some file systems cannot
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
