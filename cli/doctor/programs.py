"""Ask a program of the system and take its words, or nothing: one that is missing or hangs must not stop the doctor."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

ASK_S = 10.0


def words_of(argv: Sequence[str], *, cwd: Path | None = None, wait_s: float = ASK_S) -> str | None:
    """Return what a program printed, also where it failed; None where it is missing or took longer than `wait_s`."""
    try:
        done = subprocess.run(
            list(argv), cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, timeout=wait_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace")


def succeeds(argv: Sequence[str], *, wait_s: float = ASK_S) -> tuple[bool, str] | None:
    """Return whether a program ended well, and what it printed; None where it is not there."""
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=wait_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False, f"no answer within {wait_s:g} s"
    except OSError:
        return None
    return done.returncode == 0, done.stdout.decode("utf-8", "replace").strip()
