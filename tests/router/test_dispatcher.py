import asyncio
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from router.dispatcher import Dispatcher
from router.node import Node
from tandem.errors import BadReply, DeadlineExceeded, ResourceExhausted, Unavailable, UnknownModel, Unreachable
from tandem.types import Chunk, Load, Reply
from tests.support.faultproxy import FaultProxy
from tests.support.machine import LONG, Machine, Wire, dispatcher, question, whole

PACED = " ".join(f"word{number:04d}" for number in range(400))
REPLIES = [
    {"persona": "coder", "text": PACED},
    {"persona": "writer", "text": LONG},
    {"persona": "brief", "reply": {"sure": True}},
    {"persona": "stuck", "fault": "hang"},
    {"persona": "late", "text": "at last", "delay_s": 1.0},
]


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One place, one that may wait, about two seconds for the coder's reply."""
    folder = tmp_path_factory.mktemp("slow")
    with Machine(folder, REPLIES, TANDEM_REHEARSAL_TOKENS_S="500", TANDEM_WORKER_QUEUE="1") as machine:
        yield machine


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(tmp_path_factory.mktemp("quick"), REPLIES) as machine:
        yield machine


async def ask(made: Dispatcher, name: str, persona: str = "coder", **more: object) -> tuple[Reply, list[Chunk]]:
    chunks: list[Chunk] = []
    reply = await made.complete(question(name, persona, **more), chunks.append)
    return reply, chunks


def test_the_pieces_make_up_the_reply_and_name_the_node(quick: Machine) -> None:
    async def scenario() -> None:
        async with dispatcher(quick.socket) as made:
            reply, chunks = await ask(made, "pieces", "writer")
            assert whole(chunks) == reply.text == LONG
            assert (reply.node, reply.rehearsed, reply.backend) == ("desk", True, "rehearsal")

    asyncio.run(scenario())


def test_pieces_that_wait_together_travel_together_and_the_first_travels_at_once(slow: Machine) -> None:
    async def scenario() -> None:
        async with dispatcher(slow.socket) as made:
            came: list[float] = []
            started = time.monotonic()
            reply = await made.complete(question("gathered"), lambda chunk: came.append(time.monotonic() - started))
            words = len(PACED.split())
            assert reply.first_token_ms < 1000
            assert came[0] * 1000 < reply.first_token_ms + 500
            assert 10 < len(came) < words
            assert max(b - a for a, b in pairwise(came)) < 1.0

    asyncio.run(scenario())


def test_a_cut_connection_is_picked_up_where_it_broke(slow: Machine, tmp_path: Path) -> None:
    async def scenario() -> None:
        wire = Wire(lambda number: 2500 if number < 4 else 1 << 40)
        async with wire.to(slow.socket, tmp_path / "cut") as cut, dispatcher(cut) as made:
            reply, chunks = await ask(made, "cut")
            assert whole(chunks) == reply.text == PACED
            assert wire.connections >= 4

    asyncio.run(scenario())


def test_a_worker_killed_in_the_middle_and_started_again_answers_the_call(tmp_path: Path) -> None:
    async def scenario(machine: Machine) -> None:
        async with dispatcher(machine.socket) as made:
            begun, chunks = asyncio.Event(), list[Chunk]()

            def told(chunk: Chunk) -> None:
                chunks.append(chunk)
                if chunk.offset > 300:
                    begun.set()

            call = asyncio.create_task(made.complete(question("killed"), told))
            await begun.wait()
            machine.stop(signal.SIGKILL)
            await asyncio.to_thread(machine.start)
            reply = await call
            assert reply.text == PACED
            anew = [number for number, chunk in enumerate(chunks) if chunk.offset == 0]
            assert len(anew) == 2, "another process begins anew"
            assert whole(chunks[anew[1] :]) == PACED

    with Machine(tmp_path, REPLIES, TANDEM_REHEARSAL_TOKENS_S="600") as machine:
        asyncio.run(scenario(machine))


def test_cancelled_here_the_work_stops_there_within_half_a_second(slow: Machine) -> None:
    async def scenario() -> None:
        async with dispatcher(slow.socket) as made:
            first = asyncio.create_task(made.complete(question("given up", "stuck"), lambda chunk: None))
            await asyncio.sleep(0.3)  # it holds the only place
            first.cancel()
            started = time.monotonic()
            with pytest.raises(asyncio.CancelledError):
                await first
            reply, _ = await ask(made, "next", "brief", deadline_s=5)
            assert reply.text == '{"sure": true}'
            assert time.monotonic() - started < 0.5 + reply.total_ms / 1000

    asyncio.run(scenario())


