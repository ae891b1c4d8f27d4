"""A control group for each run, where one can be made: the kernel refuses what is too much, at once and whoever asks.

Both versions are known. With the second, a folder is taken in which this user may make groups and which hands on
`memory` and `pids`: that of the worker itself or the nearest above (a service with `Delegate=yes`, a desktop's session).
With the first, one folder for each of the two. A group is locked while it is used; what a killed worker left is removed at
the next start.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tandem.types import Limits
from worker.sandbox.limits import memory, tasks

PREFIX = "tandem-box-"
_WANTED = ("memory", "pids")
_GONE_S = 5.0
# The names of the same thing in either version.
_MEMORY = {1: "memory.limit_in_bytes", 2: "memory.max"}
_SWAP = {1: "memory.memsw.limit_in_bytes", 2: "memory.swap.max"}
_KILLED = {1: "memory.oom_control", 2: "memory.events"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """Where groups can be made: the folder for each controller, one and the same in version 2."""

    version: Literal[1, 2]
    folders: Mapping[str, Path]


class Group:
    """One run's group. `Group.made` makes it, `remove` ends whatever is in it and takes it away."""

    def __init__(self, version: Literal[1, 2], folders: Mapping[str, Path]) -> None:
        self._version = version
        self._folders = folders
        self._locks = [_lock(place) for place in dict.fromkeys(folders.values())]

    @classmethod
    def made(cls, where: Hierarchy, limits: Limits) -> Group:
        """Make a group with limits.

        Raises:
            OSError: It cannot be made; the hierarchy was taken away meanwhile.
        """
        name = f"{PREFIX}{uuid.uuid4().hex[:16]}"
        folders = {controller: folder / name for controller, folder in where.folders.items()}
        for place in dict.fromkeys(folders.values()):
            place.mkdir()
        group = cls(where.version, folders)
        try:
            group._bound(limits)
        except OSError:
            group.remove()
            raise
        return group

    def _bound(self, limits: Limits) -> None:
        pids, room = self._folders["pids"], self._folders["memory"]
        (pids / "pids.max").write_text(str(tasks(limits)))
        (room / _MEMORY[self._version]).write_text(str(memory(limits)))
        with contextlib.suppress(OSError):  # a kernel without an account of swap
            (room / _SWAP[self._version]).write_text(str(memory(limits)) if self._version == 1 else "0")
        with contextlib.suppress(OSError):  # version 2: one dies, all die
            (room / "memory.oom.group").write_text("1")

    def take(self, pid: int) -> None:
        """Put a process into it, and so all it will start; blocking, some 10 ms: the kernel waits for itself.

        Raises:
            OSError: It is gone, or may not be moved.
        """
        for place in dict.fromkeys(self._folders.values()):
            (place / "cgroup.procs").write_text(str(pid))

    def processes(self) -> list[int]:
        """Return the processes in it."""
        return [int(pid) for pid in (self._folders["pids"] / "cgroup.procs").read_text().split()]

    def refused(self) -> Literal["", "memory", "processes"]:
        """Return which limit the kernel has held something to."""
        if _count(self._folders["memory"] / _KILLED[self._version], "oom_kill"):
            return "memory"
        return "processes" if _count(self._folders["pids"] / "pids.events", "max") else ""

    def remove(self) -> None:
        """Kill what is in it and take it away; blocking, at most some seconds."""
        try:
            for place in dict.fromkeys(self._folders.values()):
                _remove(place)
        finally:
            for lock in self._locks:
                os.close(lock)
            self._locks = []


def find() -> Hierarchy | None:
    """Return where groups can be made that really hold, or None; blocking, a few milliseconds."""
    own, mounted = _own(), _mounted()
    for found in (_second(own, mounted), _first(own, mounted)):
        if found is not None and _works(found):
            return found
    return None


def sweep(where: Hierarchy) -> int:
    """Remove the groups whose worker is gone, and return how many there were; blocking."""
    swept = 0
    for folder in dict.fromkeys(where.folders.values()):
        for place in folder.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):  # in use, or removed by another
                lock = _lock(place)
                try:
                    _remove(place)
                    swept += 1
                finally:
                    os.close(lock)
    return swept


def _works(where: Hierarchy) -> bool:
    try:
        group = Group.made(where, Limits())
        try:
            with subprocess.Popen(("/bin/sleep", "60"), stdin=subprocess.DEVNULL) as trial:
                try:
                    group.take(trial.pid)
                finally:
                    trial.kill()
        finally:
            group.remove()
    except OSError:
        return False
    return True


def _second(own: Mapping[str, str], mounted: Mapping[str, tuple[str, Path]]) -> Hierarchy | None:
    """Return the nearest folder of version 2 whose children have both controllers."""
    if "" not in mounted or "" not in own:
        return None
    top = mounted[""][1]
    for folder in _upwards(_place(own[""], *mounted[""]), top):
        with contextlib.suppress(OSError):
            handed_on = (folder / "cgroup.subtree_control").read_text().split()
            if os.access(folder, os.W_OK) and set(_WANTED) <= set(handed_on):
                return Hierarchy(version=2, folders=dict.fromkeys(_WANTED, folder))
    return None


def _first(own: Mapping[str, str], mounted: Mapping[str, tuple[str, Path]]) -> Hierarchy | None:
    """Return the worker's own folders of version 1."""
    if not all(controller in own and controller in mounted for controller in _WANTED):
        return None
    return Hierarchy(version=1, folders={name: _place(own[name], *mounted[name]) for name in _WANTED})


def _own() -> dict[str, str]:
    """Return the worker's own group by controller; version 2's is under the empty name."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            found |= dict.fromkeys(controllers.split(","), path)
    return found


def _mounted() -> dict[str, tuple[str, Path]]:
    """Return, by controller, the group that a mount shows as its top, and where it is mounted."""
    found: dict[str, tuple[str, Path]] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            root, at = (_plain(word) for word in before.split()[3:5])
            kind, _, options = after.split(" ", 2)
            if kind == "cgroup2":
                found.setdefault("", (root, Path(at)))
            elif kind == "cgroup":
                found |= {name: (root, Path(at)) for name in _WANTED if name in options.split(",")}
    return found


def _plain(word: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), word)


def _place(own: str, root: str, at: Path) -> Path:
    """Return where a group is in the file system; a container's mount may start below the real top."""
    below = own[len(root) :] if root != "/" and own.startswith(root) else own
    place = at / below.strip("/")
    return place if place.is_dir() else at


def _upwards(place: Path, top: Path) -> Iterator[Path]:
    yield place
    while place != top and place != place.parent:
        place = place.parent
        yield place


def _lock(place: Path) -> int:
    """Return a descriptor that says the group is in use.

    Raises:
        OSError: It is in use, or gone.
    """
    lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _remove(place: Path) -> None:
    until = time.monotonic() + _GONE_S
    while True:
        _kill(place)
        try:
            place.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:  # somebody is still in it, and on the way out
            if error.errno != errno.EBUSY or time.monotonic() > until:
                raise
            time.sleep(0.002)
        else:
            return


def _kill(place: Path) -> None:
    with contextlib.suppress(OSError):
        for pid in (place / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(pid), signal.SIGKILL)


def _count(file: Path, name: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in file.read_text().splitlines():
            key, _, number = line.partition(" ")
            if key == name:
                return int(number)
    return 0
