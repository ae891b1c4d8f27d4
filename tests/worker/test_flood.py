"""A worker's port for paired routers under connections of somebody who only says nonsense, many at a time."""

import asyncio
import os
import random
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tandem import identity, probe
from tandem.endpoints import Endpoint
from tests.support.machine import Machine
from tests.support.pairs import free_port, known_at

THREADS = 8
ROUNDS = 1500 if os.environ.get("TANDEM_SOAK") else 120
AT_ONCE = 10
HELLO = b"\x16\x03\x01"  # how a TLS handshake begins, and nothing else of one


def flood(at: Endpoint, seed: int) -> int:
    """Connect many times, say nonsense, and leave in one way or another; returns how many connections were made."""
    dice, made = random.Random(seed), 0
    for _ in range(ROUNDS):
        wires = list[socket.socket]()
        for _ in range(AT_ONCE):
            try:
                wires.append(socket.create_connection(at, 5))
                wires[-1].sendall(HELLO + dice.randbytes(dice.randint(1, 200)))
            except OSError:
                continue  # too many at once are closed, as they should be
        for wire in wires:
            wire.close()
        made += len(wires)
    return made


@pytest.mark.timeout(600)
def test_who_says_nonsense_again_and_again_ends_no_worker(tmp_path: Path) -> None:
    at = Endpoint("127.0.0.1", free_port())
    machine = Machine(tmp_path, [], TANDEM_WORKER_LISTEN=str(at))
    machine.argv += ["--home", str(home := tmp_path / "home")]
    me, book = identity.load(home), identity.load(tmp_path / "book")
    known_at(home, book, "book", "router")

    async def reached() -> None:
        async with asyncio.timeout(20):
            while (await asyncio.to_thread(probe.look, book, me.id, at)).kind != "open":  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    with machine:
        asyncio.run(reached())
        assert machine.process is not None
        with ThreadPoolExecutor(THREADS) as threads:
            made = sum(threads.map(lambda seed: flood(at, seed), range(THREADS)))
        assert made > THREADS * ROUNDS, "hardly any connection was made"
        assert machine.process.poll() is None, machine.process.communicate()[1][-2000:].decode("utf-8", "replace")
        asyncio.run(reached())
