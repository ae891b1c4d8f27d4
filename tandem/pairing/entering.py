"""The side on which the code is entered: one connection, one try."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tandem.endpoints import Endpoint
from tandem.errors import BadReply, Conflict, Refused, TandemError, Unavailable
from tandem.identity import id_of
from tandem.pairing import messages
from tandem.pairing.code import Code
from tandem.pairing.exchange import Exchange, WrongCode
from tandem.pairing.lines import Lines, words
from tandem.pairing.messages import Card, Hello, Refusal
from tandem.pairing.showing import reachable
from tandem.peers import Peer, Peers

CONNECT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """The machine that is stored now; `confirmed` is False where its last word was lost, and it may not know this one."""

    peer: Peer
    confirmed: bool


async def enter(
    code: Code,
    at: Endpoint,
    card_of: Callable[[Card], Card],
    peers: Peers,
    on_stored: Callable[[Peer], None] = lambda peer: None,
) -> Entered:
    """Pair with the machine that shows `code` at `at`; `card_of` says who this one is, given what the other says it is.

    `on_stored` is told the other machine as soon as it is stored here, for whoever may not wait for the end.

    Raises:
        Refused: The code is wrong, was used, came late, or was wrong too often.
        Conflict: It is this machine itself, or both want to be the same; or what `card_of` raises.
        Unavailable: Nobody shows a code there, or the connection broke; nothing is stored here.
        BadReply: Something else than a pairing answers there.
    """
    try:
        lines = await Lines.to(at.host, at.port, CONNECT_S)
    except (OSError, TimeoutError) as error:
        why = words(error) or f"no answer within {CONNECT_S:g} s"
        raise Unavailable(
            f"nobody shows a code at {at} ({why}); a code counts for two minutes: is `tandem pair` still open there, "
            "and is the address right?"
        ) from error
    try:
        return await _try(lines, code, card_of, peers, on_stored)
    finally:
        await lines.close()


async def _try(
    lines: Lines, code: Code, card_of: Callable[[Card], Card], peers: Peers, on_stored: Callable[[Peer], None]
) -> Entered:
    hello = await _line(lines)
    exchange = Exchange("enters", code, card_of(messages.read(Hello, hello).card))
    theirs = exchange.meet(hello)
    await lines.send(exchange.hello, exchange.proof())
    exchange.check(await _line(lines))
    peer = peers.add(
        Peer(
            id=id_of(theirs.certificate),
            name=theirs.name,
            role=theirs.role,
            certificate=theirs.certificate,
            addresses=reachable(theirs.addresses, lines.far) if theirs.role == "worker" else (),
            paired_s=time.time(),
        )
    )
    on_stored(peer)
    try:
        await lines.send(messages.Stored().line())
        messages.read(messages.Stored, await lines.read())
    except (Unavailable, BadReply):
        return Entered(peer=peer, confirmed=False)
    return Entered(peer=peer, confirmed=True)


async def _line(lines: Lines) -> bytes:
    """Return the other's next line.

    Raises:
        Refused, Conflict: It is a refusal.
    """
    line = await lines.read()
    refused = messages.refusal(line)
    if refused is not None:
        raise _error(refused)
    return line


def _error(refused: Refusal) -> TandemError:
    match refused.why:
        case "wrong" if refused.left:
            tries = "1 try is" if refused.left == 1 else f"{refused.left} tries are"
            return WrongCode(f"the code is wrong; {tries} left, then the other machine closes the pairing")
        case "wrong" | "spent":
            return WrongCode(
                "the code was wrong too often, and the other machine has closed the pairing; show a new one"
            )
        case "late":
            return Refused("the code no longer counts; `tandem pair` on the other machine shows a new one")
        case "used":
            return Refused("the code was used already; `tandem pair` on the other machine shows a new one")
        case "busy":
            return Unavailable("too many machines try to pair with that one at the moment; try again")
        case "role" | "self":
            return Conflict("the other machine is this one itself, or is the same (router or worker) as this one")
        case "malformed":
            return BadReply("the other machine did not understand this one; upgrade Tandem on both alike")
