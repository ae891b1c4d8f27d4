"""The allocator is set as it says, seen in what the C library itself counts; and imports are not searched for garbage."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys

import pytest

from tandem import memory

# A large block that was freed makes glibc take the next ones from its heap; blocks of threads come from heaps of theirs.
PROGRAM = """
import ctypes, sys, threading
from tandem import memory

if sys.argv[1] == "set":
    assert memory.stay_compact()
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
library.free.argtypes = (ctypes.c_void_p,)

def mapped():  # blocks that the system gave for themselves: the fifth number of glibc's mallinfo2
    class Info(ctypes.Structure):
        _fields_ = [(f"n{number}", ctypes.c_size_t) for number in range(10)]
    library.mallinfo2.restype = Info
    return library.mallinfo2().n3

library.free(library.malloc(4 << 20))
before = mapped()
blocks = [library.malloc(1 << 20) for _ in range(10)]
found = mapped() - before
addresses = []
threads = [threading.Thread(target=lambda: addresses.append(library.malloc(1000) >> 26)) for _ in range(4)]
main = library.malloc(1000) >> 26  # a thread's heap is 64 MiB, and begins where that is a round number
for thread in threads:
    thread.start()
    thread.join()
print(found, set(addresses) == {main})
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="these settings are glibc's")
@pytest.mark.parametrize(("how", "seen"), [("set", "10 True"), ("not set", "0 False")])
def test_large_blocks_are_the_systems_and_threads_share_one_heap(how: str, seen: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == (seen, "")


def test_a_c_library_that_has_no_such_settings_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def poor(name: str | None) -> object:
        del name
        return object()

    monkeypatch.setattr(ctypes, "CDLL", poor)
    assert not memory.stay_compact()


def test_while_nothing_is_garbage_nothing_is_collected_and_what_is_there_is_left_alone() -> None:
    collected: list[str] = []

    def note(phase: str, info: dict[str, int]) -> None:
        collected.append(phase)

    gc.callbacks.append(note)
    frozen = gc.get_freeze_count()
    try:
        with memory.no_garbage():
            kept = [[number] for number in range(5000)]
            assert (collected, gc.isenabled()) == ([], False)
        assert gc.isenabled()
        assert gc.get_freeze_count() - frozen >= len(kept)
    finally:
        gc.callbacks.remove(note)
        gc.unfreeze()
