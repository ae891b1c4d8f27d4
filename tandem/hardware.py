"""What this machine is made of, as far as a model cares: chip, memory, how much of it a GPU may wire, room on the disk.

macOS is asked with sysctl, Linux by /proc. What the system does not say is None, never a guess.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from tandem import disk
from tandem.addresses import is_here
from tandem.paths import home_dir
from tandem.types import Hardware

_NAMES = ("machdep.cpu.brand_string", "hw.memsize", "iogpu.wired_limit_mb")
_GIB = 1 << 30
_SMALL_BYTES = 32 * _GIB
_ASK_S = 5.0
AGAIN_S = 30.0


def here(ollama_url: str = "") -> Hardware:
    """Return what this machine is made of, and its room for models where the Ollama at that address is here. Blocking."""
    if sys.platform == "darwin":
        made = mac(_sysctl())
    else:
        made = linux(_read("/proc/meminfo"), _read("/proc/cpuinfo"))
    return replace(made, room_bytes=_room_bytes(ollama_url))


class Lately:
    """What this machine is made of, asked for again now and then: the wired limit may be raised, and a disk fills."""

    def __init__(self, ollama_url: str) -> None:
        self._ollama_url = ollama_url
        self._told: tuple[float, Hardware] | None = None

    def here(self) -> Hardware:
        """Return what it was made of at most `AGAIN_S` ago. Blocking."""
        now_s = time.monotonic()
        if self._told is None or now_s - self._told[0] > AGAIN_S:
            self._told = now_s, here(self._ollama_url)
        return self._told[1]


def mac(told: Mapping[str, str]) -> Hardware:
    """Return a Mac's hardware from what sysctl said, by name."""
    memory = _number(told.get("hw.memsize", ""))
    set_mib = _number(told.get("iogpu.wired_limit_mb", "")) or 0
    chip = told.get("machdep.cpu.brand_string") or None
    if set_mib:
        limit = f"iogpu.wired_limit_mb = {set_mib}"
        return Hardware(system="macOS", chip=chip, memory_bytes=memory, model_bytes=set_mib << 20, limit=limit)
    wired = None if memory is None else wired_by_default(memory)
    limit = "macOS' own limit on what a GPU may wire, estimated"
    return Hardware(system="macOS", chip=chip, memory_bytes=memory, model_bytes=wired, limit=limit)


def wired_by_default(memory_bytes: int) -> int:
    """Return about how much memory macOS lets a GPU wire where `iogpu.wired_limit_mb` is 0.

    Metal said two thirds of it on Macs of 16 and 32 GB, three quarters on 64 and 96 GB (logs in llama.cpp's issues
    2011, 1870, 3213). Between 32 and 64 GB the smaller share is taken; a newer macOS allows some more.
    """
    return memory_bytes * 3 // 4 if memory_bytes >= 2 * _SMALL_BYTES else memory_bytes * 2 // 3


def linux(meminfo: str, cpuinfo: str) -> Hardware:
    """Return a Linux machine's hardware from the texts of /proc/meminfo and /proc/cpuinfo; a GPU is not looked at."""
    found = re.search(r"(?m)^MemTotal:\s+(\d+) kB", meminfo)
    memory = int(found[1]) << 10 if found else None
    chip = re.search(r"(?m)^model name\s*:\s*(.+)$", cpuinfo)
    return Hardware(
        system="Linux",
        chip=chip[1].strip() if chip else platform.machine() or None,
        memory_bytes=memory,
        model_bytes=memory,
        limit="the machine's memory; a GPU of its own is not looked at",
    )


def parsed(sysctl: str) -> dict[str, str]:
    """Return the values sysctl printed as `name: value`, by name."""
    pairs = (line.partition(":") for line in sysctl.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs if value.strip()}


def _sysctl() -> dict[str, str]:
    try:
        done = subprocess.run(["sysctl", "-i", *_NAMES], capture_output=True, text=True, timeout=_ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return parsed(done.stdout)


def _room_bytes(ollama_url: str) -> int | None:
    """Return what is free where Ollama keeps its models; None where it runs on another machine."""
    try:
        if not is_here(urlsplit(ollama_url)):
            return None
    except ValueError:
        return None
    return disk.free_bytes(Path(os.environ.get("OLLAMA_MODELS") or home_dir() / ".ollama" / "models"))


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""
