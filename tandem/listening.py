"""On which addresses a worker is there for paired routers: a decision over the configuration and the interfaces. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tandem.endpoints import WORKER_PORT, Endpoint, parse
from tandem.peers import ADDRESSES_MAX

_LOOPBACK = ("127.0.0.1", "::1")


def endpoints_of(listen: Sequence[str], nearby: Sequence[str], *, paired: bool) -> tuple[Endpoint, ...]:
    """Return where to listen: what `listen` names, else on all `nearby` addresses while a router is paired; and loopback.

    Both speak the same mutual TLS; loopback lets a person try the port where it is.
    """
    if not listen and not paired:
        return ()
    named = [parse(text, WORKER_PORT) for text in listen] or [Endpoint(host, WORKER_PORT) for host in nearby]
    port = named[0].port if named else WORKER_PORT
    return tuple(dict.fromkeys((*named, Endpoint(_LOOPBACK[0], port))))


def told(endpoints: Sequence[Endpoint]) -> tuple[str, ...]:
    """Return the addresses that another machine is told: no loopback, unless it is all there is, and none that only means
    something with an interface of this machine's; where it is met at such a one, the other machine knows that by itself.
    """
    outside = [at for at in endpoints if at.host not in _LOOPBACK]
    return tuple(str(at) for at in (outside or endpoints) if "%" not in at.host)[:ADDRESSES_MAX]
