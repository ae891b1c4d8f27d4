"""The port for paired routers, looked at from somebody who is not paired, and from one who is not any more."""

import asyncio
import contextlib
import socket
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from tandem import binding, channel, identity, probe
from tandem.endpoints import Endpoint
from tandem.identity import TLS_NAME, Identity
from tandem.peers import Peers
from tests.support.pairs import Recorded, free_port, known_at
from worker.paired import PairedPort

ECHO, SLOW = "/test/Echo", "/test/Slow"


class Place:
    """A worker's port over one method, `Echo`, and the routers it is paired with."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "mini"
        self.me = identity.load(self.home)
        self.at = Endpoint("127.0.0.1", free_port())
        self.host = Recorded(_add_echo)
        self.port = PairedPort(lambda: self.me, Peers(self.home), (str(self.at),), self.host)

    def router(self, folder: Path) -> Identity:
        """Pair with a router."""
        made = identity.load(folder)
        known_at(self.home, made, folder.name, "router")
        return made

    def channel(self, router: Identity) -> aio.Channel:
        """Return a router's channel to the port."""
        credentials = grpc.ssl_channel_credentials(self.me.certificate, router.key, router.certificate)
        options: Any = (*channel.CLIENT_OPTIONS, ("grpc.ssl_target_name_override", TLS_NAME))
        return aio.secure_channel(str(self.at), credentials, options=options)


@asynccontextmanager
async def running(place: Place) -> AsyncGenerator[None]:
    task = asyncio.create_task(place.port.run())
    try:
        async with asyncio.timeout(10):
            await until(lambda: place.at in place.port.listening)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _add_echo(server: aio.Server) -> None:
    async def echo(request: bytes, context: object) -> bytes:
        return request

    async def slow(request: bytes, context: object) -> bytes:
        await asyncio.sleep(float(request))
        return request

    methods = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),  # type: ignore[arg-type]
        "Slow": grpc.unary_unary_rpc_method_handler(slow),  # type: ignore[arg-type]
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", methods),))


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - another task is looked at
        await asyncio.sleep(0.02)


async def closed_s(wire: socket.socket) -> float:
    """Return after how long the other end closes a connection on which nothing is said; it never says anything itself."""
    began = time.monotonic()
    wire.setblocking(False)
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(wire, 10), 10) == b""
    return time.monotonic() - began


def test_who_connects_and_says_nothing_is_closed_and_those_beyond_the_limit_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.paired.HANDSHAKE_S", 1.0)
    monkeypatch.setattr("worker.paired.CONNECTIONS_MAX", 10)
    place = Place(tmp_path)
    book = place.router(tmp_path / "book")

    async def scenario() -> None:
        async with running(place), contextlib.AsyncExitStack() as wires:
            silent = [wires.enter_context(socket.create_connection(place.at, 5)) for _ in range(30)]
            took = await asyncio.gather(*(closed_s(wire) for wire in silent))
            assert Counter(seconds < 0.5 for seconds in took) == {True: 20, False: 10}
            assert max(took) < 3
            async with place.channel(book) as made:
                assert await made.unary_unary(ECHO)(b"there", timeout=5) == b"there"

    asyncio.run(scenario())


def test_an_unpaired_routers_open_connection_is_closed_and_anothers_calls_go_on(tmp_path: Path) -> None:
    place = Place(tmp_path)
    book, desk = place.router(tmp_path / "book"), place.router(tmp_path / "desk")

    async def scenario() -> None:
        async with running(place), place.channel(book) as gone, place.channel(desk) as other:
            for made in (gone, other):
                assert await made.unary_unary(ECHO)(b"1", timeout=5) == b"1"
            assert gone.get_state() == grpc.ChannelConnectivity.READY
            Peers(place.home).remove(book.id)
            async with asyncio.timeout(5):
                await until(lambda: gone.get_state() != grpc.ChannelConnectivity.READY)
            for number in range(20):
                assert await other.unary_unary(ECHO)(b"%d" % number, timeout=5, wait_for_ready=True) == b"%d" % number
            with pytest.raises(aio.AioRpcError):
                await gone.unary_unary(ECHO)(b"2", timeout=5)
            assert place.host.stopped == [book.id]
        assert (await asyncio.to_thread(probe.look, book, place.me.id, place.at)).kind == "refused"

    asyncio.run(scenario())


def test_another_router_is_paired_and_a_call_under_way_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.paired.STOP_S", 0.1)
    place = Place(tmp_path)
    book = place.router(tmp_path / "book")

    async def scenario() -> None:
        async with running(place), place.channel(book) as first:
            under_way = first.unary_unary(SLOW)(b"2.5", timeout=10)
            await asyncio.sleep(0.2)
            desk = place.router(tmp_path / "desk")
            async with place.channel(desk) as second:
                assert await second.unary_unary(ECHO)(b"2", timeout=5, wait_for_ready=True) == b"2"
                assert await first.unary_unary(ECHO)(b"1", timeout=5, wait_for_ready=True) == b"1"
                assert not under_way.done()
                assert await under_way == b"2.5"
                # and somebody who is removed leaves nobody on the server that was replaced
                last = first.unary_unary(SLOW)(b"5", timeout=10)
                await asyncio.sleep(0.2)
                place.router(tmp_path / "third")
                Peers(place.home).remove(book.id)
                with pytest.raises(aio.AioRpcError):
                    await last
                assert await second.unary_unary(ECHO)(b"3", timeout=5, wait_for_ready=True) == b"3"

    asyncio.run(scenario())


def test_an_address_that_is_taken_is_tried_again_ever_more_rarely_and_grpc_says_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    place.router(tmp_path / "book")
    tries: list[float] = []

    def tried(at: Endpoint) -> tuple[binding.Obstacle, str]:
        if at == place.at:
            tries.append(time.monotonic())
        return obstacle(at)

    obstacle = binding.obstacle
    monkeypatch.setattr(binding, "obstacle", tried)

    async def scenario() -> None:
        with socket.create_server(("0.0.0.0", place.at.port)):
            task = asyncio.create_task(place.port.run())
            await asyncio.sleep(4)
            assert place.at not in place.port.listening
            assert 2 <= len(tries) <= 4, "after 0.5, 1 and 2 s"
        async with asyncio.timeout(20):
            await until(lambda: place.at in place.port.listening)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())
    said = capfd.readouterr().err
    assert "add_port" not in said
    assert "Failed" not in said
