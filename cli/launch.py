"""Find the router of this user's state folder, or start one and wait until its socket answers.

A started router is detached: a session of its own, standard streams to a private log, working folder `/`. A lock keeps
two commands from starting two. What the router then does is not known here.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from cli.client import Client, NoRouter
from tandem import __version__, disk, held
from tandem.errors import (
    AlreadyRunning,
    BadConfig,
    BrokenJournal,
    Refused,
    ResourceExhausted,
    TandemError,
    Unavailable,
    VersionSkew,
)
from tandem.paths import config_path, private_dir, socket_path, state_dir

if TYPE_CHECKING:
    import subprocess

START_S = 15.0  # longest wait for the socket of a router we started
_POLL_S = 0.03
_LOG_LINES = 3
_LOG_BYTES = 1 << 20
_children: list[object] = []  # keeps a detached router's handle, so that nobody is warned that it still runs


def client() -> Client:
    """Return a client for this user's router, whether or not one runs."""
    return Client(socket_path(state_dir(), "router"))


def running_router() -> Client | None:
    """Return a client where a router answers, else None; starts nothing."""
    found = client()
    try:
        found.get("/v1/status")
    except NoRouter:
        return None
    return found


def ensure_router() -> Client:
    """Return a client for a router that answers, starting one where none does.

    It may still be getting ready: the router itself holds every other call until it is.

    Raises:
        Unavailable: It did not come up; the message shows the end of its log.
        BadConfig, DiskFull: The state folder cannot be written.
        VersionSkew: A router of another version is running.
    """
    found = client()
    try:
        status = found.get("/v1/status")
    except NoRouter:
        status = _start(found)
    _same_version(status)
    return found


def _same_version(status: dict[str, Any]) -> None:
    theirs = str(status.get("version", "?"))
    if theirs != __version__:
        raise VersionSkew(
            f"the router that is running is Tandem {theirs} and this command is {__version__};"
            " `tandem down`, then the command again, starts the new one (runs go on where they were)"
        )


def _start(found: Client) -> dict[str, Any]:
    state = private_dir(state_dir())
    watched = disk.watched("the router could not be started", state)
    lock = state / "router.start.lock"
    busy = Unavailable(f"another command has been starting the router for too long ({lock})")
    with watched, held.in_turn(lock, START_S + 5, busy), spinner("starting the router"):
        try:
            return found.get("/v1/status")  # another command was quicker
        except NoRouter:
            pass
        disk.must_have_room("the router could not be started", state, _LOG_BYTES)  # else it could not say why it left
        log_file = private_dir(state / "logs") / "router.log"
        begin = log_file.stat().st_size if log_file.exists() else 0
        child = spawn_router(state, log_file)
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            try:
                return found.get("/v1/status")
            except NoRouter:
                if child.poll() is not None and found.socket_file.exists() is False:
                    break
            time.sleep(_POLL_S)
        left = child.poll()
    raise _not_started(left, last_lines(log_file, begin), log_file)


def _not_started(status: int | None, told: str, log_file: Path) -> TandemError:
    """Return the error for a router that did not come up: of the class its exit status stands for."""
    why = "it did not answer in time" if status is None else f"it left with status {status}"
    kind = {2: BadConfig, 5: AlreadyRunning, 6: Refused, 7: BrokenJournal}.get(status or 0, Unavailable)
    told = told or "its log says nothing"
    return kind(f"the router did not start: {why}\n{told}\nthe whole log: {log_file}; see also `tandem doctor`")


def spawn_router(state: Path, log_file: Path) -> subprocess.Popen[bytes]:
    """Start a detached router for `state`; its output goes to `log_file`, 0600."""
    import subprocess

    descriptor = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", "tandem", "router", "--linger"],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            cwd="/",
            env=_absolute_env(state),
            start_new_session=True,
        )
    except OSError as error:
        raise ResourceExhausted(f"cannot start the router: {error.strerror}; free memory or processes") from error
    finally:
        os.close(descriptor)
    _children.append(child)
    return child


def _absolute_env(state: Path) -> dict[str, str]:
    """Return our environment with paths that still mean the same from the folder `/`."""
    env = {**os.environ, "TANDEM_STATE": str(state)}
    if env.get("TANDEM_CONFIG"):
        env["TANDEM_CONFIG"] = str(config_path().absolute())
    script = env.get("TANDEM_REHEARSAL_SCRIPT", "")
    if script and Path(script).is_file():
        env["TANDEM_REHEARSAL_SCRIPT"] = str(Path(script).absolute())
    return env


@contextmanager
def spinner(words: str, stream: IO[str] | None = None) -> Generator[None]:
    """Show that something is being waited for, once a second of it has passed."""
    import threading

    out = stream or sys.stderr
    done = threading.Event()
    drawn = out.isatty()

    def turn() -> None:
        began = time.monotonic()
        if done.wait(1.0):
            return
        if not drawn:
            print(f"{words} …", file=out, flush=True)
            return
        while not done.wait(0.2):
            mark = "|/-\\"[int(time.monotonic() * 5) % 4]
            print(f"\r{mark} {words} … {time.monotonic() - began:.0f} s", end="", file=out, flush=True)
        print("\r\033[K", end="", file=out, flush=True)

    thread = threading.Thread(target=turn, name="spinner", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(2.0)


def last_lines(log_file: Path, begin: int = 0) -> str:
    """Return the last words of a log from byte `begin` on, made visible; structured lines give their event."""
    from cli.render.text import visible

    try:
        with log_file.open("rb") as file:
            file.seek(max(begin, file.seek(0, os.SEEK_END) - 8192))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    told = [_words(line) for line in lines if line.strip()]
    return "\n".join(f"  {visible(line)[:400]}" for line in told[-_LOG_LINES:])


def _words(line: str) -> str:
    import json

    try:
        entry = json.loads(line)
        error = str(entry.get("error") or "").strip().splitlines()
        return f"{entry['level']}: {entry['event']}" + (f": {error[-1]}" if error else "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return line
