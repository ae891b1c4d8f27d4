"""Why a worker answers at none of its addresses, in words that a person can act on."""

from __future__ import annotations

import asyncio

from router.ways import ASKING, Ways
from tandem import endpoints, probe
from tandem.errors import NotPaired, TandemError, Unreachable
from tandem.identity import Identity
from tandem.peers import Peer

WHY_MAX = 4  # addresses that are looked at more closely


async def why(peer: Peer, me: Identity, ways: Ways, said: Unreachable | None = None) -> TandemError:
    """Return why no address answers, as a plain look at each of them tells; `ways` has that then, too.

    Where one does answer a plain look, what the last call came to, `said`, is why.
    """
    addresses = peer.addresses[:WHY_MAX]  # what answers at a hint may be anybody's, and says nothing of this one
    if not addresses:
        return Unreachable(f"no address of {peer.name} is known; pair them anew")
    barred = [address for address in addresses if not await ways.is_allowed(address)]
    places = [endpoints.parse(address, endpoints.WORKER_PORT) for address in addresses if address not in barred]
    loop = asyncio.get_running_loop()
    found = await asyncio.gather(*(loop.run_in_executor(ASKING, probe.look, me, peer.id, at) for at in places))
    for at, one in zip(places, found, strict=True):  # in better words than gRPC's
        ways.silent(str(at), one.words)
    words = "; ".join((*(one.words for one in found), *map(_barred, barred)))
    kinds = {one.kind for one in found}
    if said is not None and "open" in kinds:
        return type(said)(f"{peer.name}: {said.message}")
    if kinds & {"not paired", "other machine"} and not kinds & {"open"}:
        return NotPaired(f"{peer.name}: {words}")
    return Unreachable(f"{peer.name}: {words}")


def _barred(address: str) -> str:
    return f"{address} is reached over Wi-Fi, which is not allowed; put the cable in, or set link.wifi = true"
