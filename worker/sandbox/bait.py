"""What an escape would reach, laid out for real: a secret, ports and sockets that listen, a process, a terminal.

All of it may be used by anybody on this machine, so that what keeps a sandboxed program from it is the sandbox and nothing
else. It is gone when the block ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tandem.paths import home_dir

VARIABLE = "TANDEM_PROBE"  # stands in the worker's environment and in the other process's
_PRIVATE = (
    *(".ssh", ".netrc", ".gnupg", ".aws", ".docker", ".kube", ".config", ".npmrc", ".bash_history", ".zsh_history"),
    *(".gitconfig", "Library/Keychains", "Library/Cookies"),
)
_GROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/memory")
_SHARED = Path("/dev/shm")  # noqa: S108 - shared memory has no other place
_CREATE = 0o1000 | 0o666
_KNOCK_S = 0.05


@contextmanager
def laid_out(folder: Path, tree: Path) -> Generator[str]:
    """Lay everything out in `folder`, write in `tree` where it is, and yield that file's name."""
    with ExitStack() as stack:
        bait: dict[str, Any] = {"variable": VARIABLE, **_files(folder / "outside")}
        bait |= _listeners(stack, folder) | _process(stack) | _shared(stack)
        bait["terminal"] = _terminal(stack)
        home = home_dir()
        bait["home"] = [str(home / name) for name in _PRIVATE if (home / name).exists()]
        bait["groups"] = [name for name in _GROUPS if os.access(name, os.W_OK)]
        (tree / "bait.json").write_text(json.dumps(bait))
        os.environ[VARIABLE] = "of the worker"  # whatever runs inside must not inherit it
        stack.callback(os.environ.pop, VARIABLE, None)
        yield "bait.json"


def _files(outside: Path) -> dict[str, str]:
    for name in ("repository/.git/hooks", "repository/.git/objects", "moved/.git"):
        (outside / name).mkdir(parents=True)
    for name in ("secret", "append", "cut", "gone"):
        (outside / name).write_text("a file of this user")
        (outside / name).chmod(0o666)
    for path in (outside, *(path for path in outside.rglob("*") if path.is_dir())):
        path.chmod(0o777)
    return {"outside": str(outside), "secret": str(outside / "secret")}


def _listeners(stack: ExitStack, folder: Path) -> dict[str, Any]:
    """Listen in every way, and answer; connections wait in the queue and are never taken."""
    name = f"tandem-bait-{uuid.uuid4().hex}"
    tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    udp.bind(("127.0.0.1", 0))
    found: dict[str, Any] = {"tcp": tcp.getsockname()[1], "udp": udp.getsockname()[1], "tcp6": 0}
    with contextlib.suppress(OSError):
        six = stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6))
        found["tcp6"] = six.getsockname()[1]
    path = str(folder / "s")
    names = {"path": (path, socket.SOCK_STREAM)}
    if sys.platform == "linux":
        names |= {"abstract": (f"\0{name}", socket.SOCK_STREAM), "packets": (f"\0{name}-p", socket.SOCK_DGRAM)}
    for key, (address, kind) in names.items():
        server = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
        server.bind(address)
        if kind == socket.SOCK_STREAM:
            server.listen()
        found[key] = address.lstrip("\0")
    Path(path).chmod(0o777)
    with socket.create_server(("127.0.0.1", 0)) as spare:
        found["free"] = spare.getsockname()[1]
    over = threading.Event()
    for work in (lambda: _echo(udp, over), lambda: _knock(found["free"], over)):
        _in_background(stack, work)
    stack.callback(_wake, udp.getsockname())  # what is stacked last is done first
    stack.callback(over.set)
    return found


def _in_background(stack: ExitStack, work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    stack.callback(thread.join)


def _echo(udp: socket.socket, over: threading.Event) -> None:
    while not over.is_set():
        with contextlib.suppress(OSError):
            said, sender = udp.recvfrom(100)
            udp.sendto(said, sender)


def _wake(address: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b".", address)


def _knock(port: int, over: threading.Event) -> None:
    """Connect to a port where nobody listens, again and again, until somebody does."""
    while not over.wait(_KNOCK_S):
        with contextlib.suppress(OSError), _connected(port):
            pass


def _connected(port: int) -> socket.socket:
    """Return a connection to a port of this machine, with no name looked up on the way."""
    connection = socket.socket()
    connection.settimeout(1)
    try:
        connection.connect(("127.0.0.1", port))
    except OSError:
        connection.close()
        raise
    return connection


def _process(stack: ExitStack) -> dict[str, Any]:
    """Start somebody else's process: this user's, with a secret in its environment. It ends with us, however we do."""
    mark = f"tandem-bait-{uuid.uuid4().hex}"
    victim = subprocess.Popen(
        [mark], executable="/bin/cat", env={VARIABLE: mark}, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    stack.callback(victim.communicate)
    stack.callback(victim.kill)
    return {"victim": victim.pid, "mark": mark}


def _shared(stack: ExitStack) -> dict[str, Any]:
    """Make shared memory, by name and by number, where this system has it."""
    found: dict[str, Any] = {"shared": "", "segment": 0}
    if _SHARED.is_dir() and os.access(_SHARED, os.W_OK):
        place = _SHARED / f"tandem-bait-{uuid.uuid4().hex}"
        place.write_text("memory of this user")
        place.chmod(0o666)
        stack.callback(place.unlink)
        found["shared"] = str(place)
    libc = ctypes.CDLL(None, use_errno=True)
    key = uuid.uuid4().int & 0x7FFFFFFF
    segment = libc.shmget(key, 4096, _CREATE) if hasattr(libc, "shmget") else -1
    if segment >= 0:
        stack.callback(libc.shmctl, segment, 0, None)
        found["segment"] = key
    return found


def _terminal(stack: ExitStack) -> str:
    master, slave = os.openpty()
    stack.callback(os.close, master)
    stack.callback(os.close, slave)
    name = os.ttyname(slave)
    with contextlib.suppress(OSError):
        Path(name).chmod(0o666)
    return name
