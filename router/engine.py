"""Works on runs: a bounded queue, a few at once, each to its end or to a question.

By priority and then by age; a run that waits for a person holds no place. Every change of state is in the journal
before anybody is told.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from router import execution
from router.accept import task_in
from router.feed import Feed
from router.journal import Entry, Journal
from router.recorder import RunRecorder, to_the_end
from router.repository import OwnRepository
from router.summary import RunInfo, facts_of, open_question, rehearsed
from tandem.config import Config
from tandem.errors import DeadlineExceeded, TandemError
from tandem.types import ENDED, Json, RunId

log = logging.getLogger(__name__)
CANCEL_S = 10.0  # longest wait for a run to let go


class Engine:
    """Holds the runs of one router in memory and works on them."""

    def __init__(self, config: Config, state: Path, journal: Journal, ports: execution.Ports) -> None:
        self.infos: dict[RunId, RunInfo] = {}
        self.state = state
        self.journal = journal
        self.ports = ports
        self._feeds: dict[RunId, Feed] = {}
        # Never waited for: what was accepted must find its place again after a restart. `full` is the bound.
        self._queue: asyncio.PriorityQueue[tuple[int, float, RunId]] = asyncio.PriorityQueue()
        self._waiting_max = config.router.queue
        self._active: dict[RunId, asyncio.Task[None]] = {}
        self._places = config.router.active_runs
        self._workers: list[asyncio.Task[None]] = []
        self._closing = False

    async def start(self) -> None:
        """Read what the journal knows, and go on with every run that was under way."""
        states = await self.journal.last_of_kind("state")
        for row in await self.journal.runs():
            info = RunInfo(run=row.run, task=task_in(row.task), created_s=row.created_s)
            self.infos[row.run] = info
            _apply(info, cast("dict[str, Any]", states.get(row.run) or {"state": "queued"}))
            if info.state == "waiting":
                info.question = open_question(await self.journal.entries(row.run))
            if not info.over and info.question is None:
                info.state = "queued"
                await self._queue.put((info.task.priority, info.created_s, row.run))
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._places)]

    async def close(self) -> None:
        """Stop all work where it stands; the next router goes on with it."""
        self._closing = True
        for task in self._workers:
            task.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    @property
    def full(self) -> bool:
        """Return whether no further run may wait."""
        return self._queue.qsize() >= self._waiting_max

    @property
    def watched(self) -> bool:
        """Return whether anybody watches a run."""
        return any(feed.watched for feed in self._feeds.values())

    def feed(self, run_id: RunId) -> Feed:
        """Return a run's events, beginning with where it stands."""
        if run_id not in self._feeds:
            feed = self._feeds[run_id] = Feed(run_id)
            _tell(self.infos[run_id], feed)
        return self._feeds[run_id]

    async def repository(self, info: RunInfo) -> OwnRepository:
        """Return Tandem's own repository for a run."""
        return await OwnRepository.open(self.state, Path(info.task.repo), info.task.base)

    async def enqueue(self, info: RunInfo) -> None:
        """Let a run take its turn."""
        await self.set_state(info, state="queued")
        await self._queue.put((info.task.priority, info.created_s, info.run))

    async def cancel(self, info: RunInfo) -> None:
        """Stop a run, whatever it does."""
        task = self._active.get(info.run)
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=CANCEL_S)
        if info.run not in self._active and not info.over:
            await self.set_state(info, state="cancelled", message="cancelled by a person")

    async def set_state(self, info: RunInfo, **change: Any) -> None:
        """Record a change of state, then tell it."""
        value = {"active_s": info.active_s, **change}
        if value["state"] in ENDED:
            value["ended_s"] = time.time()
        await self.journal.append(
            info.run, step="", ordinal=0, attempt=1, kind="state", question="", value=value, at_s=time.time()
        )
        _apply(info, value)
        _tell(info, self.feed(info.run))

    async def _work(self) -> None:
        while True:
            _, _, run_id = await self._queue.get()
            info = self.infos[run_id]
            if info.state != "queued" or run_id in self._active:
                continue  # cancelled meanwhile, or asked for twice
            task = self._active[run_id] = asyncio.create_task(self._execute(info))
            try:
                await asyncio.wait([task])
            finally:
                if not task.done():
                    task.cancel()
                    await asyncio.wait([task])
                del self._active[run_id]

    async def _execute(self, info: RunInfo) -> None:
        """Work on a run until it ends or waits, and record which. Only closing leaves it as it stands."""
        started, feed = time.monotonic(), self.feed(info.run)
        try:
            await self.set_state(info, state="running")
            recorder = RunRecorder(self.journal, info.run, await self.journal.entries(info.run), emit=feed.emit)
            change = await self._outcome(info, recorder)
        except asyncio.CancelledError:
            if self._closing:
                raise  # the state stays as it is, and the next router goes on
            change = {"state": "cancelled", "message": "cancelled by a person"}
        except TandemError as error:
            change = {"state": "failed", "message": error.message, "class": type(error).__name__}
        except Exception as error:  # the router must outlive a fault in one run
            log.exception("run failed unforeseen", extra={"run_id": info.run})
            words = f"an unforeseen fault ({type(error).__name__}: {error}); the router's log has the details"
            change = {"state": "failed", "message": words, "class": "TandemError"}
        info.active_s += time.monotonic() - started
        try:
            await to_the_end(self._conclude(info, change))
        except TandemError as error:  # the disk is full, say: nobody may take the run for one that works
            log.error("run's end could not be recorded", extra={"run_id": info.run, "why": error.message})
            _apply(info, {"state": "failed", "message": error.message, "class": type(error).__name__})
            _tell(info, feed)

    async def _conclude(self, info: RunInfo, change: dict[str, Any]) -> None:
        entries = await self.journal.entries(info.run)
        info.question = open_question(entries) if change["state"] == "waiting" else None
        info.facts["rehearsed"] = rehearsed(entries)
        await self.set_state(info, **_unless_delivered(change, entries, info.facts), facts=info.facts)

    async def _outcome(self, info: RunInfo, recorder: RunRecorder) -> dict[str, Any]:
        """Execute the graph within the run's time and return the change of state it came to."""
        left_s = info.task.max_minutes * 60 - info.active_s
        budget = asyncio.timeout(max(left_s, 0.0))
        try:
            async with budget:
                ending = await execution.execute(info.task, recorder, await self.repository(info), self.ports)
        except TimeoutError:
            if not budget.expired():
                raise
            words = f"it worked for {info.task.max_minutes:g} minutes, which is its limit; raise it with --max-minutes"
            raise DeadlineExceeded(words) from None
        info.facts = facts_of(ending.state)
        return {"state": "waiting"} if ending.waiting else dict(ending.outcome)


