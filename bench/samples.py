"""What two processes and their state folder hold at one moment. Read from the system, never from the processes.

On Linux from `/proc`; elsewhere from `ps`, which tells less. Memory is the proportional share (Pss) where the system knows
it, else what is resident. A share shrinks when other programs map the same libraries, so a process's own memory, which is
nobody's file, stands beside it where the system tells.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.processes import children, cpu_ms, resident_bytes
from tandem.clearing import size_of
from tandem.git import command, environment

_GIT_S = 60.0
_TICKS_S = os.sysconf("SC_CLK_TCK")
LINUX = sys.platform == "linux"
MEMORY = "proportional share (Pss)" if LINUX else "resident (RSS)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a process holds, and the CPU time it and its children that ended have used since its start.

    None where the system does not tell.
    """

    pid: int
    memory_bytes: int
    own_bytes: int | None
    descriptors: int | None
    threads: int
    children: int
    cpu_ms: float
    children_cpu_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a state folder holds, in bytes on disk and in numbers of files and Git references."""

    journal_bytes: int
    log_bytes: int
    record_bytes: int
    git_bytes: int
    state_bytes: int
    files: int
    packs: int
    references: int


def held(pid: int, *, without: Iterable[int] = ()) -> Held:
    """Return what a process holds now; `without` are children of it that are counted on their own."""
    memory = _memory_bytes(pid)
    return Held(
        pid=pid,
        memory_bytes=memory.get("Pss") or resident_bytes(pid),
        own_bytes=memory.get("Anonymous"),
        descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())) if LINUX else None,
        threads=_threads(pid),
        children=len(set(children(pid)) - set(without)),
        cpu_ms=cpu_ms(pid),
        children_cpu_ms=_children_cpu_ms(pid),
    )


def _memory_bytes(pid: int) -> dict[str, int]:
    """Return what the kernel tells of a process's memory, in its words; nothing where it tells nothing."""
    if not LINUX:
        return {}
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()[1:]
    return {name: int(size.split()[0]) * 1024 for name, _, size in (row.partition(":") for row in rows)}


def _children_cpu_ms(pid: int) -> float | None:
    if not LINUX:
        return None
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) * 1000 / _TICKS_S


def _threads(pid: int) -> int:
    if LINUX:
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    listing = subprocess.run(["ps", "-M", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return max(len(listing.splitlines()) - 1, 0)


def kept(state: Path) -> Kept:
    """Return what a router's state folder holds now, its worker's part with it; what vanishes meanwhile counts nothing."""
    repositories = [*state.glob("git/*.git"), *state.glob("worker/git/*.git")]
    return Kept(
        journal_bytes=_sizes(state.glob("journal.db*")),
        log_bytes=_sizes([*state.glob("logs/*"), *state.glob("worker/logs/*")]),
        record_bytes=_sizes(state.glob("flight/*")),
        git_bytes=sum(size_of(folder) for folder in repositories),
        state_bytes=size_of(state),
        files=sum(len(files) for _, _, files in os.walk(state)),
        packs=sum(1 for folder in repositories for _ in folder.glob("objects/pack/*.pack")),
        references=sum(map(_references, repositories)),
    )


def _sizes(paths: Iterable[Path]) -> int:
    total = 0
    for path in paths:
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total


def _references(git_dir: Path) -> int:
    done = subprocess.run(
        command("for-each-ref", "--format=x"),
        capture_output=True,
        timeout=_GIT_S,
        check=False,
        env=environment(git_dir),
    )
    return done.stdout.count(b"\n")