def test_a_call_that_takes_longer_than_it_may_is_ended(slow: Machine) -> None:
    async def scenario() -> None:
        async with dispatcher(slow.socket) as made:
            started = time.monotonic()
            with pytest.raises(DeadlineExceeded, match="deadline"):
                await ask(made, "too long", "stuck", deadline_s=0.6)
            assert time.monotonic() - started < 3
            await ask(made, "after it", "brief", deadline_s=5)  # the place is free again

    asyncio.run(scenario())


async def busy(made: Dispatcher, name: str, **more: object) -> asyncio.Task[tuple[Reply, list[Chunk]]]:
    """Start a call that never ends by itself, and return it once it had time to get there."""
    call = asyncio.create_task(ask(made, name, "stuck", deadline_s=20, **more))
    await asyncio.sleep(0.3)
    return call


async def given_up(*calls: asyncio.Task[tuple[Reply, list[Chunk]]]) -> None:
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


def test_where_other_routers_have_the_places_one_more_than_may_wait_there_is_refused(slow: Machine) -> None:
    async def scenario() -> None:
        async with dispatcher(slow.socket) as one, dispatcher(slow.socket) as two, dispatcher(slow.socket) as three:
            calls = [await busy(one, "theirs"), await busy(two, "waits there")]
            with pytest.raises(ResourceExhausted, match=r"worker\.queue"):
                await ask(three, "one too many", "brief")
            await given_up(*calls)

    asyncio.run(scenario())


def test_calls_of_one_router_wait_at_the_router_and_the_most_urgent_goes_first(slow: Machine) -> None:
    async def scenario() -> None:
        async with dispatcher(slow.socket) as made:
            first, order = await busy(made, "has the place"), list[str]()

            async def later(name: str, priority: int) -> None:
                await ask(made, name, "brief", priority=priority)
                order.append(name)

            names = (("batch 1", 10), ("batch 2", 10), ("batch 3", 10), ("person", 1))
            waiting = [asyncio.create_task(later(name, priority)) for name, priority in names]
            await asyncio.sleep(0.3)
            said = (await made.describe())[0]
            assert said.calls == Load(places=1, running={1: 1}), "more than may wait at the worker wait here"
            await given_up(first)
            await asyncio.gather(*waiting)
            assert order == ["person", "batch 1", "batch 2", "batch 3"]

    asyncio.run(scenario())


def test_a_deadline_holds_while_a_call_waits_for_a_place(slow: Machine) -> None:
    async def scenario() -> None:
        async with dispatcher(slow.socket) as made:
            first, started = await busy(made, "in the way"), time.monotonic()
            with pytest.raises(DeadlineExceeded, match=r"no place was free for this call within its 0\.5 s.*wait: 1"):
                await ask(made, "in a hurry", "brief", deadline_s=0.5)
            assert time.monotonic() - started < 2
            await given_up(first)
            await ask(made, "the next", "brief", deadline_s=5)

    asyncio.run(scenario())


def test_who_gave_up_waiting_leaves_its_turn_to_the_next(slow: Machine) -> None:
    async def scenario() -> None:
        async with dispatcher(slow.socket) as made:
            first = await busy(made, "in the way again")
            impatient = asyncio.create_task(ask(made, "impatient", "brief"))
            patient = asyncio.create_task(ask(made, "patient", "brief"))
            await asyncio.sleep(0.1)
            await given_up(impatient)
            await given_up(first)
            assert (await patient)[0].text == '{"sure": true}'

    asyncio.run(scenario())


def test_a_place_that_another_router_leaves_is_found(slow: Machine) -> None:
    async def scenario() -> None:
        async with dispatcher(slow.socket) as theirs, dispatcher(slow.socket) as made:
            first = await busy(theirs, "somebody else's")
            calls = [asyncio.create_task(ask(made, f"ours {number}", "brief")) for number in range(3)]
            await asyncio.sleep(0.3)
            await given_up(first)
            replies = await asyncio.wait_for(asyncio.gather(*calls), 10)
            assert {reply.text for reply, _ in replies} == {'{"sure": true}'}

    asyncio.run(scenario())


