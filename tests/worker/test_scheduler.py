import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.errors import ResourceExhausted
from tandem.types import Load
from worker.scheduler import Line, Scheduler


def test_lower_numbers_go_first_and_equals_in_order_of_arrival() -> None:
    line = Line(1, 10)
    tickets = {name: line.arrive(priority) for name, priority in (("a", 10), ("b", 1), ("c", 10), ("d", 1))}
    served = []
    while admitted := line.admit():
        served += admitted
        line.leave(admitted[0])
    assert served == [tickets[name] for name in "bdac"]


def test_a_full_line_refuses_with_the_setting() -> None:
    line = Line(1, 1)
    line.arrive(1)
    line.admit()
    line.arrive(1)
    with pytest.raises(ResourceExhausted, match=r"worker\.queue"):
        line.arrive(1)


@given(st.lists(st.integers(min_value=0, max_value=3), max_size=30), st.integers(min_value=1, max_value=4))
def test_never_more_than_its_places_are_served_and_nobody_is_forgotten(priorities: list[int], places: int) -> None:
    line, served = Line(places, 100), list[int]()
    tickets = [line.arrive(priority) for priority in priorities]
    serving: list[int] = []
    while True:
        serving += line.admit()
        assert len(serving) <= places
        if not serving:
            break
        served.append(serving.pop(0))
        line.leave(served[-1])
    assert sorted(served) == sorted(tickets)


def test_a_caller_who_leaves_the_line_frees_nothing_and_blocks_nobody() -> None:
    async def scenario() -> list[str]:
        scheduler, done = Scheduler(1, 10), list[str]()

        async def call(name: str, hold: asyncio.Event) -> None:
            async with scheduler.turn(1):
                await hold.wait()
                done.append(name)

        hold = asyncio.Event()
        first, second, third = (asyncio.create_task(call(name, hold)) for name in "abc")
        await asyncio.sleep(0.01)
        second.cancel()
        hold.set()
        await asyncio.gather(first, second, third, return_exceptions=True)
        return done

    assert asyncio.run(scenario()) == ["a", "c"]


def test_it_says_by_priority_how_many_are_served_and_wait() -> None:
    async def scenario() -> None:
        scheduler, leave = Scheduler(2, 10), asyncio.Event()

        async def call(priority: int) -> None:
            async with scheduler.turn(priority):
                await leave.wait()

        calls = [asyncio.create_task(call(priority)) for priority in (1, 10, 1, 10, 10)]
        await asyncio.sleep(0)
        assert scheduler.load() == Load(places=2, running={1: 1, 10: 1}, waiting={1: 1, 10: 2})
        leave.set()
        await asyncio.gather(*calls)
        assert scheduler.load() == Load(places=2)

    asyncio.run(scenario())
