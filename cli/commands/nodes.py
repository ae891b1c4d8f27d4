"""`tandem nodes`, `tandem unpair`: the machines this one is paired with, and what can be said of them now."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click

from cli import machine, output
from cli.launch import ensure_router, running_router
from cli.params import RUN
from cli.render.loose import items, objects, text
from cli.render.text import one_line
from tandem import endpoints, identity, probe
from tandem.errors import TandemError
from tandem.peers import Book, Peer

_json = click.option("--json", "as_json", is_flag=True, help="Print one object.")


@click.group(invoke_without_command=True)
@click.option("--why", "run", type=RUN, help="Say where each call of a run went, and why others did not get it.")
@_json
@click.pass_context
def nodes(context: click.Context, run: str | None, as_json: bool) -> None:
    """List this machine and those it is paired with: id, address in use, reachable or why not, version, models.

    A router that runs says what it sees; where none does, each machine's port is looked at from here.
    """
    if context.invoked_subcommand is not None:
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

    NODE is its name or the beginning of its id. It keeps its own entry until somebody unpairs there, which does no harm.
    """
    peers = machine.paired()
    peer = peers.read().find(node)
    removed = peers.remove(peer.id)
    if as_json:
        output.say_json({"unpaired": machine.told(peer), "removed": removed})
    else:
        output.say(f"{one_line(peer.name)} is not paired with this machine any more")


def _list(*, as_json: bool) -> None:
    book = machine.paired().read()
    seen = _seen(book)
    here = {"name": machine.name(), "id": machine.mine().id}
    if as_json:
        output.say_json({"this": here, "nodes": [seen[peer.id] for peer in book.peers], "trouble": list(book.damaged)})
        return
    output.say(f"{here['name']}: this machine")
    output.say(f"  id: {identity.grouped(machine.mine().id)}")
    for peer in book.peers:
        for line in _lines(peer, seen[peer.id]):
            output.say(line)
    for line in book.damaged:
        output.say(f"! {one_line(line)}")
    if not book.peers:
        output.say("no other machine is paired with it; `tandem pair` begins that")


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
    return {key: found.get(key) for key in ("address", "trouble", "version")} | {"models": items(found.get("models"))}


def _looked(peers: list[Peer]) -> dict[str, dict[str, Any]]:
    """Look at each worker's addresses from here."""
    try:
        me = machine.mine()
    except TandemError as error:
        return {peer.id: {"trouble": error.message} for peer in peers}

    def look(peer: Peer) -> dict[str, Any]:
        troubles = list[str]()
        for address in peer.addresses:
            found = probe.look(me, peer.id, endpoints.parse(address, endpoints.WORKER_PORT))
            if found.kind == "open":
                return {"address": address}
            troubles.append(found.words)
        return {"trouble": "; ".join(troubles) or "no address of it is known; pair it anew"}

    with ThreadPoolExecutor(max_workers=16) as threads:
        return dict(zip((peer.id for peer in peers), threads.map(look, peers), strict=True))


def _lines(peer: Peer, seen: dict[str, Any]) -> list[str]:
    if peer.role == "router":
        how = "a router that this machine works for"
    elif seen["trouble"]:
        how = "a worker that cannot be used"
    else:
        version = f", Tandem {one_line(text(seen, 'version'))}" if seen["version"] else ""
        how = f"a worker, used at {seen['address']}{version}" if seen["address"] else "a worker, not looked at yet"
    lines = [
        f"{one_line(peer.name)}: {how}",
        f"  id: {identity.grouped(peer.id)}",
        f"  paired since {machine.since(peer)}",
    ]
    if peer.role == "worker":
        lines.append(f"  addresses: {', '.join(peer.addresses) or 'none known'}")
    if seen["models"]:
        lines.append(f"  models: {', '.join(one_line(str(model)) for model in seen['models'])}")
    return lines + ([f"  ! {one_line(str(seen['trouble']))}"] if seen["trouble"] else [])
