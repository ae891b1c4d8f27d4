"""CPU time and memory of other processes, as the system accounts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_TICKS_S = os.sysconf("SC_CLK_TCK")


def cpu_ms(pid: int) -> float:
    """Return the CPU time a process has used, its reaped children's not included."""
    if sys.platform == "linux":
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1000 / _TICKS_S
    minutes, _, seconds = _ps(pid, "time").rpartition(":")
    return (int(minutes.split(":")[-1] or 0) * 60 + float(seconds)) * 1000


def resident_bytes(pid: int) -> int:
    """Return the memory a process holds now."""
    return int(_ps(pid, "rss") or 0) * 1024


def children(pid: int) -> list[int]:
    """Return the processes below `pid`, at any depth."""
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(a): int(b) for a, b in (line.split() for line in listing.splitlines())}
    found, fresh = list[int](), [pid]
    while fresh:
        fresh = [child for child, parent in parents.items() if parent in fresh]
        found += fresh
    return found


def _ps(pid: int, field: str) -> str:
    asked = ["ps", "-o", f"{field}=", "-p", str(pid)]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
