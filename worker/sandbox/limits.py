"""What a command may use at once, as the kernel counts it."""

from __future__ import annotations

from tandem.types import Limits

FILE_BYTES_MAX = 2 << 30  # one file that a test writes
_TASKS_PER_PROCESS = 4  # the kernel counts threads, a limit counts processes: Node has a dozen, most programs one


def tasks(limits: Limits) -> int:
    """Return how many processes and threads together are refused at once; the watchdog counts processes."""
    return _TASKS_PER_PROCESS * limits.processes


def memory(limits: Limits) -> int:
    """Return how many bytes are refused at once."""
    return limits.memory_bytes
