"""`tandem upgrade`: this machine and the workers it is paired with, to the same commit."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

import click

from cli import machine, output
from cli.upgrade import asked, checkout, services, workers
from tandem import upgrades
from tandem.paths import state_dir
from tandem.peers import Peer


@click.command(name="upgrade")
@click.option("--to", default="", metavar="COMMIT", help="To which commit or tag.  [default: what the branch follows]")
@click.option("--here", "only_here", is_flag=True, help="This machine alone, and not the workers it is paired with.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--restart", "restarting", is_flag=True, hidden=True)
@click.option("--from-remote", is_flag=True, hidden=True)
def upgrade_all(to: str, only_here: bool, dry_run: bool, restarting: bool, from_remote: bool) -> None:
    """Bring Tandem's checkout forward, here and on paired workers that allow it, and start what runs anew.

    Workers first, then this machine; runs wait meanwhile and go on. A worker takes the commit from its own checkout's
    remote, where `worker.upgrade` is set on it; else you are told what to do there. What cannot be set up is taken back,
    and what was cut off is taken up again.
    """
    if restarting:
        services.start_anew()
    elif dry_run:
        _foretell(to, only_here)
    else:
        for end in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(end, lambda number, frame: sys.exit(128 + number))  # so that set-up does not live on alone
        with asked.noted(to) if from_remote else contextlib.nullcontext(), upgrades.alone(state_dir()) as lock:
            _upgrade(to, only_here, from_remote, lock)


def _foretell(to: str, only_here: bool) -> None:
    if cut := upgrades.begun(state_dir()):
        output.say(f"an upgrade from {cut.old[:12]} to {cut.new[:12]} was cut off; it would be taken up again, first")
    _show(checkout.planned(to))
    for peer in _workers(only_here):
        output.say(f"{peer.name} would be asked to do the same, first")


def _upgrade(to: str, only_here: bool, from_remote: bool, lock: upgrades.Lock) -> None:
    home, tell = state_dir(), asked.noting(to) if from_remote else output.say
    if cut := upgrades.begun(home):
        checkout.resume(cut, home, tell, lock)
        _start_anew()
    step = checkout.planned(to, from_remote=from_remote)
    _show(step)
    peers = _workers(only_here)
    for peer in peers:
        asyncio.run(workers.bring(peer, step.new))
    if step.old != step.new:
        checkout.carry_out(step, home, tell, lock)
        tell("starting anew what runs")
        _start_anew()
    elif services.is_stale():
        services.restart(output.say)
    output.say("done" + ("; on every machine" if peers else ""))


def _workers(only_here: bool) -> list[Peer]:
    return [] if only_here else list(machine.paired().read().of("worker"))


def _start_anew() -> None:
    """Start services anew, after which nothing is left to do of a step."""
    services.restart(output.say)
    upgrades.end(state_dir())


def _show(step: checkout.Step) -> None:
    if step.old == step.new:
        output.say(f"this machine runs {step.old[:12]}, the newest")
        return
    output.say(f"from {step.old[:12]} to {step.new[:12]}:")
    for subject in step.subjects:
        output.say(f"  {subject}")
