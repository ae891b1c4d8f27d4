"""Where this machine's worker should listen for paired routers, and what is there: found by knocking at its own door.

Needs neither a router nor a worker that answers, so that it can say why none does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from tandem import binding, held, identity, interfaces, probe
from tandem.config import Config
from tandem.endpoints import Endpoint
from tandem.errors import TandemError
from tandem.identity import Identity
from tandem.listening import endpoints_of
from tandem.peers import Peers

_AGAIN_S = 0.3
Kind = Literal["listening", "nothing", "taken", "not here", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One address the worker should listen on: whether it does or, where it cannot, why not, in a line."""

    at: Endpoint
    kind: Kind
    words: str = ""


def doors(state: Path, config: Config, opens_s: float = 0.0) -> tuple[Door, ...]:
    """Return what is at each address of this machine that paired routers may use; nothing where none may.

    A worker that has just been started gets `opens_s` to open them.
    """
    until = time.monotonic() + opens_s
    while True:
        found = _doors(state, config)
        if time.monotonic() > until or not any(door.kind == "nothing" for door in found):
            return found
        time.sleep(_AGAIN_S)


def _doors(state: Path, config: Config) -> tuple[Door, ...]:
    wanted = endpoints_of(config.worker.listen, interfaces.nearby(), paired=bool(Peers(state).read().of("router")))
    if not wanted:
        return ()
    me = _me(state)
    with ThreadPoolExecutor(max_workers=len(wanted)) as threads:
        return tuple(threads.map(partial(_door, me), wanted))


def listening(found: Sequence[Door]) -> list[str]:
    """Return the addresses where the worker listens."""
    return [str(door.at) for door in found if door.kind == "listening"]


def troubles(found: Sequence[Door]) -> list[str]:
    """Return, a line each, why the worker does not listen where it should."""
    return list(dict.fromkeys(door.words for door in found if door.words))


def own_worker(state: Path) -> str:
    """Return the process id of a worker here that no router started, "" where there is none."""
    return held.owner(state / "worker" / held.SERVICE)


def _me(state: Path) -> Identity | None:
    try:
        return identity.load(state) if (state / "identity").exists() else None
    except TandemError:
        return None


def _door(me: Identity | None, at: Endpoint) -> Door:
    kind, words = binding.obstacle(at)
    if kind == "":
        return Door(at=at, kind="nothing")
    # whoever has this machine's key and shows it there is our worker, which does not trust ourselves
    if kind == "taken" and me is not None and probe.look(me, me.id, at).kind in ("open", "not paired"):
        return Door(at=at, kind="listening")
    return Door(at=at, kind=kind, words=words)
