"""`tandem status`, `up`, `down`, `worker`: the programs behind the command."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import click

from cli import machine, output, port
from cli.client import Client, NoRouter
from cli.launch import client, ensure_router, spinner
from cli.render.lines import hold_line
from cli.render.loose import items, mapping, number, objects, text, whole
from cli.render.machines import own_port_lines
from cli.render.text import duration, one_line
from cli.shutdown import shut_down
from tandem.paths import state_dir

_LOOKED_AT_S = 8.0  # a silent address takes 2 s to be looked at, and as long again to say why it is silent
_OPENS_S = 3.0  # from a worker's socket to its port: measured 0.5 s
_json = click.option("--json", "as_json", is_flag=True, help="Print one object.")


@click.command()
@_json
def status(as_json: bool) -> int:
    """Say what the router does and which machines it sees, or the worker where one runs without; starts nothing.

    Exits with 4 where neither runs.
    """
    try:
        found = client().get("/v1/status", read_s=15)
    except NoRouter as error:
        if pid := port.own_worker(state_dir()):
            _worker_alone(pid, as_json=as_json)
            return 0
        if not as_json:
            output.say(f"no router is running for {state_dir()}; `tandem up` starts one")
            return 4
        output.say_json({"running": False, "state_dir": str(state_dir()), "message": error.message})
        return 4
    _say_status(found, machine.as_worker(), as_json=as_json)
    return 0


@click.command()
@_json
def up(as_json: bool) -> None:
    """Start the router and its worker, if none runs, and say what is there.

    They leave by themselves when there is nothing to do. Where this machine works for a paired router, they stay.
    """
    found = ensure_router()
    with spinner("the router is getting ready"):
        found.get("/v1/runs")  # answered only once it is ready
        told = _looked_at(found)
        here = machine.as_worker(_OPENS_S)
    _say_status(told, here, as_json=as_json)


def _say_status(found: dict[str, Any], here: dict[str, Any], *, as_json: bool) -> None:
    """Say what the router told, and where this machine is there for others."""
    if as_json:
        output.say_json({"running": True, **found, "listening": here["listening"], "closed": here["trouble"]})
        return
    for line in (*status_lines(found), *own_port_lines(here)):
        output.say(line)


def _looked_at(router: Client) -> dict[str, Any]:
    """Return the status once each paired worker was looked at, or as it is after a while."""
    until = time.monotonic() + _LOOKED_AT_S
    workers = {str(peer.id) for peer in machine.paired().read().of("worker")}
    while True:
        told = router.get("/v1/status", read_s=15)
        peers = objects(told.get("peers"))
        known = {text(peer, "id") for peer in peers if peer.get("address") or peer.get("trouble")}
        if workers <= known or time.monotonic() > until:
            return told
        time.sleep(0.1)


@click.command()
@_json
def down(as_json: bool) -> None:
    """Stop the router. Runs stay where they are and go on when it is back."""
    pid = shut_down()
    if pid is None:
        output.say_json({"running": False}) if as_json else output.say("no router is running")
        return
    who = f"the router (process {pid})" if pid else "the router"
    output.say_json({"running": False, "pid": pid}) if as_json else output.say(f"{who} has left")


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def worker(arguments: tuple[str, ...]) -> None:
    """Run a worker in the foreground, in this process's place."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "tandem", "worker", *arguments])  # noqa: S606 - no shell is wanted


def _worker_alone(pid: str, *, as_json: bool) -> None:
    """Say what a worker that needs no router does: where it listens, and for whom."""
    here, book = machine.as_worker(), machine.paired().read()
    trouble = [*here["trouble"], *book.damaged]
    if as_json:
        told = {"pid": int(pid) if pid.isdigit() else None, "listening": here["listening"]}
        peers = [machine.told(peer) for peer in book.peers]
        output.say_json(
            {"running": False, "state_dir": str(state_dir()), "worker": told, "peers": peers, "trouble": trouble}
        )
        return
    output.say(f"a worker runs here without a router: process {pid}")
    output.say(f"  state: {one_line(str(state_dir()))}")
    if places := ", ".join(here["listening"]):
        output.say(f"  listens for paired routers at {places}")
    elif not book.of("router"):
        output.say("  listens for no other machine: no router is paired with this one; `tandem pair` begins that")
    for line in trouble:
        output.say(f"  ! {one_line(line)}")
    for peer in book.peers:
        output.say(
            f"paired {peer.role} {one_line(peer.name)}" + (": this machine works for it" * (peer.role == "router"))
        )


def status_lines(found: dict[str, Any]) -> list[str]:
    """Return a status as people read it."""
    runs, models = mapping(found.get("runs")), mapping(found.get("models"))
    ready = "ready" if found.get("ready", True) else "getting ready"
    up_for = duration(number(found, "uptime_s"))
    lines = [
        f"router {text(found, 'version')}: {ready}, process {text(found, 'pid')}, up {up_for}",
        f"  state: {one_line(text(found, 'state_dir'))}",
        f"  runs: {whole(runs, 'active')} at work, {whole(runs, 'queued')} queued, {whole(runs, 'waiting')} waiting"
        " for a person",
    ]
    lines += [f"  {_held(hold)}" for hold in objects(found.get("holds"))]
    lines += [f"  {slot} model: {one_line(str(name))}{_rehearsal(str(name))}" for slot, name in models.items()]
    lines += [f"  ! {one_line(str(trouble))}" for trouble in items(found.get("trouble"))]
    for node in objects(found.get("nodes")):
        lines += _node_lines(node)
    lines += [_peer_line(peer) for peer in objects(found.get("peers"))]
    return lines


def _peer_line(peer: dict[str, Any]) -> str:
    """Return a paired machine in a line; `tandem nodes` says more."""
    name, trouble = one_line(text(peer, "name")), one_line(text(peer, "trouble"))
    since_s = number(peer, "away_since_s")
    away = f" for {duration(max(time.time() - since_s, 0))}" if since_s else ""
    if text(peer, "role") == "router":
        return f"paired router {name}: this machine works for it"
    if trouble:
        return f"paired worker {name}: cannot be used{away}: {trouble}"
    address = one_line(text(peer, "address"))
    return f"paired worker {name}: {f'at {address}' if address else 'not looked at yet'}"


def _held(hold: dict[str, Any]) -> str:
    since = duration(max(time.time() - number(hold, "since_s"), 0))
    return f"run {one_line(text(hold, 'run'))}, for {since}: {hold_line(text(hold, 'kind'), text(hold, 'text'))}"


def _node_lines(node: dict[str, Any]) -> list[str]:
    names = [one_line(text(model, "name")) + _rehearsal(text(model, "name")) for model in objects(node.get("models"))]
    lines = [
        f"worker {one_line(text(node, 'name'))}: {one_line(text(node, 'platform'))}, Tandem {text(node, 'version')}",
        f"  models: {', '.join(names) or 'none'}",
        f"  sandbox: {one_line(text(node, 'sandbox')) or 'none works'}",
    ]
    for key in ("sandbox_remedy", "backend_trouble"):
        lines += [f"  ! {one_line(text(node, key))}"] if node.get(key) else []
    return lines


def _rehearsal(name: str) -> str:
    return " (rehearsal: no model)" if name.startswith("rehearsal/") else ""
