"""`tandem pair`: make two machines trust each other, with a code that one shows and the other is told."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from collections.abc import Sequence
from typing import get_args

import click

from cli import machine, output
from cli.launch import spinner
from cli.render.text import one_line
from tandem import endpoints, interfaces
from tandem.config import load
from tandem.endpoints import PAIRING_PORT, Endpoint
from tandem.errors import BadInput, Conflict, Unavailable
from tandem.finding import announced
from tandem.identity import id_of
from tandem.listening import endpoints_of, told
from tandem.pairing import code as codes
from tandem.pairing.code import Code
from tandem.pairing.entering import enter
from tandem.pairing.messages import Card
from tandem.pairing.showing import Showing
from tandem.pairing.window import VALID_S
from tandem.peers import Book, Peer, Role, named

_FIND_S = 3.0  # an announcement is there 1.6 s after the code, and answers a question within 0.1 s


@click.command()
@click.argument("code", required=False)
@click.option("--at", metavar="HOST[:PORT]", help="Where the other machine shows CODE; it says so.")
@click.option("--on", multiple=True, metavar="HOST[:PORT]", help="Show the code on this address alone; more than once.")
@click.option("--as", "role", type=click.Choice(get_args(Role)), help="What this machine is to the other one.")
@click.option("--name", metavar="NAME", help="What the other machine calls this one; its host name, if left out.")
@click.option("--json", "as_json", is_flag=True, help="Print objects, one a line.")
def pair(
    code: str | None, at: str | None, on: tuple[str, ...], role: Role | None, name: str | None, as_json: bool
) -> None:
    """Pair two machines: one shows a code, on the other it is entered within two minutes.

    Without CODE this machine shows one, and becomes the worker of the two; `--as router` turns that round. A code is good
    for one pairing and for three tries. Entered without --at, the machine that shows it is looked for in the network.
    Machines that are paired already keep which of them works for the other, unless --as, where it is entered, turns that.
    """
    called = named(machine.name() if name is None else name)
    if code is None:
        if at:
            raise BadInput("--at names the machine that shows a code; give the code, too: `tandem pair CODE --at HOST`")
        asyncio.run(_show(called, role or "worker", on, as_json=as_json))
        return
    if on:
        raise BadInput("--on is for the machine that shows the code; this one enters it, with --at HOST")
    read = codes.read(code)
    if at and endpoints.lacks_interface(endpoints.parse(at, PAIRING_PORT).host):
        raise interfaces.unnamed(endpoints.parse(at, PAIRING_PORT).host)
    places = (endpoints.parse(at, PAIRING_PORT),) if at else asyncio.run(_found())
    for place in places[:-1]:  # of a machine that was found, not every address need be one that this one can reach
        with contextlib.suppress(Unavailable):
            asyncio.run(_enter(read, place, called, role, as_json=as_json))
            return
    asyncio.run(_enter(read, places[-1], called, role, as_json=as_json))


async def _found() -> tuple[Endpoint, ...]:
    """Return where a code is shown in this network, as is announced there: a claim, which the code itself tries.

    Raises:
        Unavailable: Nobody says so, or more than one does.
    """
    from tandem.finding import find

    with spinner("looking for the machine that shows the code"):
        seen = await find(interfaces.nearby(), _FIND_S)
    if not seen:
        raise Unavailable(
            "no machine in this network says that it shows a code; name it: `tandem pair CODE --at HOST`, as it tells you"
        )
    if len(seen) != 1:
        lines = "; ".join(f"{one.name or '?'} at {one.at[0]}" for one in seen)
        raise Unavailable(f"{len(seen)} machines say that they show a code ({lines}); name yours with --at HOST")
    return seen[0].at


def _card(called: str, role: Role) -> Card:
    """Return what this machine says of itself; a worker says where it will listen once it is paired."""
    listen = endpoints_of(load().worker.listen, interfaces.nearby(), paired=True) if role == "worker" else ()
    return Card(name=called, role=role, certificate=machine.mine().certificate.decode(), addresses=told(listen))


async def _show(called: str, role: Role, on: Sequence[str], *, as_json: bool) -> None:
    places = [endpoints.to_listen_on(text, PAIRING_PORT, "--on") for text in on]
    places = places or [Endpoint(host, PAIRING_PORT) for host in interfaces.nearby()]
    if not places:
        raise Unavailable("this machine has no private address another one could reach; is a network or cable there?")
    code = codes.new()
    peers = machine.paired()
    before, showing = peers.read(), Showing(code, _card(called, role), peers)
    async with (
        showing.opened(places, every=bool(on)) as bound,
        announced(machine.mine().id, called, bound),
    ):
        _say_code(code, bound, as_json=as_json)
        telling = asyncio.create_task(_tell_troubles(showing))
        try:
            peer = await showing.wait()
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
    _say_paired(peer, before, confirmed=True, as_json=as_json)


def _say_code(code: Code, bound: Sequence[Endpoint], *, as_json: bool) -> None:
    if as_json:
        output.say_json({"code": codes.shown(code), "addresses": [str(at) for at in bound], "valid_s": VALID_S})
        return
    output.say(f"code: {codes.shown(code)}")
    output.say(f"on the other machine, within two minutes: tandem pair {codes.shown(code)}")
    output.say("where that does not find this one, with the address it can reach:")
    for at in bound:
        output.say(f"  {command(code, at)}")
    if any("%" in at.host for at in bound):
        output.say("where an address has a %, put that machine's own interface behind it")


def command(code: Code, at: Endpoint) -> str:
    """Return what is typed at the other machine, as a shell takes it: zsh has a meaning for brackets."""
    place = at.host if at.port == PAIRING_PORT and ":" not in at.host else str(at)
    return shlex.join(("tandem", "pair", codes.shown(code), "--at", place))


async def _tell_troubles(showing: Showing) -> None:
    """Say what goes wrong while the code is shown; a wrong code may be somebody else's try."""
    said = 0
    while True:
        await asyncio.sleep(0.2)
        for line in showing.troubles[said:]:
            output.remark(f"{time.strftime('%H:%M:%S')} {one_line(line)}")
            said += 1


