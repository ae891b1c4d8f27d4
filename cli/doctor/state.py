"""The state folder: ours alone, with room, on a clock like ours, and reachable by a socket's short path."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cli.doctor.finding import Finding, ill, unseen, well
from cli.doctor.look import Look
from cli.render.text import size
from tandem.paths import SOCKET_PATH_MAX, socket_path

FREE_BYTES_MIN = 1 << 30
CLOCK_S_MAX = 2.0  # a file system's times may be as coarse as that (FAT)
_PRIVATE = ("*.key", "*.pem", "*.token", "journal.db*", "identity/*", "logs/*.log*", "worker/logs/*.log*")


def findings(look: Look) -> Iterator[Finding]:
    """Yield what is seen of the state folder."""
    yield folder(look.state)
    yield room(look.state)
    yield private_files(look.state)
    yield clock(look.state)
    yield sockets(look.state)


def folder(state: Path) -> Finding:
    """Check that the folder can be written and is ours alone."""
    near = _nearest(state)
    status = near.stat()
    if not os.access(near, os.W_OK | os.X_OK):
        remedy = "make it writable for you, or set TANDEM_STATE to a folder that is"
        return ill("state folder", "state-unwritable", f"{near} cannot be written", remedy)
    if near == state and (status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077):
        remedy = f"`chmod 700 '{state}'`, and see that it belongs to you"
        return ill("state folder", "state-open", f"{state} is open to others", remedy)
    return well("state folder", str(state))


def room(state: Path, needed_bytes: int = FREE_BYTES_MIN) -> Finding:
    """Check that the disk under the state folder has room for runs to come."""
    near = _nearest(state)
    free = shutil.disk_usage(near).free
    if free < needed_bytes:
        remedy = "free some (`tandem gc` says what it would), or set TANDEM_STATE to a folder on another disk"
        return ill("disk", "disk-nearly-full", f"{size(free)} are free at {near}", remedy)
    return well("disk", f"{size(free)} free at {near}")


def private_files(state: Path) -> Finding:
    """Check that keys, tokens, the journal and logs can be read by their owner alone, whatever folder they move to."""
    found = [path for form in _PRIVATE for path in sorted(state.glob(form)) if _readable_by_others(path)]
    if found:
        names = ", ".join(str(path.relative_to(state)) for path in found[:5])
        remedy = f"`chmod -R go= '{state}'`; a key or token that others may have read is to be made anew"
        return ill("private files", "secret-readable", f"others may read {names} in {state}", remedy)
    return well("private files", "nobody else may read them")


def clock(state: Path) -> Finding:
    """Compare this program's clock with that of the file system, which another machine may keep."""
    if not state.is_dir() or not os.access(state, os.W_OK | os.X_OK):
        return unseen("file times", "not looked at: there is no state folder to write a file in")
    try:
        with tempfile.NamedTemporaryFile(dir=state, prefix=".doctor-", buffering=0) as file:
            file.write(b"?")
            apart = Path(file.name).stat().st_mtime - time.time()
    except OSError as error:
        return unseen("file times", f"not looked at: no file could be written in {state} ({error.strerror})")
    if abs(apart) > CLOCK_S_MAX:
        text = f"a file written now in {state} is {abs(apart):.0f} s {'ahead' if apart > 0 else 'behind'}"
        remedy = "set the clocks of this machine and of its file server, or set TANDEM_STATE to a local disk"
        return ill("file times", "clock-differs", text, remedy)
    return well("file times", "as this machine's clock")


def sockets(state: Path) -> Finding:
    """Check that the sockets' paths fit the system's limit."""
    paths = [socket_path(state, name) for name in ("router", "worker")]
    longest = max(paths, key=lambda path: len(os.fsencode(path)))
    length = len(os.fsencode(longest))
    if length > SOCKET_PATH_MAX:
        text = f"{longest} has {length} bytes, and {SOCKET_PATH_MAX} are the most"
        return ill("socket path", "socket-path-long", text, "set TMPDIR or TANDEM_STATE to a shorter path")
    return well("socket path", f"{longest}, {length} of {SOCKET_PATH_MAX} bytes")


def _nearest(path: Path) -> Path:
    """Return a folder, or the nearest one above it that is there."""
    return next(one for one in (path, *path.parents) if one.exists())


def _readable_by_others(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False  # gone meanwhile
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o044)
