"""Start a program for as long as it is measured."""

from __future__ import annotations

import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

from tandem.entry import APP_ROOT
from tandem.errors import Unavailable

_LEAVE_S = 30.0


@contextmanager
def running(argv: Sequence[str], env: Mapping[str, str]) -> Generator[str]:
    """Run a program that says one line when it is ready, and yield that line; end the program afterwards.

    Raises:
        Unavailable: It left before it was ready.
    """
    process = subprocess.Popen(argv, env=env, cwd=APP_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise Unavailable(f"{' '.join(argv[1:4])} left with status {process.wait(10)} before it was ready")
        yield line
    finally:
        process.terminate()
        try:
            process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
