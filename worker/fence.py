"""One worker at a time over a state folder: the newest. An older one that wakes again is refused, by itself.

A worker that was stopped, by a lid that closed or a debugger, does not know what happened meanwhile; its router may have
started another in its place. Each worker takes a number at its start, larger than all before, and looks before everything
it does to what they share whether its number still stands.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tandem import disk
from tandem.errors import BadConfig, Unreachable

_NAME = "fence"
_DIGITS_MAX = 18
_NUMBER_MAX = 10**_DIGITS_MAX - 1  # nobody counts so far; a file that says more was spoiled
_BYTES_MAX = 20  # of the file


class Fence:
    """A worker's number. `Fence.take` at its start; `check` before each effect."""

    def __init__(self, path: Path, number: int) -> None:
        self._path = path
        self.number = number

    @classmethod
    def take(cls, state: Path) -> Fence:
        """Take the next number; from now on every earlier worker is fenced off.

        Raises:
            DiskFull, BadConfig: The folder cannot be written.
        """
        path = state / _NAME
        try:
            with disk.watched("the worker could not start", path):
                return cls(path, _next(path))
        except OSError as error:  # a link, a folder: not what we left there
            raise BadConfig(f"the worker could not start: {path}: {error.strerror}; move it away") from error

    @property
    def holds(self) -> bool:
        """Return whether no later worker has started."""
        try:
            return _number(self._path.read_bytes()[:_BYTES_MAX]) == self.number
        except OSError:
            return False  # the folder is gone, and what is there is not ours any more

    def check(self) -> None:
        """Refuse where a later worker has started.

        Raises:
            Unreachable: One has; whoever asked is to ask that one.
        """
        if not self.holds:
            raise Unreachable(f"this worker (number {self.number}) was replaced by a later one, and does nothing more")


def _next(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        number = _number(os.pread(descriptor, _BYTES_MAX, 0)) % _NUMBER_MAX + 1
        os.pwrite(descriptor, f"{number}\n".encode(), 0)
        os.fsync(descriptor)
        return number
    finally:
        os.close(descriptor)


def _number(raw: bytes) -> int:
    """Return the number in a file, 0 where there is none, or one that nobody has counted to."""
    text = raw.partition(b"\n")[0].strip()
    return int(text) if text.isdigit() and len(text) <= _DIGITS_MAX else 0
