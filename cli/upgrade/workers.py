"""Have a paired worker upgrade itself, and wait until it is back as what it is to be.

It is told which commit, and asked what became of it; what it does, and whether it may, is its own business.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import time
from typing import Any

from cli import machine, output
from tandem.config import load
from tandem.errors import DeadlineExceeded, Unavailable, VersionSkew
from tandem.peers import Peer

_WORKER_S = 1800.0  # until a worker is back as another
_BACK_S = 60.0  # from when a worker's upgrade is done until it says so itself
_LOOK_S = 2.0
_TELL_S = 5.0  # between two lines of what a worker does
_ASK_S = 10.0


async def bring(peer: Peer, commit: str) -> None:
    """Have a worker upgrade itself to `commit`, and wait until it runs that.

    Raises:
        Unavailable: It cannot be reached in a way that is allowed, it failed there, or it took too long.
        Refused: It takes no upgrade from here.
    """
    paired: Any = importlib.import_module("router.paired")
    logging.getLogger("router").addHandler(logging.NullHandler())  # what it logs is said here in other words
    node = paired.PairedNode(peer, machine.mine(), load().link)
    try:
        if await _build(node, commit) == commit:
            output.say(f"{peer.name} runs {commit[:12]} already")
            return
        begun = await _asked(node, commit)
        output.say(f"{peer.name} has begun; it writes to {begun.log} there")
        if not begun.state:
            raise Unavailable(f"{peer.name} is too old to say what becomes of it; look there, then upgrade once more")
        await _back(node, commit, begun.log)
        output.say(f"{peer.name} runs {commit[:12]}")
    finally:
        await node.close()


async def _build(node: Any, commit: str) -> str:
    """Return what a worker runs, also where it speaks another protocol.

    Raises:
        Unavailable: It cannot be reached in a way that is allowed.
    """
    try:
        return str((await node.look()).build)
    except VersionSkew:
        return str((await _asked(node, commit, look=True)).build)


async def _asked(node: Any, commit: str, *, look: bool = False) -> Any:
    """Have a worker that was looked at begin an upgrade, or say what became of it; see `UpgradeResponse`."""
    channel: Any = importlib.import_module("tandem.channel")
    pb: Any = importlib.import_module("tandem.v1.worker_pb2")
    with channel.translated(f"worker {node.peer.name}"):
        return await node.stub.Upgrade(pb.UpgradeRequest(commit=commit, look=look), timeout=_ASK_S)


async def _back(node: Any, commit: str, log: str) -> None:
    """Wait until a worker runs `commit`, and say meanwhile what it does.

    Raises:
        Unavailable: It failed there, or took too long.
    """
    name, until = node.peer.name, time.monotonic() + _WORKER_S
    told, told_s, is_done = "", time.monotonic(), False
    while time.monotonic() < until:
        now = await _became(node, commit)
        if now is not None and now.build == commit:
            return
        if now is not None and now.state == "failed":
            raise Unavailable(f"{name} was not upgraded: {now.words}; the whole log, there: {log}")
        if now is not None and now.state == "done" and not is_done:
            is_done, until = True, min(until, time.monotonic() + _BACK_S)
        words = "it is away, being started anew" if now is None else now.words or "it is to be started anew"
        if words != told or time.monotonic() - told_s > _TELL_S:
            output.say(f"{name}: {words}")
            told, told_s = words, time.monotonic()
        await asyncio.sleep(_LOOK_S)
    why = "its upgrade is done, but its worker was not started anew; do that" if is_done else "look at its log"
    raise Unavailable(f"{name} has not come back as {commit[:12]} in time: {why} there ({log})")


async def _became(node: Any, commit: str) -> Any:
    """Return what a worker says of its upgrade, None while it is away. Its protocol is no matter: this call is in each."""
    try:
        node.doubt()
        with contextlib.suppress(VersionSkew):
            await node.look()
        return await _asked(node, commit, look=True)
    except (Unavailable, DeadlineExceeded):
        return None
