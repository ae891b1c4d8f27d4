import asyncio
from collections.abc import AsyncIterator

import pytest

from tandem.errors import Cancelled, DeadlineExceeded, ResourceExhausted, Unavailable
from tandem.identity import NodeId
from worker.callers import caller
from worker.generations import WORKS_MAX, Generations


class Source:
    """Counts how often it is started and whether it was stopped."""

    def __init__(self, items: int = 5, pause_s: float = 0.0, error: Exception | None = None) -> None:
        self.items, self.pause_s, self.error = items, pause_s, error
        self.started = self.stopped = 0

    async def __call__(self) -> AsyncIterator[int]:
        self.started += 1
        try:
            for number in range(self.items):
                await asyncio.sleep(self.pause_s)
                yield number
            if self.error:
                raise self.error
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped += 1
            raise


async def collect(registry: Generations[int], source: Source, attempt: int = 1, deadline_s: float = 5) -> list[int]:
    return [item async for item in registry.follow("q", attempt, deadline_s, source)]


def test_asking_again_joins_the_work_and_gets_every_item() -> None:
    async def scenario() -> None:
        registry, source = Generations[int](), Source(pause_s=0.01)
        both = await asyncio.gather(collect(registry, source), collect(registry, source))
        assert both == [[0, 1, 2, 3, 4]] * 2
        assert await collect(registry, source) == [0, 1, 2, 3, 4]
        assert source.started == 1
        assert await collect(registry, source, attempt=2) == [0, 1, 2, 3, 4]
        assert source.started == 2
        await registry.close()

    asyncio.run(scenario())


def test_work_outlives_a_lost_listener_and_is_picked_up() -> None:
    async def scenario() -> None:
        registry, source = Generations[int](), Source(pause_s=0.02)
        listener = registry.follow("q", 1, 5, source)
        assert await anext(listener) == 0
        await listener.aclose()
        await asyncio.sleep(0.05)
        assert await collect(registry, source) == [0, 1, 2, 3, 4]
        assert (source.started, source.stopped) == (1, 0)
        await registry.close()

    asyncio.run(scenario())


def test_work_nobody_listens_to_is_stopped_after_a_while() -> None:
    async def scenario() -> None:
        registry, source = Generations[int](detached_s=0.1), Source(items=1000, pause_s=0.01)
        listener = registry.follow("q", 1, 60, source)
        await anext(listener)
        await listener.aclose()
        await asyncio.sleep(0.5)
        assert source.stopped == 1
        await registry.close()

    asyncio.run(scenario())


def test_cancel_stops_the_work_at_once_and_says_so() -> None:
    async def scenario() -> None:
        registry, source = Generations[int](), Source(items=1000, pause_s=0.01)
        listening = asyncio.create_task(collect(registry, source))
        await asyncio.sleep(0.05)
        assert registry.cancel("q")
        with pytest.raises(Cancelled):
            await listening
        assert source.stopped == 1
        assert not registry.cancel("q")
        await registry.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["cancelled", "nobody listened"])
def test_work_that_takes_a_while_to_end_is_not_joined_once_it_was_stopped(how: str) -> None:
    async def scenario() -> None:
        registry, begun, ended, may_end = Generations[int](detached_s=0.05), list[int](), list[int](), asyncio.Event()

        async def slow_to_end() -> AsyncIterator[int]:
            begun.append(1)
            number = len(begun)
            yield number
            try:
                await asyncio.sleep(0 if number > 1 else 60)
            finally:
                if number == 1:
                    await may_end.wait()  # the processes of a sandbox, say
                    ended.append(number)

        listening = registry.follow("q", 1, 90, slow_to_end)
        assert await anext(listening) == 1
        if how == "cancelled":
            assert registry.cancel("q")
        else:
            await listening.aclose()
            await asyncio.sleep(0.3)
        assert [item async for item in registry.follow("q", 1, 90, slow_to_end)] == [2]
        may_end.set()
        await asyncio.sleep(0.05)
        assert ended == [1], "nobody disturbed it"
        if how == "cancelled":
            with pytest.raises(Cancelled):
                await anext(listening)
        await registry.close()

    asyncio.run(scenario())


def test_the_deadline_stops_the_work_behind_it() -> None:
    async def scenario() -> None:
        registry, source = Generations[int](), Source(items=1000, pause_s=0.01)
        with pytest.raises(DeadlineExceeded, match=r"0\.1 s"):
            await collect(registry, source, deadline_s=0.1)
        assert source.stopped == 1
        await registry.close()

    asyncio.run(scenario())


