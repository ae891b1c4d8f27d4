"""Who may use the model next: lower number first, and in order of arrival among equals.

`Line` decides and is pure; `Scheduler` makes callers wait. Bounded: what does not fit into the line is refused.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tandem.errors import ResourceExhausted
from tandem.types import Load


class Line:
    """Tickets in order of priority and arrival; at most `places` are served at once, at most `waiting_max` wait."""

    def __init__(self, places: int, waiting_max: int) -> None:
        self._places = places
        self._waiting_max = waiting_max
        self._heap: list[tuple[int, int]] = []
        self._serving: dict[int, int] = {}  # ticket to priority
        self._arrivals = 0

    def arrive(self, priority: int) -> int:
        """Return a ticket.

        Raises:
            ResourceExhausted: The line is full.
        """
        if len(self._serving) >= self._places and len(self._heap) >= self._waiting_max:
            raise ResourceExhausted(
                f"{len(self._heap)} calls wait already, which is all worker.queue allows; try again in a moment"
            )
        self._arrivals += 1
        heapq.heappush(self._heap, (priority, self._arrivals))
        return self._arrivals

    def admit(self) -> list[int]:
        """Return the tickets whose turn it is now."""
        admitted: list[int] = []
        while self._heap and len(self._serving) < self._places:
            priority, ticket = heapq.heappop(self._heap)
            self._serving[ticket] = priority
            admitted.append(ticket)
        return admitted

    def leave(self, ticket: int) -> None:
        """Take a ticket out, whether it was served or still waits."""
        self._serving.pop(ticket, None)
        self._heap = [entry for entry in self._heap if entry[1] != ticket]
        heapq.heapify(self._heap)

    def load(self) -> Load:
        """Return how many are served and wait now, by priority."""
        waiting = Counter(priority for priority, _ in self._heap)
        running = Counter(self._serving.values())
        return Load(places=self._places, running=dict(running), waiting=dict(waiting))


class Scheduler:
    """Makes callers wait for their turn."""

    def __init__(self, places: int, waiting_max: int) -> None:
        self._line = Line(places, waiting_max)
        self._turns: dict[int, asyncio.Event] = {}

    @asynccontextmanager
    async def turn(self, priority: int) -> AsyncGenerator[None]:
        """Wait for a turn and hold it inside the block."""
        ticket = self._line.arrive(priority)
        event = self._turns[ticket] = asyncio.Event()
        self._admit()
        try:
            await event.wait()
            yield
        finally:
            del self._turns[ticket]
            self._line.leave(ticket)
            self._admit()

    def load(self) -> Load:
        """Return how many are served and wait now, by priority."""
        return self._line.load()

    def _admit(self) -> None:
        for ticket in self._line.admit():
            self._turns[ticket].set()
