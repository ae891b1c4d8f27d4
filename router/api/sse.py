"""Send a sequence of events to one reader: with heartbeats, a bounded queue, and an end to patience.

Knows server-sent events and slow readers; what the events mean is the source's business. A reader that leaves no room
in its queue for `SLOW_S` is told so in a comment and dropped: nobody waits for it, and it can come back with the number
of the last event it saw.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from tandem.types import Json

HEARTBEAT_S = 10.0
SLOW_S = 5.0
QUEUE = 256
SETTLED_S = 0.1  # silence after which the past has been told
DROPPED = "dropped: this reader was too slow; come back with after=LAST_ID"
LEAVING = "the router is leaving"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One event. `seq` is 0 where it has no number; `pause` names what the reader may have to settle after it."""

    kind: str
    data: Mapping[str, Json] = field(default_factory=dict[str, Json])
    seq: int = 0
    pause: str = ""


def block(sent: Sent) -> bytes:
    """Return an event as it goes over the wire; JSON keeps it on one line."""
    number = f"id: {sent.seq}\n" if sent.seq else ""
    return f"{number}event: {sent.kind}\ndata: {json.dumps(dict(sent.data), ensure_ascii=False)}\n\n".encode()


def comment(text: str) -> bytes:
    """Return a line that readers skip."""
    return f": {text}\n\n".encode()


@contextlib.asynccontextmanager
async def owned(source: AsyncIterator[_T]) -> AsyncGenerator[AsyncIterator[_T]]:
    """End a generator when the block is left; leaving an `async for` does not."""
    try:
        yield source
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()


class _Box:
    """What waits to be sent to one reader."""

    def __init__(self, size: int, slow_s: float) -> None:
        self.items: deque[Sent] = deque()
        self.over = False
        self.last_words = ""  # why it ends before its source does
        self._size, self._slow_s = size, slow_s
        self._changed, self._room = asyncio.Event(), asyncio.Event()

    def end(self, last_words: str = "") -> None:
        self.over, self.last_words = True, self.last_words or last_words
        self._changed.set()

    async def fill(self, source: AsyncIterator[Sent]) -> None:
        """Take everything the source has; leave it where the reader is too slow."""
        try:
            async with owned(source):
                async for sent in source:
                    if not await self._put(sent):
                        self.end(DROPPED)
                        return
        finally:
            self.end()

    async def _put(self, sent: Sent) -> bool:
        if len(self.items) >= self._size:
            self._room.clear()
            try:
                async with asyncio.timeout(self._slow_s):
                    await self._room.wait()
            except TimeoutError:
                return False
        self.items.append(sent)
        self._changed.set()
        return True

    async def take(self, wait_s: float) -> Sent | None:
        """Return the next event, or None at the end.

        Raises:
            TimeoutError: Nothing came for `wait_s`.
        """
        if not self.items and not self.over:
            self._changed.clear()
            async with asyncio.timeout(wait_s):
                await self._changed.wait()
        if self.last_words or not self.items:
            return None
        self._room.set()
        return self.items.popleft()


async def _end_with(closing: asyncio.Event, box: _Box) -> None:
    await closing.wait()
    box.end(LEAVING)


async def stream(
    source: AsyncIterator[Sent],
    *,
    closing: asyncio.Event,
    paused: Callable[[str], Awaitable[bool]] | None = None,
    heartbeat_s: float = HEARTBEAT_S,
    slow_s: float = SLOW_S,
    size: int = QUEUE,
) -> AsyncGenerator[bytes]:
    """Yield the bytes of a stream until its source ends, the router leaves, or the reader is too slow.

    Where `paused` is given, the stream also ends once it answers yes: asked after each event that has a `pause`, with
    that, and once when the past has been told, with "".
    """
    box = _Box(size, slow_s)
    tasks = (asyncio.create_task(box.fill(source)), asyncio.create_task(_end_with(closing, box)))
    ask = paused
    try:
        yield comment("tandem")
        while True:
            try:
                sent = await box.take(SETTLED_S if ask else heartbeat_s)
            except TimeoutError:
                if not ask:
                    yield comment("still here")
                elif await ask(""):
                    return
                ask = None
                continue
            if sent is None:
                break
            yield block(sent)
            if sent.pause and paused and await paused(sent.pause):
                return
        if box.last_words:
            yield comment(box.last_words)
        else:
            await tasks[0]  # raises what the source raised
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
