"""Memory that is free goes back to the system; what can be seen of that is the kernel's own count."""

from __future__ import annotations

import asyncio
import ctypes
import subprocess
import sys

import pytest

from tandem import memory

# Blocks of 3 KiB with small ones between them that stay: freed, they leave holes the allocator keeps.
HOLES = """
import ctypes, os, re, sys
from tandem import memory

def own():
    return int(re.search(r"Anonymous: +(\\d+) kB", open("/proc/self/smaps_rollup").read()).group(1)) << 10

library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
library.free.argtypes = (ctypes.c_void_p,)
blocks = [library.malloc(size) for _ in range(2000) for size in (16384, 1040)]
for number, block in enumerate(blocks):
    ctypes.memset(block, 1, 1040 if number % 2 else 16384)
for block in blocks[::2]:
    library.free(block)
before = own()
memory.giver(sys.platform)()
print(before - own())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's count is read from /proc")
def test_holes_between_what_lives_go_back() -> None:
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) > 2000 * 16384 * 0.5


def test_a_c_library_that_knows_no_way_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def poor(name: str | None) -> object:
        del name
        return object()

    monkeypatch.setattr(ctypes, "CDLL", poor)
    assert memory.giver("linux") is None
    assert memory.giver("darwin") is None
    asyncio.run(asyncio.wait_for(memory.keep_small(), 5))
