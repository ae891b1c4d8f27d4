"""The processes below one, and what each weighs: from `/proc`, or from `ps` where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PAGE = os.sysconf("SC_PAGE_SIZE")


class One(NamedTuple):
    """A process."""

    pid: int
    parent: int
    resident_bytes: int


def tree(root: int) -> list[One]:
    """Return the process `root` and everything below it; blocking, a few milliseconds."""
    by_parent: dict[int, list[One]] = {}
    found: list[One] = []
    for one in _from_proc() if sys.platform == "linux" else _from_ps():
        by_parent.setdefault(one.parent, []).append(one)
        if one.pid == root:
            found.append(one)
    for one in found:  # grows while it is walked
        found.extend(by_parent.get(one.pid, ()))
    return found


def _from_proc() -> Iterator[One]:
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        yield One(int(entry.name), int(fields[1]), int(fields[21]) * _PAGE)


def _from_ps() -> Iterator[One]:
    listing = subprocess.run(["/bin/ps", "-A", "-o", "pid=,ppid=,rss="], capture_output=True, text=True, check=False)
    for line in listing.stdout.splitlines():
        pid, parent, kib = (int(part) for part in line.split()[:3])
        yield One(pid, parent, kib * 1024)
