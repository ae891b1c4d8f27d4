"""The paired machines that work for this one: what each says it is made of, and which model it can carry.

Each is asked at its port, so no router is needed. What one cannot be asked is not proposed for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cli import machine
from cli.setup.catalogue import Model, Slot
from cli.setup.proposal import Proposal, propose
from tandem.config import LinkConfig
from tandem.errors import TandemError
from tandem.identity import Identity
from tandem.peers import Peer
from tandem.types import Hardware, NodeInfo

ASK_S = 20.0  # an address that leads nowhere takes two seconds, and there may be several


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """A paired worker: what it is made of, the models it has, and what it can carry; or the `trouble` that hides that."""

    peer: Peer
    hardware: Hardware | None = None
    there: frozenset[str] = frozenset()
    proposal: Proposal | None = None
    trouble: str = ""


def asked(peers: Sequence[Peer], link: LinkConfig) -> dict[str, NodeInfo | str]:
    """Return by id what each paired worker says of itself, or why it says nothing. Blocking."""
    if not peers:
        return {}
    try:
        me = machine.mine()
    except TandemError as error:
        return dict.fromkeys((peer.id for peer in peers), error.message)

    async def all_of_them() -> dict[str, NodeInfo | str]:
        answers = await asyncio.gather(*(_ask(peer, me, link) for peer in peers))
        return {peer.id: answer for peer, answer in zip(peers, answers, strict=True)}

    return asyncio.run(all_of_them())


async def _ask(peer: Peer, me: Identity, link: LinkConfig) -> NodeInfo | str:
    from router.paired import PairedNode

    node = PairedNode(peer, me, link)
    try:
        async with asyncio.timeout(ASK_S):
            return await node.look()
    except TandemError as error:
        return error.message
    except TimeoutError:
        return f"it did not answer within {ASK_S:g} s"
    finally:
        await node.close()


def other(peer: Peer, said: NodeInfo | str, models: Sequence[Model], contexts: Mapping[Slot, int]) -> Other:
    """Decide what a paired worker can carry, by what it said. Pure."""
    if isinstance(said, str):
        return Other(peer=peer, trouble=said)
    there = frozenset(model.name.removeprefix("ollama/") for model in said.models)
    if said.hardware is None:
        return Other(
            peer=peer, there=there, trouble=f"it does not say its memory; upgrade Tandem there ({said.version})"
        )
    proposal = propose(said.hardware, models, contexts, "worker", there=there, free_bytes=said.hardware.room_bytes)
    return Other(peer=peer, hardware=said.hardware, there=there, proposal=proposal)


def best(others: Sequence[Other], models: Sequence[Model]) -> Model | None:
    """Return the best model that any of them can carry: the configuration names one for all. Pure."""
    carried = {model.name for one in others if one.proposal for model in one.proposal.chosen.values()}
    return next((model for model in models if model.name in carried), None)
