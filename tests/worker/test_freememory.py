import sys
from pathlib import Path

import pytest

from worker.freememory import free_bytes, from_meminfo, from_vm_stat

VM_STAT = """\
Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               11284.
Pages active:                            430912.
Pages inactive:                          423457.
Pages speculative:                         6143.
Pages throttled:                              0.
Pages wired down:                        138820.
Pages purgeable:                           2713.
"Translation faults":                 986514229.
Pages copy-on-write:                   40231277.
File-backed pages:                       220941.
Anonymous pages:                         639571.
Pages stored in compressor:                   0.
Pages occupied by compressor:                 0.
"""
MEMINFO = "MemTotal:       65836400 kB\nMemFree:          812344 kB\nMemAvailable:   41231480 kB\nBuffers:  12 kB\n"


def test_macos_gives_away_what_is_free_speculative_inactive_and_purgeable() -> None:
    assert from_vm_stat(VM_STAT) == 16384 * (11284 + 6143 + 423457 + 2713)


def test_linux_says_what_is_available() -> None:
    assert from_meminfo(MEMINFO) == 41231480 * 1024


@pytest.mark.parametrize("text", ["", "vm_stat: command not found", "Pages free: many.", "MemAvailable: much"])
def test_what_is_in_another_form_is_unknown_rather_than_nothing(text: str) -> None:
    assert from_vm_stat(text) is None
    assert from_meminfo(text) is None


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_this_machine_has_some_and_not_more_than_it_has_in_all() -> None:
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert 0 < (free_bytes() or 0) < total
