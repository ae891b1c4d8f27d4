"""How much memory a program could take on this machine now, as the system itself tells it. Reading is pure.

Linux says so in one number (`MemAvailable`). macOS has none; what `vm_stat` lists as free, speculative, inactive and
purgeable is what it gives away before it compresses or swaps anything in use.
"""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

log = logging.getLogger(__name__)
_VM_STAT_S = 1.0
_GIVEN_AWAY = ("Pages free", "Pages speculative", "Pages inactive", "Pages purgeable")


def free_bytes() -> int | None:
    """Return the bytes a program could take now, None where the system does not tell. Blocking."""
    try:
        if sys.platform == "darwin":
            asked = ["/usr/bin/vm_stat"]
            done = subprocess.run(asked, capture_output=True, text=True, timeout=_VM_STAT_S, check=True)
            return from_vm_stat(done.stdout)
        return from_meminfo(Path("/proc/meminfo").read_text("ascii"))
    except (OSError, UnicodeDecodeError, subprocess.SubprocessError) as error:
        log.debug("free memory unknown", extra={"why": str(error)})
        return None


def from_meminfo(text: str) -> int | None:
    """Return the available bytes in Linux's `/proc/meminfo`, None where it names none."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def from_vm_stat(text: str) -> int | None:
    """Return the bytes macOS would give away, from what `vm_stat` prints; None where it is not in its form."""
    size = re.search(r"page size of (\d+) bytes", text)
    pages = {name: int(count) for name, count in re.findall(r"^(Pages [a-z ]+):\s+(\d+)\.$", text, re.MULTILINE)}
    if size is None or _GIVEN_AWAY[0] not in pages:
        return None
    return int(size[1]) * sum(pages.get(name, 0) for name in _GIVEN_AWAY)