def test_an_error_reaches_everybody_who_asks() -> None:
    async def scenario() -> None:
        registry, source = Generations[int](), Source(error=Unavailable("gone"))
        for _ in range(2):
            with pytest.raises(Unavailable, match="gone"):
                await collect(registry, source)
        assert source.started == 1
        await registry.close()

    asyncio.run(scenario())


def test_what_ended_is_forgotten_after_a_while() -> None:
    async def scenario() -> None:
        registry, source = Generations[int](detached_s=0.1, kept_s=0.05), Source()
        await collect(registry, source)
        await asyncio.sleep(0.3)
        await collect(registry, source)
        assert source.started == 2
        await registry.close()

    asyncio.run(scenario())


def test_the_first_item_is_told_at_once_and_later_ones_together() -> None:
    async def scenario() -> None:
        registry, source = Generations[int](), Source(items=40, pause_s=0.005)
        batches = registry.batches("q", 1, 5, source, gather_s=0.05)
        told = [batch async for batch in batches]
        assert told[0] == [0]
        assert [item for batch in told for item in batch] == list(range(40))
        assert len(told) < 20
        await registry.close()

    asyncio.run(scenario())


def test_what_is_gathered_is_told_as_soon_as_the_work_ends() -> None:
    async def scenario() -> None:
        registry, source = Generations[int](), Source(items=2, pause_s=0.02)
        async with asyncio.timeout(5):
            assert [batch async for batch in registry.batches("q", 1, 5, source, gather_s=60)] == [[0], [1]]
        await registry.close()

    asyncio.run(scenario())


def test_of_what_ended_the_newest_is_kept_and_nothing_is_refused() -> None:
    async def scenario() -> None:
        registry, source = Generations[int](), Source(items=1)
        for number in range(3 * WORKS_MAX):
            assert [item async for item in registry.follow(str(number), 1, 5, source)] == [0]
        for number in range(3 * WORKS_MAX - 10, 3 * WORKS_MAX):
            assert [item async for item in registry.follow(str(number), 1, 5, source)] == [0]
        assert source.started == 3 * WORKS_MAX, "the last ones were kept"
        assert [item async for item in registry.follow("0", 1, 5, source)] == [0]
        assert source.started == 3 * WORKS_MAX + 1, "the first one was not"
        await registry.close()

    asyncio.run(scenario())


def test_more_than_may_be_under_way_is_refused() -> None:
    async def scenario() -> None:
        registry, source = Generations[int](), Source(pause_s=60)
        listeners = [asyncio.ensure_future(anext(registry.follow(str(n), 1, 90, source))) for n in range(WORKS_MAX)]
        await asyncio.sleep(0.05)
        with pytest.raises(ResourceExhausted, match="are under way already"):
            await collect(registry, source)
        await registry.close()
        assert all(isinstance(e, Cancelled) for e in await asyncio.gather(*listeners, return_exceptions=True))

    asyncio.run(scenario())


def test_a_later_attempt_stops_an_earlier_one_that_nobody_listens_to() -> None:
    async def scenario() -> None:
        registry, lost, heard, later = Generations[int](), *(Source(items=1000, pause_s=0.01) for _ in range(3))
        listeners = [registry.follow(name, 1, 60, source) for name, source in (("lost", lost), ("heard", heard))]
        for listener in listeners:
            await anext(listener)
        await listeners[0].aclose()
        after = [registry.follow(name, 2, 60, later) for name in ("lost", "heard")]
        for listener in after:
            await anext(listener)
        assert (lost.stopped, heard.stopped, later.started) == (1, 0, 2)
        for listener in (listeners[1], *after):
            await listener.aclose()
        await registry.close()


def test_what_an_unpaired_router_began_is_stopped_and_nobody_elses() -> None:
    async def scenario() -> None:
        works: Generations[int] = Generations()
        stopped: list[str] = []

        async def work(name: str) -> AsyncIterator[int]:
            yield 1
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                stopped.append(name)
                raise

        async def begin(name: str, node: NodeId | None) -> None:
            caller.set(node)
            following = works.follow(name, 1, 30, lambda: work(name))
            assert await anext(following) == 1
            await following.aclose()  # it listens no more, and the work goes on

        for name, node in (("theirs", NodeId("A")), ("others", NodeId("B")), ("mine", None)):
            await asyncio.create_task(begin(name, node))
        assert works.stop(NodeId("A")) == 1
        await asyncio.sleep(0.05)
        assert stopped == ["theirs"]
        await works.close()

    asyncio.run(scenario())
