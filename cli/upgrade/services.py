"""What runs on this machine, after its checkout moved: whether it is of another commit, and starting it anew."""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cli import output
from cli.launch import ensure_router, running_router
from cli.service import here, manager
from cli.service.description import Role
from cli.shutdown import shut_down
from tandem import build
from tandem.entry import APP_ROOT
from tandem.errors import Unavailable, VersionSkew
from tandem.paths import socket_path, state_dir

_RESTART_S = 300.0


def restart(tell: Callable[[str], None], root: Path = APP_ROOT) -> None:
    """Start anew what runs of the old version here, and tell what that was; a new process, because this one is old."""
    argv = [sys.executable, "-m", "tandem", "cli", "upgrade", "--restart"]
    try:
        done = subprocess.run(
            argv, cwd=root, env=dict(os.environ), capture_output=True, text=True, timeout=_RESTART_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"what runs here was not started anew: {error}") from error
    for line in done.stdout.splitlines():
        tell(line)
    if done.returncode:
        raise Unavailable(f"what runs here was not started anew: {(done.stderr.strip() or 'it said nothing')[-500:]}")


def start_anew() -> None:
    """Start services anew in this process, and a router that a command started by another one, where one ran."""
    place = manager.Place(system=here.system())
    both: tuple[Role, Role] = ("worker", "router")
    installed: list[Role] = [role for role in both if manager.is_installed(here.service(role), place)]
    if "router" not in installed and shut_down() is not None:
        ensure_router()  # a machine that works for another one has nobody to give the next command
        output.say("the router is started anew")
    for role in installed:
        if role == "router":
            shut_down()
        manager.install(here.service(role), place)
        output.say(f"the {role} is started anew")


def is_stale() -> bool:
    """Return whether a router or a worker runs here that was started from another commit."""
    router = running_router()
    runs = "" if router is None else router.get("/v1/status").get("build")
    return any(one not in ("", build.commit()) for one in (runs, asyncio.run(_own_worker())))


async def _own_worker() -> str:
    """Return what the worker on this machine runs, "" where there is none, and its protocol's trouble if it has another."""
    socket = socket_path(state_dir(), "worker")
    if not socket.exists():
        return ""
    node: Any = importlib.import_module("router.node").Node.at_socket(socket)
    try:
        return str((await node.describe(patient=False)).build)
    except VersionSkew as error:
        return error.message
    except Unavailable:
        return ""
    finally:
        await node.close()
