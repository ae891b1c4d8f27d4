"""The router, and what it sees of its workers: their sandboxes, model servers and models."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cli.client import Client, NoRouter
from cli.doctor.clocks import clock
from cli.doctor.finding import Finding, ill, unseen, well
from cli.doctor.look import Look
from cli.doctor.models import Models
from cli.launch import ensure_router
from cli.render.loose import items, objects, text
from router.lock import LOCK_NAME
from tandem import __version__, held
from tandem.errors import DeadlineExceeded, TandemError
from tandem.paths import socket_path

_ANSWER_S = 5.0
_STARTING_S = 3.0  # from a router's lock to its socket: measured 0.4 s
_PEERS_S = 6.0  # a look at an address that leads nowhere takes two seconds
_WORKER_S = 15.0  # a worker that has just been started gets this long to show itself


def findings(look: Look) -> Iterator[Finding]:
    """Yield what is seen of the router, and through it of the workers."""
    if look.config is None:
        yield unseen("router", "not looked at: it would not start with this configuration")
        return
    trouble = _in_the_way(look.state)
    if trouble is not None:
        yield trouble
        return
    try:
        found = _status()
    except TandemError as error:
        yield ill("router", "router-away", "does not answer", error.message)
        return
    yield well("router", f"answers, process {text(found, 'pid')}")
    yield from nodes(found)


def _in_the_way(state: Path) -> Finding | None:
    """Return what keeps a router of ours from answering for this state folder, where something does."""
    until = time.monotonic() + _STARTING_S
    while True:
        try:
            told = Client(socket_path(state, "router")).get("/v1/status", read_s=_ANSWER_S)
        except NoRouter as error:
            owner = held.owner(state / LOCK_NAME)
            if not owner:
                return None  # none runs, and one can be started
            if time.monotonic() > until:
                remedy = f"`kill {owner}`, or use the same TMPDIR and TANDEM_STATE as the command that started it"
                words = f"process {owner} is the router of {state}, but cannot be reached from here: {error.message}"
                return ill("router", "another-router", words, remedy)
            time.sleep(0.1)
        except DeadlineExceeded:
            words = f"a router listens and does not answer within {_ANSWER_S:g} s"
            return ill("router", "router-stuck", words, f"`kill {held.owner(state / LOCK_NAME) or 'PID'}`")
        except TandemError as error:
            return ill("router", "router-away", "does not answer as a router does", error.message)
        else:
            return version(str(told.get("version", "?")))


def version(theirs: str) -> Finding | None:
    """Return that the router that is running is of another version, where it is."""
    if theirs == __version__:
        return None
    words = f"the router that is running is Tandem {theirs}, and this command is {__version__}"
    return ill("router", "router-version", words, "`tandem down`, then `tandem up`; runs go on where they were")


def _status() -> dict[str, Any]:
    """Return the router's status once it sees a machine and has looked at those it is paired with, or as it is then."""
    router = ensure_router()
    router.get("/v1/runs")  # answered when it is ready
    began = time.monotonic()
    while True:
        found = router.get("/v1/status", read_s=15)
        waited_s = time.monotonic() - began
        if (found.get("nodes") and (_looked_at(found) or waited_s > _PEERS_S)) or waited_s > _WORKER_S:
            return found
        time.sleep(0.2)


def _looked_at(found: dict[str, Any]) -> bool:
    """Return whether each paired worker was looked at, and is there or is not."""
    return all(
        peer.get("address") or peer.get("away_since_s")
        for peer in objects(found.get("peers"))
        if peer.get("role") == "worker"
    )


def nodes(found: dict[str, Any]) -> Iterator[Finding]:
    """Yield what the router's status says about its machines, their sandboxes and models."""
    seen = objects(found.get("nodes"))
    for trouble in items(found.get("trouble")):
        yield ill("worker", "worker-trouble", str(trouble), "`tandem down`, then `tandem up`")
    if not seen:
        remedy = f"its log: {Path(text(found, 'state_dir')) / 'logs' / 'worker.log'}"
        yield ill("worker", "worker-away", "no worker has answered the router", remedy)
    models = Models.of(found)
    for node in seen:
        yield from _node(node, models)
    yield from _clocks(objects(found.get("peers")))
    for slot, name in models.wanted.items():
        yield models.finding(slot, name)


def _clocks(peers: list[dict[str, Any]]) -> Iterator[Finding]:
    """Yield how the clock of each paired worker stands that says so."""
    for peer in peers:
        apart = peer.get("clock_apart_s")
        if isinstance(apart, int | float):
            yield clock(float(apart), 0.0, f"paired worker {text(peer, 'name')}")


def _node(node: dict[str, Any], models: Models) -> Iterator[Finding]:
    name, theirs = text(node, "name"), text(node, "version")
    if theirs and theirs != __version__:
        words = f"its worker is Tandem {theirs}, and this command is {__version__}"
        yield ill(f"version on {name}", "worker-version", words, f"install the same Tandem on {name} and here")
    yield _sandbox(node)
    if node.get("backend_trouble"):
        trouble, _, remedy = text(node, "backend_trouble").partition("; ")
        spared = models.elsewhere(name)
        if spared:
            yield unseen(f"models on {name}", f"{trouble}; {spared}")
        else:
            remedy = remedy or "`ollama serve`, or open the Ollama app"
            yield ill(f"models on {name}", "model-server-away", trouble, remedy)


def _sandbox(node: dict[str, Any]) -> Finding:
    name, rung = f"sandbox on {text(node, 'name')}", text(node, "sandbox")
    remedy = text(node, "sandbox_remedy")
    if rung:
        return well(name, rung + (f" ({remedy})" if remedy else ""))
    return ill(name, "sandbox-unavailable", "none works, so no tests can be run", remedy or "see README")
