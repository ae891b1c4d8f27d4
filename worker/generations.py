"""Work that outlives the connection it was asked over.

A piece of work is named by request id and attempt. The first to ask starts it; whoever asks again joins it, or gets the
kept result. When nobody listens it goes on for `DETACHED_S`; only Cancel, the deadline or that stops it. What it yields is
kept from its first item, so that a broken stream is picked up where it broke. Items that wait together are told together:
on the wire a message costs far more than its bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

from tandem.errors import Cancelled, Conflict, DeadlineExceeded, DiskFull, ResourceExhausted, TandemError
from tandem.identity import NodeId
from worker.callers import caller

log = logging.getLogger(__name__)
T = TypeVar("T")
DETACHED_S = 30.0
KEPT_S = 60.0
WORKS_MAX = 256  # works under way at once; of those that ended, about as many are kept


@dataclass(slots=True, eq=False)
class _Work(Generic[T]):
    """One piece of work, its items so far, and how it ended."""

    request_id: str
    owner: NodeId | None = field(default_factory=caller.get)
    items: list[T] = field(default_factory=list)  # pyright: ignore[reportUnknownVariableType]
    listeners: int = 0
    ended_at: float | None = None
    detached_at: float | None = None
    error: TandemError | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """Stop it, once: it may take a moment to end, which is not disturbed.

        Whoever asks for it meanwhile does not join it, but begins anew.
        """
        if self.task is not None and not isinstance(self.error, Cancelled):
            self.error = Cancelled("the call was cancelled")
            self.task.cancel()

    def end(self) -> None:
        """Say that nothing more comes."""
        self.ended_at = time.monotonic()
        self.ended.set()
        self.changed.set()


class Generations(Generic[T]):
    """The registry of work under way and just ended."""

    def __init__(self, detached_s: float = DETACHED_S, kept_s: float = KEPT_S) -> None:
        self._detached_s = detached_s
        self._kept_s = kept_s
        self._works: dict[tuple[str, int], _Work[T]] = {}
        self._tasks = set[asyncio.Task[None]]()  # also of works that others have replaced
        self._sweeper: asyncio.Task[None] | None = None

    async def follow(
        self, request_id: str, attempt: int, deadline_s: float, start: Callable[[], AsyncIterator[T]]
    ) -> AsyncGenerator[T]:
        """Yield every item of the work from its first, starting it if nobody has. Raises as `batches` does."""
        batches = self.batches(request_id, attempt, deadline_s, start)
        try:
            async for batch in batches:
                for item in batch:
                    yield item
        finally:
            await batches.aclose()

    def kept(self, request_id: str, attempt: int) -> list[T]:
        """Return what a work yielded that is kept, nothing where none is; none is begun."""
        work = self._works.get((request_id, attempt))
        return list(work.items) if work is not None else []

    async def batches(
        self,
        request_id: str,
        attempt: int,
        deadline_s: float,
        start: Callable[[], AsyncIterator[T]],
        gather_s: float = 0.0,
    ) -> AsyncGenerator[list[T]]:
        """Yield all items of the work in order, those that wait together at once.

        The first comes as soon as it is there; after each batch, the next is gathered for `gather_s`, or until the
        work ends.

        Raises:
            Conflict: A later attempt was asked for before: nobody waits for this one.
            Cancelled: Somebody cancelled it.
            DeadlineExceeded: It took longer than `deadline_s`, counted from its start.
            ResourceExhausted: Too much is under way.
            TandemError: Whatever ended it.
        """
        work = self._works.get((request_id, attempt))
        if work is None or isinstance(work.error, Cancelled | DiskFull):  # either may be asked again
            work = self._begin(request_id, attempt, deadline_s, start)
        work.listeners += 1
        work.detached_at = None
        told, gathered_at = 0, 0.0
        try:
            while True:
                if told < len(work.items):
                    batch = work.items[told:]
                    told += len(batch)
                    yield batch
                    gathered_at = time.monotonic() + gather_s
                elif work.ended_at is None:
                    work.changed.clear()  # this listener has seen everything; others that wait were woken already
                    await work.changed.wait()
                    if told and gather_s:
                        await _ended_within(work.ended, gathered_at - time.monotonic())
                elif work.error is not None:
                    raise work.error
                else:
                    return
        finally:
            work.listeners -= 1
            if work.listeners == 0:
                work.detached_at = time.monotonic()

    def _begin(
        self, request_id: str, attempt: int, deadline_s: float, start: Callable[[], AsyncIterator[T]]
    ) -> _Work[T]:
        later = [number for name, number in self._works if name == request_id and number > attempt]
        if later:
            log.warning("attempt came too late", extra={"request_id": request_id, "attempt": attempt, "later": later})
            raise Conflict(
                f"attempt {attempt} of {request_id} came after attempt {max(later)}, and nobody waits for it"
            )
        self._stop_before(request_id, attempt)
        if len(self._works) >= WORKS_MAX:
            self._make_room()
        work = self._works[request_id, attempt] = _Work[T](request_id)
        work.task = asyncio.create_task(self._run(work, deadline_s, start))
        self._tasks.add(work.task)
        work.task.add_done_callback(lambda task: self._ended(work, task))
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._keep_sweeping())
        return work

    def _ended(self, work: _Work[T], task: asyncio.Task[None]) -> None:
        """End the work with its task, whatever way that went: cancelled before its first step, nothing of it has run."""
        self._tasks.discard(task)
        if task.cancelled():
            work.error = work.error or Cancelled("the call was cancelled")
        elif (error := task.exception()) is not None:  # of what it held, as it was given back
            log.error("call ended badly", extra={"request_id": work.request_id}, exc_info=error)
        work.end()

    def _stop_before(self, request_id: str, attempt: int) -> None:
        """Stop earlier attempts that nobody listens to: the router counts on, and their places are wanted."""
        for (name, number), work in self._works.items():
            if name == request_id and number < attempt and not work.listeners and work.ended_at is None and work.task:
                log.info("earlier attempt stopped", extra={"request_id": name, "attempt": number, "later": attempt})
                work.cancel()

    def _make_room(self) -> None:
        """Keep what is under way, and of what ended the newest.

        Raises:
            ResourceExhausted: Too much is under way.
        """
        ended = [key for key, work in self._works.items() if work.ended_at is not None and work.listeners == 0]
        if len(self._works) - len(ended) >= WORKS_MAX:
            raise ResourceExhausted(f"{WORKS_MAX} pieces of work are under way already; try again in a moment")
        spare = len(ended) - WORKS_MAX // 2  # half of them at once, so that the next calls need not look
        for key in islice(ended, max(spare, 0)):  # in order of their beginning
            del self._works[key]

    async def _run(self, work: _Work[T], deadline_s: float, start: Callable[[], AsyncIterator[T]]) -> None:
        items, deadline = start(), asyncio.timeout(deadline_s)
        try:
            async with deadline:
                async for item in items:
                    work.items.append(item)
                    work.changed.set()
        except asyncio.CancelledError:
            work.error = Cancelled("the call was cancelled")
        except TimeoutError:
            words = f"the call took longer than its deadline of {deadline_s:g} s (router.call_s, check.wall_s)"
            work.error = DeadlineExceeded(words if deadline.expired() else "a wait inside the call timed out")
        except TandemError as error:
            work.error = error
        except Exception as error:  # a fault in one call must not take the worker down
            log.exception("call failed unforeseen", extra={"request_id": work.request_id})
            work.error = TandemError(f"the worker met an unforeseen fault: {type(error).__name__}; its log says more")
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()

    def cancel(self, request_id: str) -> bool:
        """Stop the work of a request, whatever its attempt; return whether any was under way."""
        found = [w for w in self._works.values() if w.request_id == request_id and w.ended_at is None]
        for work in found:
            work.cancel()
        return bool(found)

    def stop(self, owner: NodeId) -> int:
        """Stop and forget all that a paired router began; returns how much of it was under way."""
        under_way = 0
        for key, work in [(key, work) for key, work in self._works.items() if work.owner == owner]:
            if work.ended_at is not None:
                del self._works[key]
            else:
                under_way += 1
                work.cancel()
        return under_way

    def _sweep(self) -> None:
        """Forget what ended a while ago; stop what nobody has listened to for too long."""
        now = time.monotonic()
        for key, work in list(self._works.items()):
            if work.ended_at is not None:
                if work.listeners == 0 and now - work.ended_at > self._kept_s:
                    del self._works[key]
            elif work.detached_at is not None and now - work.detached_at > self._detached_s:
                log.info("call stopped, nobody listened", extra={"request_id": work.request_id})
                work.cancel()

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, self._detached_s / 4))
            self._sweep()

    async def close(self) -> None:
        """Stop everything."""
        tasks = [*self._tasks, *([self._sweeper] if self._sweeper else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._works.clear()


async def _ended_within(ended: asyncio.Event, wait_s: float) -> None:
    """Wait for the end, at most so long."""
    if wait_s > 0 and not ended.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await ended.wait()
