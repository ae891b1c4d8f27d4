"""All addresses of a paired worker looked at over real mutual TLS: the quickest is used, a forbidden one is not."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from router import measuring, paired
from router.links import Links
from router.node import Node
from router.paired import PairedNode
from router.routes import Route
from router.ways import ASKING
from tandem import identity, interfaces
from tandem.config import LinkConfig
from tandem.errors import BadInput, Unreachable
from tandem.peers import Peers
from tandem.v1 import worker_pb2 as pb
from tests.support.clockshim import clock_shim
from tests.support.faultproxy import FaultProxy
from tests.support.machine import Machine, question
from tests.support.pairs import free_port
from tests.support.pairs import paired as pair_up

SLOW_S = 0.02  # for each piece that goes through


class Ways:
    """A worker at an address that is quick, and behind one that is slow; a router's state folder that knows both."""

    def __init__(self, folder: Path, quick: str, slow: str, behind: FaultProxy) -> None:
        self.book, self.quick, self.slow, self.behind = folder / "book", quick, slow, behind
        self.mini = folder / "mini"

    async def ready(self) -> None:
        """Wait until the worker listens."""
        async with looked_at(self.node(self.quick)):
            pass

    def node(self, *addresses: str, link: LinkConfig | None = None) -> PairedNode:
        """Return the worker as a router has it that knows these addresses."""
        return PairedNode(pair_up(self.book, self.mini, *addresses), identity.load(self.book), link)


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    folder = tmp_path_factory.mktemp("ways")
    quick, slow = free_port(), free_port()
    settings = {"TANDEM_WORKER_LISTEN": f"127.0.0.1:{quick}", "TANDEM_STATE": str(folder / "mini")}
    replies = [{"persona": "coder", "text": " ".join(f"word{number:03d}" for number in range(300))}]
    with (
        Machine(folder, replies, TANDEM_REHEARSAL_TOKENS_S="300", **settings),
        FaultProxy(listen=("127.0.0.1", slow), target=("127.0.0.1", quick)) as behind,
    ):
        made = Ways(folder, f"127.0.0.1:{quick}", f"127.0.0.1:{slow}", behind)
        asyncio.run(made.ready())
        yield made


@pytest.fixture(autouse=True)
def healed(ways: Ways) -> Iterator[None]:
    ways.behind.heal()
    ways.behind.delay(SLOW_S)
    return


@asynccontextmanager
async def looked_at(node: PairedNode) -> AsyncGenerator[PairedNode]:
    try:
        async with asyncio.timeout(20):
            while node.trouble:
                try:
                    await node.look()
                except Unreachable:
                    await asyncio.sleep(0.1)
        yield node
    finally:
        await node.close()


def test_the_quicker_address_is_found_and_used_in_the_middle_of_a_reply(ways: Ways) -> None:
    async def scenario() -> None:
        from router.dispatcher import Dispatcher

        async with looked_at(ways.node(ways.slow, ways.quick)) as node:
            assert node.address == ways.slow
            nodes = Dispatcher([node], git_dir_of=lambda repo_id: Path("/nowhere"))
            told: list[str] = []
            asked = asyncio.create_task(nodes.complete(question("moved"), lambda chunk: told.append(chunk.text)))
            while not told:  # noqa: ASYNC110 - another task is looked at
                await asyncio.sleep(0.01)
            await node.survey()
            assert node.address == ways.quick, node.ways.routes
            assert "times as long" in node.why, node.ways.routes
            reply = await asked
            assert "".join(told) == reply.text  # nothing lost, nothing twice
            slow, quick = node.ways.routes[ways.slow], node.ways.routes[ways.quick]
            assert slow.rtt_s
            assert quick.rtt_s
            assert slow.rtt_s > quick.rtt_s
            assert slow.bytes_s
            assert quick.bytes_s

    asyncio.run(scenario())


def test_what_answers_no_more_is_left_and_what_answers_again_is_taken_back(
    ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paired, "SURVEY_S", 0.0)

    async def scenario() -> None:
        async with looked_at(ways.node(ways.quick, ways.slow)) as node:
            await node.survey()
            assert node.address == ways.quick
            ways.behind.refuse()
            ways.behind.cut_now()
            await node.survey()
            assert node.ways.routes[ways.slow].trouble
            ways.behind.refuse(False)
            await node.survey()
            assert not node.ways.routes[ways.slow].trouble

    asyncio.run(scenario())


def test_over_wifi_nothing_is_sent_unless_it_is_allowed(ways: Ways) -> None:
    air = {interfaces.carrier("127.0.0.1"): "wifi"}

    async def scenario() -> None:
        before = ways.behind.counts["connections"]
        barred = ways.node(ways.slow, link=LinkConfig.model_validate({"media": air}))
        try:
            with pytest.raises(Unreachable, match=r"is reached over Wi-Fi, which is not allowed.*link\.wifi = true"):
                await barred.look()
        finally:
            await barred.close()
        assert ways.behind.counts["connections"] == before  # not so much as a connection
        allowed = ways.node(ways.slow, link=LinkConfig.model_validate({"media": air, "wifi": True}))
        async with looked_at(allowed) as node:
            await node.survey()
            assert node.ways.routes[ways.slow].medium == "wifi"

    asyncio.run(scenario())


