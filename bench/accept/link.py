"""The way to each paired worker: over what, how long a call takes, what it carries."""

from __future__ import annotations

import statistics

from bench.accept.figures import Figure, untaken
from router import measuring
from router.paired import PairedNode
from tandem.errors import TandemError
from tandem.media import WORDS

_NAMES = ("link-thunderbolt", "link-rtt", "link-carries")
_ROUNDS = 8
_WAIT_S = 20.0


async def figures(nodes: list[PairedNode]) -> list[Figure]:
    """Return the figures of every paired worker; untaken where there is none."""
    if not nodes:
        return untaken("no worker is paired with this machine; `tandem pair`, or run this on the other one", *_NAMES)
    return [figure for node in nodes for figure in await _of(node)]


async def _of(node: PairedNode) -> list[Figure]:
    try:
        await node.look()
        await node.survey()
        await node.look()
        route = node.ways.routes.get(node.address)
        if route is None:  # it was found elsewhere in between
            return untaken(f"the way over {node.address} was not measured; run this again", *_NAMES, of=node.name)
        trips = [await measuring.round_trip_s(node.stub, node.name, _WAIT_S) for _ in range(_ROUNDS)]
        carries = [await measuring.bytes_a_second(node.stub, node.name, _WAIT_S) for _ in range(_ROUNDS)]
    except TandemError as error:
        return untaken(error.message, *_NAMES, of=node.name)
    over = f"{node.address}, {WORDS[route.medium]}; {node.why}"
    return [
        Figure(name="link-thunderbolt", value=float(route.medium == "thunderbolt"), note=over, of=node.name),
        Figure(name="link-rtt", value=statistics.median(trips) * 1e3, note=f"median of {_ROUNDS}", of=node.name),
        Figure(name="link-carries", value=statistics.median(carries) / 1e6, note=f"median of {_ROUNDS}", of=node.name),
    ]
