"""Keep the machine awake while runs are at work, and notice when it slept all the same.

A lid that closes puts a Mac to sleep whatever any program asks; so the first is a courtesy, and the second is what counts:
after a sleep every connection is doubted at once instead of when its next call times out. The assertion belongs to a
process of the system's own (`caffeinate`, `systemd-inhibit`) that ends with the router, however that ends.

Not run on a Mac: what `caffeinate -w` does and which clocks stand still there is read, not measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)
TICK_S = 2.0
SLEPT_S = 5.0  # a shorter gap is a busy machine
Which = Callable[[str], str | None]


def command(platform: str, pid: int, which: Which = shutil.which) -> list[str]:
    """Return what keeps a machine awake until it is ended or the process `pid` is gone; empty where nothing can."""
    if platform == "darwin" and (found := which("caffeinate")):
        return [found, "-i", "-s", "-w", str(pid)]  # idle sleep, and system sleep on mains power
    if platform == "linux" and (found := which("systemd-inhibit")) and (tail := which("tail")):
        why = ["--what=sleep:idle", "--who=Tandem", "--why=a run is at work", "--mode=block"]
        return [found, *why, tail, f"--pid={pid}", "-f", os.devnull]
    return []


def slept_s() -> float:
    """Return for how long this machine has slept since it was started: the difference of two clocks.

    One goes on in sleep and one does not. Linux: CLOCK_BOOTTIME and CLOCK_MONOTONIC; macOS: CLOCK_MONOTONIC and
    CLOCK_UPTIME_RAW.
    """
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC) - time.clock_gettime(time.CLOCK_UPTIME_RAW)
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    return 0.0


def gap_s(slept_before_s: float, slept_now_s: float, passed_s: float) -> float:
    """Return for how long nothing moved since the last tick: the machine slept, or this process was stopped."""
    return max(slept_now_s - slept_before_s, passed_s - TICK_S)


class Awake:
    """Holds the machine awake while `at_work` says so; tells `woke` of every gap, in seconds."""

    def __init__(
        self,
        at_work: Callable[[], bool],
        woke: Callable[[float], None],
        *,
        argv: Sequence[str] | None = None,
        clock: Callable[[], float] = slept_s,
    ) -> None:
        self._at_work = at_work
        self._woke = woke
        self._argv = command(sys.platform, os.getpid()) if argv is None else list(argv)
        self._clock = clock
        self._holder: subprocess.Popen[bytes] | None = None

    @property
    def held(self) -> bool:
        """Return whether the machine is kept awake now."""
        return self._holder is not None and self._holder.poll() is None

    async def run(self) -> None:
        """Watch until cancelled; then let the machine sleep again."""
        slept, began_s = self._clock(), time.monotonic()
        try:
            while True:
                self._hold() if self._at_work() else self._release()
                await asyncio.sleep(TICK_S)
                now_slept, now_s = self._clock(), time.monotonic()
                gap = gap_s(slept, now_slept, now_s - began_s)
                slept, began_s = now_slept, now_s
                if gap > SLEPT_S:
                    log.warning("nothing moved for a while", extra={"gap_s": round(gap, 1)})
                    self._woke(gap)
        finally:
            self._release()

    def _hold(self) -> None:
        if self._holder is None and self._argv:
            try:
                self._holder = subprocess.Popen(
                    self._argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            except OSError as error:
                log.warning("machine cannot be kept awake", extra={"why": str(error)})
                self._argv = []
        elif self._holder is not None and self._holder.poll() is not None:
            log.info("machine cannot be kept awake", extra={"status": self._holder.returncode})
            self._holder, self._argv = None, []  # no session to ask, say; once is enough

    def _release(self) -> None:
        """Let the machine sleep; whatever the holder started, such as what `systemd-inhibit` waits for, goes with it."""
        holder, self._holder = self._holder, None
        if holder is not None:
            _end(holder, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                holder.wait(1)
            _end(holder, signal.SIGKILL)
            holder.wait()


def _end(holder: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # gone; the second is how macOS says it
        os.killpg(holder.pid, number)
