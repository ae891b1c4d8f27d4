"""What is kept of an upgrade in the state folder: who carries one out, where a step was begun, and what became of it.

Three owner-only files. The lock is the kernel's; it ends with its process, and where that was killed while it had the
checkout set up, with that set-up: two at once would spoil each other's work. The step stays until all of it is done, so
that one that was cut off can be told and gone on with; the outcome is what a router that asked for it is answered.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tandem import disk, held
from tandem.errors import AlreadyRunning, Conflict
from tandem.paths import private_dir

State = Literal["running", "done", "failed"]
_LOCK, _BEGUN, _OUTCOME = "upgrade.lock", "upgrade.begun.json", "upgrade.outcome.json"
_BYTES_MAX = 1 << 16


class Begun(BaseModel):
    """A checkout is being moved from one commit to another."""

    model_config = ConfigDict(frozen=True)
    old: str
    new: str


class Outcome(BaseModel):
    """What became of an upgrade that a router asked for; `words` say what is done now, or why it failed."""

    model_config = ConfigDict(frozen=True)
    commit: str
    state: State
    words: str
    time_s: float  # since 1970


_M = TypeVar("_M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Lock:
    """The right to upgrade this machine. A process that is given the descriptor has it as long as it lives, too."""

    descriptor: int

    def shared(self, process: int) -> None:
        """Have the lock name a process that was given the descriptor, after the one that gave it."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{os.getpid()}\n{process}\n".encode(), 0)


@contextlib.contextmanager
def alone(home: Path) -> Generator[Lock]:
    """Be the only one who upgrades this machine.

    Raises:
        Conflict: Another process does.
    """
    try:
        descriptor = held.hold(private_dir(home) / _LOCK)
    except AlreadyRunning:
        raise under_way(owner(home)) from None
    try:
        yield Lock(descriptor)
    finally:
        os.close(descriptor)


def owner(home: Path) -> str:
    """Return which process upgrades this machine, in words that begin with its id; "" where none does."""
    first, *others = held.owner(home / _LOCK).split() or [""]
    if not others or _lives(first):
        return first
    return f"{others[-1]}, the set-up that process {first} began before it was ended"


def _lives(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        pass
    return True


def under_way(process: str) -> Conflict:
    """Return the error for a second upgrade at once."""
    return Conflict(f"an upgrade is under way (process {process or 'unknown'}); wait until it is done")


def begun(home: Path) -> Begun | None:
    """Return the step that was begun and not ended, if there is one."""
    return _read(home / _BEGUN, Begun)


def begin(home: Path, step: Begun) -> None:
    """Note that a step begins."""
    _write(home / _BEGUN, step)


def end(home: Path) -> None:
    """Note that nothing is left to do of a step."""
    (home / _BEGUN).unlink(missing_ok=True)


def outcome(home: Path) -> Outcome | None:
    """Return what became of the last upgrade that a router asked for."""
    return _read(home / _OUTCOME, Outcome)


def tell(home: Path, now: Outcome) -> None:
    """Note what becomes of an upgrade that a router asked for."""
    _write(home / _OUTCOME, now)


def _read(file: Path, kind: type[_M]) -> _M | None:
    try:
        with file.open("rb") as source:
            return kind.model_validate_json(source.read(_BYTES_MAX))
    except (OSError, ValidationError):
        return None


def _write(file: Path, value: BaseModel) -> None:
    with disk.watched("an upgrade could not be noted", file):
        disk.replace_file(file, value.model_dump_json().encode())