def _apply(info: RunInfo, value: Mapping[str, Any]) -> None:
    info.state = value["state"]
    info.message = value.get("message", "")
    info.error = value.get("class", "")
    info.commit = value.get("commit")
    info.branch = value.get("branch", "")
    info.verdict = value.get("verdict")
    info.active_s = value.get("active_s", 0.0)
    info.ended_s = value.get("ended_s")
    info.facts = value.get("facts") or info.facts


def _tell(info: RunInfo, feed: Feed) -> None:
    told: dict[str, Json] = {"message": info.message, "commit": info.commit, "verdict": info.verdict}
    feed.emit("state", {"state": info.state, **told})
    if info.state == "waiting" and info.question:
        feed.emit("question", {"question": cast("Json", asdict(info.question))})


def _unless_delivered(change: dict[str, Any], entries: list[Entry], facts: Mapping[str, Json]) -> dict[str, Any]:
    """Return the change of state, but never one that hides that the commit was delivered before it."""
    done = [cast("dict[str, Any]", e.value) for e in entries if e.kind == "delivery"]
    if not done or change["state"] in ("merged", "delivered", "waiting"):
        return change
    state = "merged" if done[-1]["merged"] else "delivered"
    words = f"{done[-1]['message']} ({change.get('message', change['state'])})".strip()
    return {
        "state": state,
        "commit": done[-1]["commit"],
        "branch": done[-1]["branch"],
        "message": words,
        "verdict": "passed",
    }