def test_the_same_call_asked_twice_costs_one_piece_of_work(slow: Machine) -> None:
    async def scenario() -> None:
        async with dispatcher(slow.socket) as made:
            started = time.monotonic()  # one place: twice the work would take two seconds
            one, two = await asyncio.gather(ask(made, "twice", "late"), ask(made, "twice", "late"))
            assert time.monotonic() - started < 1.9
            assert one[0] == two[0]
            assert whole(one[1]) == whole(two[1]) == "at last"
            assert one[0].text == "at last"
            again, _ = await ask(made, "twice", "late")
            assert again.total_ms == one[0].total_ms, "the kept answer, not another one"
            another, _ = await ask(made, "twice", "late", attempt=2)
            assert another.total_ms != one[0].total_ms

    asyncio.run(scenario())


def test_more_calls_than_are_kept_are_answered_all(quick: Machine) -> None:
    async def scenario() -> None:
        async with dispatcher(quick.socket) as made:
            for number in range(600):
                reply, _ = await ask(made, f"many {number}", "brief")
                assert reply.text == '{"sure": true}'

    asyncio.run(scenario())


def test_an_unknown_model_names_what_there_is(quick: Machine) -> None:
    async def scenario() -> None:
        async with dispatcher(quick.socket) as made:
            with pytest.raises(UnknownModel, match=r"'rehearsal/other'.*rehearsal/play, rehearsal/random"):
                await ask(made, "unknown", model="rehearsal/other")

    asyncio.run(scenario())


def test_what_the_worker_says_of_itself_is_not_tried_again(quick: Machine) -> None:
    async def scenario() -> None:
        async with dispatcher(quick.socket) as made:
            started = time.monotonic()
            with pytest.raises(BadReply, match="no reply for persona 'stranger', turn 1"):
                await ask(made, "stranger", "stranger")
            assert time.monotonic() - started < 2

    asyncio.run(scenario())


def test_a_worker_that_is_not_there_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.node.DESCRIBE_S", 0.3)

    async def scenario() -> None:
        async with dispatcher(tmp_path / "nobody") as made:
            assert await made.describe() == []
            with pytest.raises(Unavailable, match="tandem doctor"):
                await ask(made, "nobody", deadline_s=5)

    asyncio.run(scenario())


def test_a_call_to_nobody_ends_at_its_deadline(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with dispatcher(tmp_path / "nobody") as made:
            started = time.monotonic()
            with pytest.raises(DeadlineExceeded, match=r"no worker answered within the 0\.5 s.*tandem doctor"):
                await ask(made, "nobody", deadline_s=0.5)
            assert time.monotonic() - started < 2

    asyncio.run(scenario())


def test_a_node_is_asked_what_it_is_only_every_few_seconds(quick: Machine) -> None:
    async def scenario() -> None:
        node = Node.at_socket(quick.socket)
        try:
            assert node.known() is None
            info = await node.describe()
            assert (info.name, await node.describe()) == ("desk", info)
            assert node.known() is info
            node.doubt()
            assert node.known() is None
            assert (await node.describe()).boot_id == info.boot_id
        finally:
            await node.channels.calls.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("when", ["unnoticed", "noticed"])
def test_what_was_cancelled_while_its_worker_was_away_is_stopped_once_that_answers(
    slow: Machine, tmp_path: Path, when: str
) -> None:
    """It has the only place, and would keep it for half a minute."""

    async def scenario(cable: FaultProxy) -> None:
        made = Dispatcher([Node(f"unix:{tmp_path / 'w.sock'}", "desk")], lambda repo_id: Path("/nowhere"))
        try:
            call = asyncio.create_task(made.complete(question(when, "stuck"), lambda chunk: None))
            await comes_to(1, slow)
            cable.black_hole()
            cable.refuse()
            if when == "noticed":
                cable.cut_now()
                with pytest.raises(Unreachable):
                    await call
                made.abandon("run")
            else:
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                cable.cut_now()
            assert await at_work(slow) == 1
            cable.heal()
            await comes_to(0, slow)
        finally:
            await made.close()

    with FaultProxy(listen=tmp_path / "w.sock", target=slow.socket) as cable:
        asyncio.run(scenario(cable))


async def at_work(machine: Machine) -> int:
    """Return how many calls are under way at a worker, as it says itself."""
    node = Node.at_socket(machine.socket)
    try:
        load = (await node.describe()).calls
        assert load is not None
        return sum(load.running.values())
    finally:
        await node.close()


async def comes_to(calls: int, machine: Machine) -> None:
    """Wait until so many calls are under way at a worker."""
    async with asyncio.timeout(15):
        while await at_work(machine) != calls:  # noqa: ASYNC110 - another program is looked at
            await asyncio.sleep(0.05)
