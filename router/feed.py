"""A run's events for whoever watches: numbered, kept in a bounded ring, handed to bounded queues.

Nothing is decided from events. A watcher that reads too slowly is dropped, never waited for; a step that replay passes
through again is told once. Both hold for one process: the next one begins with an empty ring, and tells again what it
replays.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

from tandem.events import EventKind, RunEvent
from tandem.types import ENDED, Json, RunId

Watch = Callable[[RunEvent], None]  # told of every event once; never raises and never waits
RING = 2000  # events kept for those who come later
BEHIND = 500  # events a watcher may be behind


class Feed:
    """The events of one run in this process, numbered from `after` + 1 on."""

    def __init__(self, run_id: RunId, watch: Watch | None = None, after: int = 0) -> None:
        self._run_id = run_id
        self._watch = watch
        self._ring: deque[RunEvent] = deque(maxlen=RING)
        self._watchers: set[asyncio.Queue[RunEvent | None]] = set()
        self._told: set[tuple[str, str]] = set()
        self._seq = after
        self.ended = False

    @property
    def last(self) -> int:
        """Return the number of the newest event."""
        return self._seq

    @property
    def watched(self) -> bool:
        """Return whether anybody watches."""
        return bool(self._watchers)

    def emit(self, kind: EventKind, data: dict[str, Json]) -> None:
        """Number an event, keep it and hand it on."""
        if self._repeats(kind, data):
            return
        self._seq += 1
        event = RunEvent(seq=self._seq, run_id=self._run_id, kind=kind, at_s=time.time(), data=data)
        if kind == "call.tokens" and self._ring and self._ring[-1].kind == "call.tokens":
            self._ring.pop()  # only the newest count is worth keeping
        self._ring.append(event)
        if kind == "state":
            self.ended = data.get("state") in ENDED
        for queue in list(self._watchers):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                self._watchers.discard(queue)
                queue.get_nowait()
                queue.put_nowait(None)
        if self._watch is not None:
            self._watch(event)

    def _repeats(self, kind: EventKind, data: dict[str, Json]) -> bool:
        if kind not in ("step.started", "step.finished", "note", "call.tool"):
            return False
        about = (
            [data.get("step"), data.get("number"), data.get("about"), data.get("said")] if kind == "call.tool" else []
        )
        key = (kind, str(about or data.get("step") or data.get("text")))
        seen = key in self._told
        self._told.add(key)
        return seen

    async def subscribe(self, after: int) -> AsyncIterator[RunEvent]:
        """Yield the events after `after`, old ones first; ends with the run, or when the watcher is too slow."""
        queue: asyncio.Queue[RunEvent | None] = asyncio.Queue(maxsize=BEHIND)
        past = [event for event in self._ring if event.seq > after]
        self._watchers.add(queue)
        try:
            for event in past:
                yield event
            while not (self.ended and queue.empty()):
                event = await queue.get()
                if event is None:
                    return
                yield event
        finally:
            self._watchers.discard(queue)
