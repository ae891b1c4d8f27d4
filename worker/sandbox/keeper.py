"""Run a command and outlive its stragglers: `keeper.py PROGRAM [ARGUMENT...]`, with the standard library alone.

Where there is no process namespace, a process that leaves its session and loses its parent would be nobody's. On Linux
it becomes the child of this one instead, so that the watchdog still sees it, and it is killed when the command ends.
"""

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Run, kill what is left, and leave with the command's status."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda number, frame: _leave(143))
    child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            _leave(code if code >= 0 else 128 - code)


def _leave(code: int) -> None:
    """Kill children, and those they leave behind, until there is none."""
    while True:
        for pid in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            os._exit(code)


def _children() -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


if __name__ == "__main__":
    main()
