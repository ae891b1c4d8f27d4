"""Look at this machine for `tandem doctor`: each check says what it saw and, where something is missing, the remedy.

A check changes nothing, except that the router is started where none runs: whether it starts is the question.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.launch import ensure_router
from cli.render.loose import items, mapping, objects, text
from cli.render.text import size
from tandem.errors import TandemError
from tandem.paths import SOCKET_PATH_MAX, config_path, socket_path, state_dir

GIT_MIN = (2, 38)  # the first with `merge-tree --write-tree`
PYTHON = ((3, 11), (3, 14))  # from, before
FREE_BYTES_MIN = 1 << 30
_WORKER_S = 15.0  # a worker that has just been started gets this long to show itself
_GIT_REMEDY = "macOS: `xcode-select --install` or `brew install git`; Debian, Ubuntu: `sudo apt install git`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check saw. `remedy` is empty where all is well."""

    name: str
    ok: bool
    text: str
    remedy: str = ""


def findings() -> Iterator[Finding]:
    """Yield what each check saw, the quick ones first."""
    yield python()
    yield git()
    yield state()
    yield socket_length()
    yield configuration()
    try:
        found = _status()
    except TandemError as error:
        yield Finding(name="router", ok=False, text="does not answer", remedy=error.message)
        return
    yield Finding(name="router", ok=True, text=f"answers, process {text(found, 'pid')}")
    yield from nodes(found)


def python() -> Finding:
    """Check this interpreter's version."""
    version = ".".join(map(str, sys.version_info[:3]))
    ok = PYTHON[0] <= sys.version_info[:2] < PYTHON[1]
    return Finding(name="python", ok=ok, text=version, remedy="" if ok else "install Python 3.11, 3.12 or 3.13")


def git() -> Finding:
    """Check that git is there and new enough."""
    try:
        said = subprocess.run(["git", "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return Finding(name="git", ok=False, text="not found", remedy=_GIT_REMEDY)
    version = re.search(r"(\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < GIT_MIN:
        wanted = ".".join(map(str, GIT_MIN))
        return Finding(name="git", ok=False, text=f"{said.strip()}; {wanted} is needed", remedy=_GIT_REMEDY)
    return Finding(name="git", ok=True, text=said.strip())


def state(folder: Path | None = None) -> Finding:
    """Check that the state folder is ours alone and has room."""
    folder = folder or state_dir()
    near = folder
    while not near.exists():
        near = near.parent
    status = near.stat()
    if not os.access(near, os.W_OK | os.X_OK):
        remedy = "make it writable for you, or set TANDEM_STATE to a folder that is"
        return Finding(name="state folder", ok=False, text=f"{near} cannot be written", remedy=remedy)
    if near == folder and (status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077):
        remedy = f"`chmod 700 '{folder}'`, and see that it belongs to you"
        return Finding(name="state folder", ok=False, text=f"{folder} is open to others", remedy=remedy)
    free = shutil.disk_usage(near).free
    if free < FREE_BYTES_MIN:
        remedy = "free some, or set TANDEM_STATE to a folder on another disk"
        return Finding(name="state folder", ok=False, text=f"{size(free)} are free at {near}", remedy=remedy)
    return Finding(name="state folder", ok=True, text=f"{folder}, {size(free)} free")


def socket_length(folder: Path | None = None) -> Finding:
    """Check that the sockets' paths fit the system's limit."""
    paths = [socket_path(folder or state_dir(), name) for name in ("router", "worker")]
    longest = max(paths, key=lambda path: len(os.fsencode(path)))
    length = len(os.fsencode(longest))
    if length > SOCKET_PATH_MAX:
        remedy = "set TMPDIR or TANDEM_STATE to a shorter path"
        return Finding(name="socket path", ok=False, text=f"{longest} has {length} bytes", remedy=remedy)
    return Finding(name="socket path", ok=True, text=f"{longest}, {length} of {SOCKET_PATH_MAX} bytes")


def configuration() -> Finding:
    """Check that the configuration parses."""
    from tandem import config

    path = config_path()
    try:
        config.load()
    except TandemError as error:
        return Finding(name="configuration", ok=False, text=error.message, remedy=f"mend {path} or the variable")
    return Finding(name="configuration", ok=True, text=str(path) if path.exists() else "defaults (no file)")


def _status() -> dict[str, Any]:
    """Return the router's status once it sees a machine, or as it is after `_WORKER_S`."""
    router = ensure_router()
    router.get("/v1/runs")  # answered when it is ready
    until = time.monotonic() + _WORKER_S
    while True:
        found = router.get("/v1/status", read_s=15)
        if found.get("nodes") or time.monotonic() > until:
            return found
        time.sleep(0.2)


def nodes(found: dict[str, Any]) -> Iterator[Finding]:
    """Yield what the router's status says about its machines, their sandboxes and models."""
    seen = objects(found.get("nodes"))
    for trouble in items(found.get("trouble")):
        yield Finding(name="worker", ok=False, text=str(trouble), remedy="`tandem down`, then `tandem up`")
    if not seen:
        remedy = f"its log: {Path(text(found, 'state_dir')) / 'logs' / 'worker.log'}"
        yield Finding(name="worker", ok=False, text="no worker has answered the router", remedy=remedy)
    for node in seen:
        yield _sandbox(node)
        if node.get("backend_trouble"):
            trouble, _, remedy = text(node, "backend_trouble").partition("; ")
            remedy = remedy or "`ollama serve`, or open the Ollama app"
            yield Finding(name=f"models on {text(node, 'name')}", ok=False, text=trouble, remedy=remedy)
    offered = {text(model, "name") for node in seen for model in objects(node.get("models"))}
    for slot, name in mapping(found.get("models")).items():
        yield _model(str(slot), str(name), offered)


def _sandbox(node: dict[str, Any]) -> Finding:
    name, rung = f"sandbox on {text(node, 'name')}", text(node, "sandbox")
    remedy = text(node, "sandbox_remedy")
    if rung:
        return Finding(name=name, ok=True, text=rung + (f" ({remedy})" if remedy else ""))
    return Finding(name=name, ok=False, text="none works, so no tests can be run", remedy=remedy or "see README")


def _model(slot: str, name: str, offered: set[str]) -> Finding:
    bare = name.partition("/")[2] or name
    there = name in offered or any((one.partition("/")[2] or one) == bare for one in offered)
    if there:
        rehearsed = " (rehearsal: no model)" if name.startswith("rehearsal/") else ""
        return Finding(name=f"{slot} model", ok=True, text=name + rehearsed)
    fetch = "load it in your model server" if name.startswith("openai/") else f"`ollama pull {bare}`"
    remedy = f"{fetch}, or set models.{slot} to one that is there"
    return Finding(name=f"{slot} model", ok=False, text=f"{name} is on no machine", remedy=remedy)
