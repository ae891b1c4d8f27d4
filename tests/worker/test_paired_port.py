"""The port for paired routers, looked at from somebody who is not paired, and from one who is not any more."""

import asyncio
import contextlib
import socket
import ssl
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from tandem import channel, identity, probe
from tandem.endpoints import Endpoint
from tandem.identity import TLS_NAME, Identity
from tandem.peers import Peers
from tests.support.pairs import Recorded, free_port, known_at
from worker import connections
from worker.connections import Peer
from worker.paired import STOP_S, PairedPort

ECHO = "/test/Echo"


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
        if request == b"slowly":
            await asyncio.sleep(STOP_S + 3)
        return request

    methods = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}  # type: ignore[arg-type]
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


def handshaken(place: Place, router: Identity, folder: Path) -> ssl.SSLSocket:
    """Return a connection of a router's over which TLS was agreed on, and nothing asked."""
    (folder / "key").write_bytes(router.key)
    (folder / "certificate").write_bytes(router.certificate)
    context = ssl.create_default_context(cadata=place.me.certificate.decode())
    context.load_cert_chain(folder / "certificate", folder / "key")
    context.set_alpn_protocols(["h2"])
    wire = context.wrap_socket(socket.create_connection(place.at, 5), server_hostname=TLS_NAME)
    assert wire.recv(3), "its settings: the worker took the certificate"
    return wire


def test_one_that_goes_takes_no_call_of_anothers_with_it_and_keeps_no_connection(tmp_path: Path) -> None:
    place = Place(tmp_path)
    book, desk = place.router(tmp_path / "book"), place.router(tmp_path / "desk")

    async def scenario() -> None:
        async with running(place), place.channel(desk) as other:
            slow = asyncio.ensure_future(other.unary_unary(ECHO)(b"slowly", timeout=30))
            silent = await asyncio.to_thread(handshaken, place, book, tmp_path)
            with silent, socket.create_connection(place.at, 5) as half:
                await asyncio.sleep(0.2)  # the call is there
                Peers(place.home).remove(book.id)
                raw = socket.socket(fileno=silent.detach())
                with raw:
                    both = asyncio.gather(drained(raw), drained(half))
                    await asyncio.wait_for(both, STOP_S + 2)
            assert not slow.done()
            assert await slow == b"slowly"
            assert other.get_state() == grpc.ChannelConnectivity.READY

    asyncio.run(scenario())


async def drained(wire: socket.socket) -> None:
    """Wait for the other end to close a connection, whatever it still says."""
    wire.setblocking(False)
    with contextlib.suppress(ConnectionResetError):
        while await asyncio.get_running_loop().sock_recv(wire, 1 << 16):
            pass


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("ipv4:192.0.2.1:51", Peer("192.0.2.1", 51)),
        ("ipv6:%5B::1%5D:7", Peer("::1", 7)),
        ("ipv6:[fe80::1%25en0]:7", Peer("fe80::1", 7)),
        ("ipv6:%5B::ffff:192.0.2.1%5D:7", Peer("192.0.2.1", 7)),
        ("unix:/somewhere", Peer("unix:/somewhere", 0)),
        ("", Peer("", 0)),
    ],
)
def test_a_far_end_is_read_as_grpc_spells_it(text: str, peer: Peer) -> None:
    assert connections.peer_of(text) == peer


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_of_all_connections_those_that_came_in_at_a_port_go_but_for_whom_to_keep(family: int, host: str) -> None:
    with contextlib.ExitStack() as all_of_it:
        servers = [all_of_it.enter_context(socket.create_server((host, 0), family=family)) for _ in range(2)]
        ports = [server.getsockname()[1] for server in servers]
        wires = [all_of_it.enter_context(socket.create_connection((host, port), 5)) for port in (ports[0], *ports)]
        for server in (servers[0], *servers):
            all_of_it.enter_context(server.accept()[0])
        kept, gone, elsewhere = wires
        assert connections.drop({ports[0]}, {Peer(host, kept.getsockname()[1])}) == 1
        assert gone.recv(1) == b""
        for wire in (kept, elsewhere):
            wire.setblocking(False)
            with pytest.raises(BlockingIOError):
                wire.recv(1)
        connections.drop({ports[0]}, set())
        assert kept.recv(1) == b""
        all_of_it.enter_context(socket.create_connection((host, ports[0]), 5))  # it listens still
