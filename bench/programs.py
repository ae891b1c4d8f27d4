"""Start a program for as long as it is measured."""

from __future__ import annotations

import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

from tandem.entry import APP_ROOT
from tandem.errors import Unavailable

_LEAVE_S = 30.0
_DEAF = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")  # from its first moment: what is ignored stays so across exec


@contextmanager
def running(argv: Sequence[str], env: Mapping[str, str], *, deaf: bool = False) -> Generator[str]:
    """Run a program that says one line when it is ready, and yield that line; end the program afterwards.

    A terminal's Ctrl-C goes to all that was started there. One that is `deaf` leaves it to whoever started it, which ends
    it; a program that knows what to do with it is better told.

    Raises:
        Unavailable: It left before it was ready.
    """
    argv = [*_DEAF, *argv] if deaf else argv
    process = subprocess.Popen(argv, env=env, cwd=APP_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise Unavailable(f"{' '.join(argv[-4:])} left with status {process.wait(10)} before it was ready")
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