async def _enter(code: Code, at: Endpoint, called: str, role: Role | None, *, as_json: bool) -> None:
    peers = machine.paired()
    before = peers.read()

    def card(theirs: Card) -> Card:
        mine: Role = role or ("router" if theirs.role == "worker" else "worker")
        if mine == theirs.role:
            raise Conflict(f"both machines say they are the {theirs.role}; leave `--as` out on one of them")
        known = before.get(id_of(theirs.certificate))
        if known is not None and known.role != theirs.role and role is None:
            raise _would_turn(known, mine)
        return _card(called, mine)

    stored: list[Peer] = []
    try:
        entered = await enter(code, at, card, peers, stored.append)
    except asyncio.CancelledError:
        for peer in stored:
            output.remark(
                f"{one_line(peer.name)} was stored before you interrupted, and may have stored this machine or not; "
                f"pairing once more mends it, `tandem unpair {peer.id[:8].lower()}` takes it back"
            )
        raise
    _say_paired(entered.peer, before, confirmed=entered.confirmed, as_json=as_json)


def _would_turn(known: Peer, mine: Role) -> Conflict:
    """Return the error for a code that would turn round who works for whom, which nobody asked for here."""
    return Conflict(
        f"{known.name} is this machine's {known.role}, and this code would make this machine the {mine} of the two; "
        f"show it there with `tandem pair --as {known.role}`, or, to turn the two round, enter it with `--as {mine}`"
    )


def _say_paired(peer: Peer, before: Book, *, confirmed: bool, as_json: bool) -> None:
    was = before.get(peer.id)
    if as_json:
        output.say_json({"paired": machine.told(peer), "was": was.role if was else None, "confirmed": confirmed})
        return
    output.say("paired with " + "\n".join(machine.shown(peer)))
    if was is not None:
        output.say("  paired before: it keeps the name it has here (`tandem nodes rename`)")
    if was is not None and was.role != peer.role:
        left = any(other.id != peer.id for other in before.of("worker"))
        alone = "" if was.role == "router" or left else "; no other machine works for this one any more"
        output.remark(f"{one_line(peer.name)} was this machine's {was.role}, and is its {peer.role} from now on{alone}")
    if not confirmed:
        output.remark(
            f"the connection broke before {one_line(peer.name)} said that it is done, so it may have stored nothing; "
            "`tandem nodes` tells, and pairing once more mends it"
        )
