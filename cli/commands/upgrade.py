"""`tandem upgrade`: this machine and the workers it is paired with, to the same commit."""

from __future__ import annotations

import asyncio
import importlib
import time
from typing import Any

import click

from cli import machine, output, upgrade
from cli.commands.machines import shut_down
from cli.launch import ensure_router, running_router
from cli.service import here, manager
from cli.service.description import Role
from tandem import build
from tandem.config import load
from tandem.errors import Unavailable, VersionSkew
from tandem.peers import Peer

_WORKER_S = 1800.0  # until a worker is back as another
_LOOK_S = 2.0
_NEWER = "newer"


@click.command(name="upgrade")
@click.option("--to", default="", metavar="COMMIT", help="To which commit or tag.  [default: what the branch follows]")
@click.option("--here", "only_here", is_flag=True, help="This machine alone, and not the workers it is paired with.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--restart", "restarting", is_flag=True, hidden=True)
def upgrade_all(to: str, only_here: bool, dry_run: bool, restarting: bool) -> None:
    """Bring Tandem's checkout forward, here and on paired workers that allow it, and start what runs anew.

    Workers first, then this machine; runs wait meanwhile and go on. A worker takes the commit from its own checkout's
    remote, where `worker.upgrade` is set on it; else you are told what to do there. What cannot be set up is taken back.
    """
    if restarting:
        _restart()
        return
    step = upgrade.planned(to)
    if step.old == step.new:
        output.say(f"this machine runs {step.old[:12]}, the newest")
    else:
        output.say(f"from {step.old[:12]} to {step.new[:12]}:")
        for subject in step.subjects:
            output.say(f"  {subject}")
    workers = [] if only_here else list(machine.paired().read().of("worker"))
    if dry_run:
        for peer in workers:
            output.say(f"{peer.name} would be asked to do the same, first")
        return
    for peer in workers:
        asyncio.run(_worker(peer, step.new))
    if step.old != step.new:
        upgrade.carry_out(step, output.say)
    if step.old != step.new or _is_stale():
        upgrade.restart(output.say)
    output.say("done" + ("; on every machine" if workers else ""))


def _is_stale() -> bool:
    """Return whether a router runs that was started from another commit."""
    router = running_router()
    return router is not None and router.get("/v1/status").get("build") not in ("", build.commit())


async def _worker(peer: Peer, commit: str) -> None:
    """Have a paired worker upgrade itself, and wait until it is back as what it is to be."""
    paired: Any = importlib.import_module("router.paired")
    channel: Any = importlib.import_module("tandem.channel")
    pb: Any = importlib.import_module("tandem.v1.worker_pb2")
    node = paired.PairedNode(peer, machine.mine(), load().link)
    try:
        if await _build(node) == commit:
            output.say(f"{peer.name} runs {commit[:12]} already")
            return
        with channel.translated(f"worker {peer.name}"):
            begun = await node.stub.Upgrade(pb.UpgradeRequest(commit=commit), timeout=30)
        output.say(f"{peer.name} has begun; it writes to {begun.log} there")
        until = time.monotonic() + _WORKER_S
        while await _build(node) not in (commit, _NEWER):
            if time.monotonic() > until:
                raise Unavailable(f"{peer.name} has not come back as {commit[:12]} within {_WORKER_S / 60:.0f} min")
            await asyncio.sleep(_LOOK_S)
        output.say(f"{peer.name} runs {commit[:12]}")
    finally:
        await node.close()


async def _build(node: Any) -> str:
    """Return what a worker runs, "" while it is away, and that it is newer where it speaks a protocol this one does not."""
    try:
        node.doubt()
        return str((await node.look()).build)
    except VersionSkew:
        return _NEWER
    except Unavailable:
        return ""


def _restart() -> None:
    """Start services anew, and have a router that a command started leave: the next command starts another."""
    place = manager.Place(system=here.system())
    both: tuple[Role, Role] = ("worker", "router")
    installed: list[Role] = [role for role in both if manager.is_installed(here.service(role), place)]
    if "router" not in installed and shut_down() is not None:
        ensure_router()  # a machine that works for another one has nobody to give the next command
        output.say("the router is started anew")
    for role in installed:
        if role == "router":
            shut_down()
        manager.install(here.service(role), place)
        output.say(f"the {role} is started anew")
