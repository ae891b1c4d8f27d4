"""A file that is locked: as long as a process lives, and says which one, or for a moment, in turns.

The lock is the kernel's (flock), so it is gone with the process, however that ends. A worker that no router started, but
a service manager or a person, holds one in its state folder; a router that sees it starts none of its own. A router holds
one in its own folder; a person's worker that sees it leaves that router's worker alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Generator
from pathlib import Path

from tandem import disk
from tandem.errors import AlreadyRunning, TandemError

SERVICE = "service.lock"  # in a worker's state folder
ROUTER = "router.lock"  # in a machine's
_LOOK_S = 0.02
_LOOKS = 5  # before a lock counts as held: whoever asks for its owner has it for a moment, too


def hold(path: Path) -> int:
    """Lock `path` for this process and return the descriptor, which is to stay open.

    Raises:
        AlreadyRunning: Another process holds it; the message names that.
        BadConfig, DiskFull: It cannot be written.
    """
    with disk.watched("a lock could not be taken", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            for _ in range(_LOOKS):
                if _is_taken(descriptor):
                    break
                time.sleep(_LOOK_S)
            else:
                raise AlreadyRunning(f"process {owner(path) or '?'} holds {path} already; stop that one first")
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def owner(path: Path) -> str:
    """Return the id of the process that holds `path`, "unknown" where it has not signed, or nothing where none does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
    except OSError:
        return ""  # a file system without locks
    finally:
        os.close(descriptor)
    return ""


@contextlib.contextmanager
def in_turn(path: Path, wait_s: float, busy: TandemError) -> Generator[None]:
    """Be the only one who holds `path`, once whoever else does is done with it.

    Raises:
        TandemError: `busy`, where that took longer than `wait_s`.
        OSError: It cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        until = time.monotonic() + wait_s
        while not _is_taken(descriptor):
            if time.monotonic() > until:
                raise busy
            time.sleep(_LOOK_S)
        yield
    finally:
        os.close(descriptor)


def _is_taken(descriptor: int) -> bool:
    """Take a lock that is free."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
