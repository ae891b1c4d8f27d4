"""`tandem nodes`, `tandem unpair`: the machines this one is paired with, and what can be said of them now."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click

from cli import machine, output
from cli.launch import ensure_router, running_router, spinner
from cli.params import RUN
from cli.render.loose import items, mapping, objects, text
from cli.render.machines import machine_lines, news_of, own_port_lines
from cli.render.text import one_line
from tandem import endpoints, identity, probe
from tandem.errors import TandemError
from tandem.identity import NodeId
from tandem.peers import Book, Peer

WATCH_S = 1.0  # between two looks; the router itself looks every two seconds
_json = click.option("--json", "as_json", is_flag=True, help="Print one object.")


@click.group(invoke_without_command=True)
@click.option("--why", "run", type=RUN, help="Say where each call of a run went, and why others did not get it.")
@click.option(
    "--watch", is_flag=True, help="Go on showing them until Ctrl-C; elsewhere than at a terminal, what changes."
)
@_json
@click.pass_context
def nodes(context: click.Context, run: str | None, watch: bool, as_json: bool) -> None:
    """List this machine and those it is paired with: id, address in use and why, or why none, version, models.

    Of this machine, where it works for others: at which addresses its worker listens, or why at none.

    A router that runs says what it sees; where none does, each machine's port is looked at from here.
    """
    if context.invoked_subcommand is not None:
        return
    if watch and run is not None:
        raise click.UsageError("--watch shows what is, --why what was; choose one")
    if watch:
        _watch(as_json=as_json)
        return
    if run is None:
        _list(as_json=as_json)
        return
    from cli.render.placements import placement_lines

    found = ensure_router().get(f"/v1/runs/{run}/placements")
    if as_json:
        output.say_json(found)
        return
    for line in placement_lines(found):
        output.say(line)


@nodes.command()
@click.argument("node")
@click.argument("name")
@_json
def rename(node: str, name: str, as_json: bool) -> None:
    """Call a paired machine something else on this one. NODE is its name or the beginning of its id."""
    peers = machine.paired()
    peer = peers.rename(peers.read().find(node).id, name)
    output.say_json(machine.told(peer)) if as_json else output.say(f"{node} is now called {peer.name}")


@click.command()
@click.argument("node")
@_json
def unpair(node: str, as_json: bool) -> None:
    """Trust a machine no longer, from this moment on: no call goes to it, and none of its calls is answered.

    NODE is its name or the beginning of its id. Nothing is told to it: it keeps its own entry until somebody unpairs there,
    and, where it was the worker, what this machine left there.
    """
    peers = machine.paired()
    peer = peers.read().find(node)
    removed = peers.remove(peer.id)
    if as_json:
        output.say_json({"unpaired": machine.told(peer), "removed": removed})
    else:
        output.say(f"{one_line(peer.name)} is not paired with this machine any more")
        output.say(f"  {_left_by(peer)}")


def _left_by(peer: Peer) -> str:
    """Return what stays where, now that this machine trusts a peer no longer."""
    name = one_line(peer.name)
    if peer.role == "worker":
        return (
            f"{name} is not told: until `tandem unpair` there as well, it goes on listening for this machine and keeps what"
            " it has of its work"
        )
    return f"what it left here, repositories and environments, is removed by this machine's worker; {name} is not told"


def _list(*, as_json: bool) -> None:
    with spinner("looking at paired machines"):
        found = _found()
        found["this"]["worker"] = machine.as_worker()
    if as_json:
        output.say_json(found)
        return
    for line in _told(found):
        output.say(line)


def _found() -> dict[str, Any]:
    book = machine.paired().read()
    seen = _seen(book)
    here = {"name": machine.name(), "id": machine.mine().id}
    return {"this": here, "nodes": [seen[peer.id] for peer in book.peers], "trouble": list(book.damaged)}


def _told(found: dict[str, Any]) -> list[str]:
    this = mapping(found["this"])
    lines = [f"{text(this, 'name')}: this machine", f"  id: {identity.grouped(NodeId(text(this, 'id')))}"]
    lines += [f"  {line}" for line in own_port_lines(mapping(this.get("worker")))]
    for node in objects(found["nodes"]):
        lines += machine_lines(node, output.width())
    lines += [f"! {one_line(line)}" for line in found["trouble"]]
    if not found["nodes"]:
        lines.append("no other machine is paired with it; `tandem pair` begins that")
    return lines


def _watch(*, as_json: bool) -> None:
    """Show the machines until interrupted: repainted at a terminal, elsewhere whatever changed, JSON an object a line."""
    ensure_router()  # it is the one that measures
    if output.draws() and not as_json:
        _repaint()
        return
    before: dict[str, tuple[str, ...]] = {}
    while True:
        nodes = objects(_found()["nodes"])
        for node in nodes:
            if before.get(text(node, "id")) == news_of(node):
                continue
            if as_json:
                output.say_json({"at_s": time.time(), **node})
                continue
            output.say(time.strftime("%H:%M:%S"))
            for line in machine_lines(node, output.width()):
                output.say(line)
        before = {text(node, "id"): news_of(node) for node in nodes}
        time.sleep(WATCH_S)


def _repaint() -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False, no_color=not output.colours(), markup=False, emoji=False)
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            live.update(Text("\n".join(_told(_found()))), refresh=True)
            time.sleep(WATCH_S)


def _seen(book: Book) -> dict[str, dict[str, Any]]:
    """Return for each paired machine what is known of it now, by id."""
    router = running_router()
    told = objects(router.get("/v1/status", read_s=15).get("peers")) if router else []
    by_router = {text(one, "id"): one for one in told}
    unknown = [peer for peer in book.of("worker") if peer.id not in by_router]
    looked = _looked(unknown) if unknown else {}
    return {
        peer.id: machine.told(peer) | _state(by_router.get(peer.id) or looked.get(peer.id, {})) for peer in book.peers
    }


def _state(found: dict[str, Any]) -> dict[str, Any]:
    known = {key: found.get(key) for key in ("address", "trouble", "version", "why")}
    return known | {key: items(found.get(key)) for key in ("models", "routes")}


def _looked(peers: list[Peer]) -> dict[str, dict[str, Any]]:
    """Look at each worker's addresses from here."""
    try:
        me = machine.mine()
    except TandemError as error:
        return {peer.id: {"trouble": error.message} for peer in peers}

    def look(peer: Peer) -> dict[str, Any]:
        seen = probe.look_all(me, peer.id, [endpoints.parse(one, endpoints.WORKER_PORT) for one in peer.addresses])
        for address, found in zip(peer.addresses, seen, strict=True):
            if found.kind == "open":
                return {"address": address}
        return {"trouble": "; ".join(found.words for found in seen) or "no address of it is known; pair it anew"}

    with ThreadPoolExecutor(max_workers=16) as threads:
        return dict(zip((peer.id for peer in peers), threads.map(look, peers), strict=True))