def test_the_worker_tells_where_it_is_and_that_is_kept(ways: Ways) -> None:
    async def scenario() -> None:
        pair_up(ways.book, ways.mini, ways.slow)
        links = Links(ways.book, lambda nodes: None)
        running = asyncio.create_task(links.run())
        try:
            async with asyncio.timeout(20):
                await until(lambda: Peers(ways.book).read().peers[0].addresses[:2] == (ways.quick, ways.slow))
                await until(lambda: links.told()[0]["routes"])
            found: Any = links.told()[0]
            assert {route["address"] for route in found["routes"]} == {ways.quick, ways.slow}
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())


def test_a_measurement_has_bounds(ways: Ways) -> None:
    async def scenario() -> None:
        async with looked_at(ways.node(ways.quick)) as node:
            for size in (-1, 17 << 20):
                with pytest.raises(BadInput, match=r"bytes were asked for, and 0 to \d+ are sent"):
                    await _all(node, size)
            assert await _all(node, 1) == 1
            assert await _all(node, 300_001) == 300_001
            ways.behind.black_hole()
            stuck = ways.node(ways.slow)
            try:
                with pytest.raises(Unreachable):
                    await measuring.round_trip_s(stuck.stub, "mini", 0.5)
            finally:
                await stuck.close()

    asyncio.run(scenario())


async def until(true: Callable[[], object]) -> None:
    while not true():  # noqa: ASYNC110 - another task is looked at
        await asyncio.sleep(0.05)


async def _all(node: Node, size: int) -> int:
    from tandem import channel

    with channel.translated("mini"):
        return sum([len(piece.data) async for piece in node.stub.Measure(pb.MeasureRequest(bytes=size), timeout=10)])


@pytest.mark.needs("a C compiler")
def test_how_far_a_worker_s_clock_is_off_is_seen_and_named_by_the_doctor(tmp_path: Path) -> None:
    from cli.doctor import router as doctor

    port = free_port()
    pair_up(tmp_path / "book", tmp_path / "mini", f"127.0.0.1:{port}")

    async def told(wanted: Callable[[float], bool]) -> Any:
        links = Links(tmp_path / "book", lambda nodes: None)
        running = asyncio.create_task(links.run())
        try:
            async with asyncio.timeout(30):
                await until(lambda: links.told() and wanted(links.told()[0]["clock_apart_s"] or 0.0))
            return links.told()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    with clock_shim(tmp_path) as clock:
        settings = {"TANDEM_WORKER_LISTEN": f"127.0.0.1:{port}", "TANDEM_STATE": str(tmp_path / "mini"), **clock.env}
        with Machine(tmp_path, [], **settings):
            clock.set(-90.0)
            late = asyncio.run(told(lambda apart: apart < -80))
            clock.set(0.0)
            right = asyncio.run(told(lambda apart: 0 < abs(apart) < 5))
    (found,) = (one for one in doctor.nodes({"peers": late}) if one.name == "clocks")
    assert (found.ok, found.cause, found.text) == (
        False,
        "clock-differs",
        "paired worker mini is 90 s behind this machine",
    )
    (found,) = (one for one in doctor.nodes({"peers": right}) if one.name == "clocks")
    assert found.ok


def test_what_cannot_be_found_out_in_time_is_no_cable(ways: Ways) -> None:
    over = threading.Event()

    async def scenario() -> None:
        node = ways.node(ways.quick)
        busy = [ASKING.submit(over.wait) for _ in range(8)]  # as silent addresses keep them
        try:
            with pytest.raises(Unreachable):
                async with asyncio.timeout(10):
                    await node._first_answer()
        except TimeoutError:
            pass  # nobody is left to say why, either: nothing was sent
        finally:
            over.set()
            await asyncio.gather(*map(asyncio.wrap_future, busy))
            await node.close()
        assert node.known() is None

    asyncio.run(scenario())


def test_one_missed_measurement_moves_nobody_and_a_failed_look_does(ways: Ways) -> None:
    async def scenario() -> None:
        async with looked_at(ways.node(ways.slow, ways.quick)) as node:
            ways.behind.black_hole()
            await node.survey()
            assert node.ways.routes[ways.slow].trouble
            assert node.address == ways.slow
            node.doubt()
            await node.look()
            assert node.address == ways.quick

    asyncio.run(scenario())


def test_an_address_that_is_tried_again_stays_in_view_with_its_network(tmp_path: Path) -> None:
    folders = tmp_path / "book", tmp_path / "mini"
    addresses = {f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"}

    async def scenario() -> None:
        node = PairedNode(pair_up(*folders, *addresses), identity.load(folders[0]))
        try:
            for again in (False, True):
                looking = asyncio.create_task(node.look())
                while not looking.done():
                    assert not again or set(node.ways.routes) == addresses
                    await asyncio.sleep(0)
                assert isinstance(looking.exception(), Unreachable)
                assert {route.medium for route in node.ways.routes.values()} == {"inside"}
                assert all("nothing listens" in route.trouble for route in node.ways.routes.values())
            node.ways.seen([Route(address=address, medium="unknown", trouble="no way") for address in addresses])
            assert {route.medium for route in node.ways.routes.values()} == {"inside"}, "as before the cable was out"
        finally:
            await node.close()

    asyncio.run(scenario())


def test_a_look_that_fails_unforeseen_is_not_the_last(tmp_path: Path) -> None:
    async def scenario() -> None:
        pair_up(tmp_path / "book", tmp_path / "mini", "a..b:7432")  # a name that is none
        links = Links(tmp_path / "book", lambda nodes: None)
        running = asyncio.create_task(links.run())
        try:
            async with asyncio.timeout(30):
                await until(lambda: links.told() and links.told()[0]["trouble"])
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())
