"""`tandem upgrade`: this machine and the workers it is paired with, to the same commit."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import signal
import sys
import time
from collections.abc import Callable, Generator
from typing import Any

import click

from cli import machine, output, upgrade
from cli.commands.machines import shut_down
from cli.launch import ensure_router, running_router
from cli.service import here, manager
from cli.service.description import Role
from tandem import build, upgrades
from tandem.config import load
from tandem.errors import DeadlineExceeded, TandemError, Unavailable, VersionSkew
from tandem.paths import socket_path, state_dir
from tandem.peers import Peer

_WORKER_S = 1800.0  # until a worker is back as another
_BACK_S = 60.0  # from when a worker's upgrade is done until it says so itself
_LOOK_S = 2.0
_TELL_S = 5.0  # between two lines of what a worker does
_ASK_S = 10.0


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
        _restart()
    elif dry_run:
        _foretell(to, only_here)
    else:
        for end in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(end, lambda number, frame: sys.exit(128 + number))  # so that set-up does not live on alone
        with _noted(to) if from_remote else contextlib.nullcontext(), upgrades.alone(state_dir()) as lock:
            _upgrade(to, only_here, from_remote, lock)


def _foretell(to: str, only_here: bool) -> None:
    if cut := upgrades.begun(state_dir()):
        output.say(f"an upgrade from {cut.old[:12]} to {cut.new[:12]} was cut off; it would be taken up again, first")
    _show(upgrade.planned(to))
    for peer in _workers(only_here):
        output.say(f"{peer.name} would be asked to do the same, first")


def _upgrade(to: str, only_here: bool, from_remote: bool, lock: upgrades.Lock) -> None:
    home, tell = state_dir(), _noting(to) if from_remote else output.say
    if cut := upgrades.begun(home):
        upgrade.resume(cut, home, tell, lock)
        _start_anew()
    step = upgrade.planned(to, from_remote=from_remote)
    _show(step)
    workers = _workers(only_here)
    for peer in workers:
        asyncio.run(_worker(peer, step.new))
    if step.old != step.new:
        upgrade.carry_out(step, home, tell, lock)
        tell("starting anew what runs")
        _start_anew()
    elif _is_stale():
        upgrade.restart(output.say)
    output.say("done" + ("; on every machine" if workers else ""))


def _workers(only_here: bool) -> list[Peer]:
    return [] if only_here else list(machine.paired().read().of("worker"))


def _start_anew() -> None:
    """Start services anew, after which nothing is left to do of a step."""
    upgrade.restart(output.say)
    upgrades.end(state_dir())


def _show(step: upgrade.Step) -> None:
    if step.old == step.new:
        output.say(f"this machine runs {step.old[:12]}, the newest")
        return
    output.say(f"from {step.old[:12]} to {step.new[:12]}:")
    for subject in step.subjects:
        output.say(f"  {subject}")


@contextlib.contextmanager
def _noted(commit: str) -> Generator[None]:
    """Have the router that asked for an upgrade know how it ends."""
    try:
        yield
    except TandemError as error:
        _note(commit, "failed", error.message)
        raise
    except BaseException as error:
        _note(commit, "failed", f"it was ended by {type(error).__name__}; the next `tandem upgrade` takes it up again")
        raise
    _note(commit, "done", "")


def _noting(commit: str) -> Callable[[str], None]:
    """Return what says a step, and has the router that asked for it know."""

    def tell(words: str) -> None:
        output.say(words)
        _note(commit, "running", words)

    return tell


def _note(commit: str, state: upgrades.State, words: str) -> None:
    upgrades.tell(state_dir(), upgrades.Outcome(commit=commit, state=state, words=words, time_s=time.time()))


def _is_stale() -> bool:
    """Return whether a router or a worker runs here that was started from another commit."""
    router = running_router()
    runs = "" if router is None else router.get("/v1/status").get("build")
    return any(one not in ("", build.commit()) for one in (runs, asyncio.run(_own_worker())))


async def _own_worker() -> str:
    """Return what the worker on this machine runs, "" where there is none, and its protocol's trouble if it has another."""
    socket = socket_path(state_dir(), "worker")
    if not socket.exists():
        return ""
    node: Any = importlib.import_module("router.node").Node.at_socket(socket)
    try:
        return str((await node.describe(patient=False)).build)
    except VersionSkew as error:
        return error.message
    except Unavailable:
        return ""
    finally:
        await node.close()


async def _worker(peer: Peer, commit: str) -> None:
    """Have a paired worker upgrade itself, and wait until it is back as what it is to be."""
    paired: Any = importlib.import_module("router.paired")
    logging.getLogger("router").addHandler(logging.NullHandler())  # what it logs is said here in other words
    node = paired.PairedNode(peer, machine.mine(), load().link)
    try:
        if await _build(node, commit) == commit:
            output.say(f"{peer.name} runs {commit[:12]} already")
            return
        begun = await _asked(node, commit)
        output.say(f"{peer.name} has begun; it writes to {begun.log} there")
        if not begun.state:
            raise Unavailable(f"{peer.name} is too old to say what becomes of it; look there, then upgrade once more")
        await _back(node, commit, begun.log)
        output.say(f"{peer.name} runs {commit[:12]}")
    finally:
        await node.close()


async def _build(node: Any, commit: str) -> str:
    """Return what a worker runs, also where it speaks another protocol.

    Raises:
        Unavailable: It cannot be reached in a way that is allowed.
    """
    try:
        return str((await node.look()).build)
    except VersionSkew:
        return str((await _asked(node, commit, look=True)).build)


async def _asked(node: Any, commit: str, *, look: bool = False) -> Any:
    """Have a worker that was looked at begin an upgrade, or say what became of it; see `UpgradeResponse`."""
    channel: Any = importlib.import_module("tandem.channel")
    pb: Any = importlib.import_module("tandem.v1.worker_pb2")
    with channel.translated(f"worker {node.peer.name}"):
        return await node.stub.Upgrade(pb.UpgradeRequest(commit=commit, look=look), timeout=_ASK_S)


async def _back(node: Any, commit: str, log: str) -> None:
    """Wait until a worker runs `commit`, and say meanwhile what it does.

    Raises:
        Unavailable: It failed there, or took too long.
    """
    name, until = node.peer.name, time.monotonic() + _WORKER_S
    told, told_s, is_done = "", time.monotonic(), False
    while time.monotonic() < until:
        now = await _became(node, commit)
        if now is not None and now.build == commit:
            return
        if now is not None and now.state == "failed":
            raise Unavailable(f"{name} was not upgraded: {now.words}; the whole log, there: {log}")
        if now is not None and now.state == "done" and not is_done:
            is_done, until = True, min(until, time.monotonic() + _BACK_S)
        words = "it is away, being started anew" if now is None else now.words or "it is to be started anew"
        if words != told or time.monotonic() - told_s > _TELL_S:
            output.say(f"{name}: {words}")
            told, told_s = words, time.monotonic()
        await asyncio.sleep(_LOOK_S)
    why = "its upgrade is done, but its worker was not started anew; do that" if is_done else "look at its log"
    raise Unavailable(f"{name} has not come back as {commit[:12]} in time: {why} there ({log})")


async def _became(node: Any, commit: str) -> Any:
    """Return what a worker says of its upgrade, None while it is away. Its protocol is no matter: this call is in each."""
    try:
        node.doubt()
        with contextlib.suppress(VersionSkew):
            await node.look()
        return await _asked(node, commit, look=True)
    except (Unavailable, DeadlineExceeded):
        return None


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
