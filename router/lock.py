"""One router for one state folder: a file that is locked as long as the process lives.

The lock is the kernel's (flock), so it is gone with the process, however that ends; the process id in the file is only
for people to read.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tandem import disk, held
from tandem.errors import AlreadyRunning, BadConfig

LOCK_NAME = held.ROUTER
_TRIES = 8


class StateLock:
    """The right to be the router of a state folder. Take with `StateLock.take`, end with `release`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, state: Path) -> StateLock:
        """Lock `state`.

        Raises:
            AlreadyRunning: Another router has it; the message names its process id.
            BadConfig: The file cannot be written.
            DiskFull: There is no room for a process id.
        """
        path = state / LOCK_NAME
        for _ in range(_TRIES):
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except OSError as error:
                raise BadConfig(f"cannot write {path}: {error.strerror}; set TANDEM_STATE to another folder") from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
                os.close(descriptor)
                raise AlreadyRunning(
                    f"a router with process id {owner} runs on {state} already; use it, or stop it with `tandem down`"
                ) from None
            except OSError as error:
                os.close(descriptor)
                raise BadConfig(f"cannot lock {path}: {error.strerror}; set TANDEM_STATE to a local disk") from error
            if _same_file(path, descriptor):
                _sign(path, descriptor)
                return cls(path, descriptor)
            os.close(descriptor)  # its last owner removed the file between our open and our lock
        raise BadConfig(f"{path} changes under us; is something removing files in {state}?")

    def release(self) -> None:
        """Remove the file, then let go of the lock; in that order nobody can hold a lock on a removed file."""
        if _same_file(self.path, self._descriptor):
            self.path.unlink()
        os.close(self._descriptor)


def _sign(path: Path, descriptor: int) -> None:
    try:
        with disk.watched("the router could not start", path):
            os.truncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
    except BaseException:
        os.close(descriptor)
        raise


def _same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
