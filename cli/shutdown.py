"""Have the router of this user's state folder leave, and wait until its process has."""

from __future__ import annotations

import contextlib
import os
import time

from cli.client import Client, NoRouter
from cli.launch import client, spinner
from cli.render.loose import whole
from tandem.errors import TandemError, Unavailable

_DOWN_S = 20.0


def shut_down() -> int | None:
    """Ask the router to leave, wait until its process has, and return the process's id; None where none ran.

    Raises:
        Unavailable: It is still there after `_DOWN_S`.
    """
    found, pid = client(), 0
    try:
        with contextlib.suppress(TandemError), spinner("asking the router"):
            pid = whole(found.get("/v1/status", read_s=15), "pid")  # one that could not start tells no id
        found.post("/v1/shutdown", read_s=15)
    except NoRouter:
        return pid or None
    with spinner("the router is leaving"):
        until = time.monotonic() + _DOWN_S
        while time.monotonic() < until:
            if not _answers(found) and not (pid and _alive(pid)):
                return pid
            time.sleep(0.05)
    raise Unavailable(f"the router (process {pid or '?'}) has not left within {_DOWN_S:.0f} s; `kill {pid or 'PID'}`")


def _answers(found: Client) -> bool:
    try:
        found.get("/v1/status", read_s=5)
    except NoRouter:
        return False
    except TandemError:
        return True
    return True


def _alive(pid: int) -> bool:
    try:
        done, _ = os.waitpid(pid, os.WNOHANG)  # where this command started it, it would stay a zombie
        if done:
            return False
    except ChildProcessError:
        pass  # somebody else's child, as usual
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
