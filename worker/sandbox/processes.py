"""The processes below one, and what each weighs: from `/proc`, or from `ps` where there is none."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_PAGE = os.sysconf("SC_PAGE_SIZE")


class One(NamedTuple):
    """A process. `started` tells it from a later one with the same number."""

    pid: int
    parent: int
    resident_bytes: int
    started: str
    zombie: bool


def tree(root: int) -> list[One]:
    """Return the process `root` and everything below it; blocking, a few milliseconds."""
    by_parent: dict[int, list[One]] = {}
    found: list[One] = []
    for one in _all():
        by_parent.setdefault(one.parent, []).append(one)
        if one.pid == root:
            found.append(one)
    for one in found:  # grows while it is walked
        found.extend(by_parent.get(one.pid, ()))
    return found


def alive(seen: Iterable[One]) -> list[One]:
    """Return those of `seen` that still run."""
    wanted = {(one.pid, one.started) for one in seen}
    return [one for one in _all() if (one.pid, one.started) in wanted and not one.zombie]


def kill(pids: Iterable[int]) -> None:
    """Kill processes that were seen a moment ago."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _all() -> Iterator[One]:
    return _from_proc() if sys.platform == "linux" else _from_ps()


def _from_proc() -> Iterator[One]:
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        resident_bytes = int(fields[21]) * _PAGE
        yield One(int(entry.name), int(fields[1]), resident_bytes, fields[19].decode(), fields[0] in (b"Z", b"X"))


def _from_ps() -> Iterator[One]:
    argv = ["/bin/ps", "-A", "-o", "pid=,ppid=,rss=,stat=,lstart="]
    listing = subprocess.run(argv, capture_output=True, text=True, check=False)
    for line in listing.stdout.splitlines():
        pid, parent, kib, state, started = line.split(maxsplit=4)
        yield One(int(pid), int(parent), int(kib) * 1024, started, state.startswith("Z"))
