"""The two ends of the link that is measured: a worker and the floor as processes, this process as the router of both.

Paired as `tandem pair` leaves it, over 127.0.0.1, in state folders of their own; the worker plays a script.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from grpc import aio

from bench import floor, pair, programs
from router.dispatcher import Dispatcher
from router.links import Links
from router.paired import PairedNode
from router.repository.own import OwnRepository
from tandem import identity
from tandem.errors import Unavailable
from tandem.identity import Identity
from tandem.peers import Peer, Peers, Role

MODEL = "rehearsal/bench"
PERSONA = "bench"
REPLY = "A sentence of the kind that a plan or a file of code is made of. "
_READY_S = 20.0
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """State folders of router and worker, the floor as a peer, and its ports by name (`floor.serve`)."""

    router: Path
    worker: Path
    floor: Peer
    ports: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Open connections: ours to the worker, and the floor's three, of which `floor_paired` is ours to nothing."""

    ends: Ends
    dispatcher: Dispatcher
    node: PairedNode
    tcp: socket.socket
    grpc: Any  # channels for bytes as they are, which their types do not know
    floor_paired: Any


@contextmanager
def machines(folder: Path) -> Generator[Ends]:
    """Have a worker and the floor inside the block, both paired with the router whose state is in `folder`."""
    router, worker, bare = (folder / name for name in ("router", "worker", "floor"))
    worker_port, floor_port = _free_ports(2)
    me = identity.load(router)
    for home in (worker, bare):
        Peers(home).add(_peer(me, "router"))
    Peers(router).add(_peer(identity.load(worker), "worker", worker_port))
    script = folder / "script.yaml"
    script.write_text(yaml.safe_dump({"name": "bench", "replies": [{"persona": PERSONA, "text": REPLY}]}), "utf-8")
    env = pair.environment(worker, script, {"TANDEM_WORKER_LISTEN": f"{_HOST}:{worker_port}"})
    places = ["--home", str(worker), "--state", str(worker), "--socket", str(folder / "w")]
    with ExitStack() as stack:
        stack.enter_context(programs.running([sys.executable, "-m", "tandem", "worker", *places], env))
        beside = [sys.executable, "-m", "bench.floor", str(bare), str(floor_port)]
        ports = json.loads(stack.enter_context(programs.running(beside, env, deaf=True)))
        there = _peer(identity.load(bare), "worker", floor_port)
        yield Ends(router=router, worker=worker, floor=there, ports=ports)


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    with ExitStack() as stack:
        found = [stack.enter_context(socket.create_server((_HOST, 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in found]


def _peer(who: Identity, role: Role, port: int | None = None) -> Peer:
    return Peer(
        id=who.id,
        name=f"bench-{role}",
        role=role,
        certificate=who.certificate.decode(),
        addresses=(f"{_HOST}:{port}",) if port else (),
        paired_s=time.time(),
    )


@asynccontextmanager
async def linked(ends: Ends) -> AsyncGenerator[Link]:
    """Be the router: follow who is paired and look at the worker, as a router does, and be connected with the floor.

    Raises:
        Unavailable: The worker was not reached.
    """
    dispatcher = Dispatcher((), lambda repo_id: OwnRepository.git_dir(ends.router, repo_id))
    beside = PairedNode(ends.floor, identity.load(ends.router))
    following = asyncio.create_task(Links(ends.router, dispatcher.use).run())
    try:
        async with aio.insecure_channel(f"{_HOST}:{ends.ports['grpc']}") as plain:
            with floor.connected(ends.ports["tcp"]) as tcp:
                yield Link(
                    ends=ends,
                    dispatcher=dispatcher,
                    node=await _reached(dispatcher),
                    tcp=tcp,
                    grpc=plain,
                    floor_paired=beside.channels.calls,
                )
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await beside.close()
        await dispatcher.close()


async def _reached(dispatcher: Dispatcher) -> PairedNode:
    """Return the worker once it answers."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_READY_S):
            while True:
                for node in dispatcher.nodes:
                    if isinstance(node, PairedNode) and not node.trouble:
                        return node
                await asyncio.sleep(pair.POLL_S)
    raise Unavailable(f"the paired worker did not answer within {_READY_S:g} s")
