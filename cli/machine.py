"""What commands know of this machine: its identity, whom it is paired with, and how both are shown.

Reads the state folder itself, so that pairing needs no router; routers and workers notice what changes there.
"""

from __future__ import annotations

import platform
import re
import time
from typing import Any

from cli.render.text import one_line
from tandem import identity
from tandem.errors import TandemError
from tandem.identity import Identity
from tandem.paths import private_dir, state_dir
from tandem.peers import NAME_CHARS_MAX, Peer, Peers


def mine() -> Identity:
    """Return this machine's identity, made now if there is none."""
    return identity.load(private_dir(state_dir()))


def paired() -> Peers:
    """Return the machines that this one is paired with."""
    return Peers(state_dir(), name())


def name() -> str:
    """Return what this machine calls itself."""
    own = re.sub(r"[^\w.-]", "-", platform.node().split(".")[0]).strip("-.")
    return own[:NAME_CHARS_MAX] or "tandem"


def as_worker(opens_s: float = 0.0) -> dict[str, Any]:
    """Return where this machine's worker listens for paired routers, and why not where it should.

    `expected` is whether it should listen anywhere. Knocks at its own addresses, which takes up to 2 s where one is mute;
    a worker that has just been started gets `opens_s` to open them.
    """
    from cli import port
    from tandem.config import load

    try:
        found = port.doors(state_dir(), load(), opens_s)
    except TandemError as error:
        return {"expected": False, "listening": [], "trouble": [error.message]}
    return {"expected": bool(found), "listening": port.listening(found), "trouble": port.troubles(found)}


def since(peer: Peer) -> str:
    """Return when a machine was paired, as a local date and time."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(peer.paired_s))


def told(peer: Peer) -> dict[str, Any]:
    """Return a paired machine as `--json` shows it."""
    return {
        "id": peer.id,
        "name": peer.name,
        "role": peer.role,
        "addresses": list(peer.addresses),
        "paired_s": peer.paired_s,
    }


def shown(peer: Peer) -> list[str]:
    """Return a paired machine's name and id in lines."""
    does = "it works for this machine" if peer.role == "worker" else "this machine works for it"
    return [f"{one_line(peer.name)} ({peer.role}: {does})", f"  id: {identity.grouped(peer.id)}"]
