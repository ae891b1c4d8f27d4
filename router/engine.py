"""Works on runs: a bounded queue, a few at once, each to its end or to a question.

Which goes first is `queue`'s decision; a run that waits for a person holds no place. One that meets a worker that is away
or a full disk waits in its place and is tried again (`holds`). Every change of state is in the journal before anybody is
told.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from router import execution, holds
from router.feed import Feed, Watch
from router.holds import Hold
from router.journal import Entry, Journal
from router.queue import Waiting, choose, ordered
from router.recorder import RunRecorder, to_the_end
from router.repository import OwnRepository
from router.roster import ODD, Roster, cannot_be_read
from router.summary import RunInfo, facts_of, open_question, rehearsed
from tandem import disk
from tandem.config import Config
from tandem.errors import BrokenJournal, DeadlineExceeded, NotFound, TandemError
from tandem.events import EventKind
from tandem.types import ENDED, Json, RunId

log = logging.getLogger(__name__)
_SIGNS = frozenset(("call.tokens", "check.progress"))  # somebody works for the run at this moment
CANCEL_S = 10.0  # longest wait for a run to let go
FEEDS = 32  # of runs that ended, kept for who comes late; a run has some 80 events, of half a kilobyte each


class Engine:
    """Holds the runs of one router in memory and works on them."""

    def __init__(
        self, config: Config, state: Path, journal: Journal, ports: execution.Ports, watch: Watch | None = None
    ) -> None:
        self.state = state
        self.journal = journal
        self.roster = Roster(journal)
        self.ports = ports
        self._feeds: dict[RunId, Feed] = {}
        self._numbered = 0  # the highest number of an event that was dropped
        self._watch = watch
        # `full` is its bound; what was accepted must find its place again after a restart, however many there are
        self._queue: dict[RunId, Waiting] = {}
        self._limits = config.router
        self._active: dict[RunId, asyncio.Task[None]] = {}
        self._closing = False
        self._again = asyncio.Event()

    async def start(self) -> None:
        """Read what the journal knows, and go on with every run that was under way."""
        for info in await self.roster.read_all():
            await self._take_up(info)
        self._fill()

    async def restore(self, run: RunId) -> RunInfo:
        """Take up a run that the journal has got from elsewhere, and return it."""
        self._let_feed_go(run)  # of its life here before it was moved away
        info = await self.roster.find(run)
        await self._take_up(info)
        self._fill()
        return info

    async def _take_up(self, info: RunInfo) -> None:
        """Have a run that was read out of the journal wait for its turn or its answer, where it was under way."""
        if info.state == "waiting":
            await self._ask_again(info)
        if not info.over and info.question is None:
            info.state = "queued"
            self._wait(info)
        self.roster.settle(info)

    async def _ask_again(self, info: RunInfo) -> None:
        try:
            info.question = open_question(await self.journal.entries(info.run))
        except BrokenJournal as error:
            cannot_be_read(info, error)
        except ODD:
            cannot_be_read(info)

    async def close(self) -> None:
        """Stop all work where it stands; the next router goes on with it."""
        self._closing = True
        for task in self._active.values():
            task.cancel()
        await asyncio.gather(*self._active.values(), return_exceptions=True)

    @property
    def full(self) -> bool:
        """Return whether no further run may wait."""
        return len(self._queue) >= self._limits.queue

    @property
    def at_work(self) -> bool:
        """Return whether any run is."""
        return bool(self._active)

    def again(self) -> None:
        """Have every run that waits for a machine or a disk try again now: something that was away is back."""
        self._again.set()
        self._again = asyncio.Event()

    def tell_all(self, text: str) -> None:
        """Tell whoever watches a run at work."""
        for run in self._active:
            if info := self.roster.known(run):
                self.feed(info).emit("note", {"text": text, "level": "warning"})

    def drop(self) -> None:
        """Forget the events of runs that ended and nobody watches, of all but the newest."""
        over = [run for run, feed in self._feeds.items() if feed.ended and not feed.watched and run not in self._active]
        for run in over[:-FEEDS]:
            self._let_feed_go(run)

    def _let_feed_go(self, run: RunId) -> None:
        feed = self._feeds.pop(run, None)
        self._numbered = max(self._numbered, feed.last if feed else 0)

    def before(self, run_id: RunId) -> int | None:
        """Return how many runs go first, None where a run does not wait for its turn."""
        if run_id not in self._queue:
            return None
        order = ordered(self._queue.values(), time.monotonic(), ageing_s=self._limits.ageing_s)
        return [waiting.run for waiting in order].index(run_id)

    @property
    def watched(self) -> bool:
        """Return whether anybody watches a run."""
        return any(feed.watched for feed in self._feeds.values())

    def feed(self, info: RunInfo) -> Feed:
        """Return a run's events, beginning with where it stands."""
        if info.run not in self._feeds:
            # after all that was dropped: whoever saw some of those and comes back misses none of these
            feed = self._feeds[info.run] = Feed(info.run, self._watch, self._numbered)
            _tell(info, feed)
        return self._feeds[info.run]

    async def repository(self, info: RunInfo) -> OwnRepository:
        """Return Tandem's own repository for a run."""
        return await OwnRepository.open(self.state, Path(info.task.repo), info.task.base)

    async def enqueue(self, info: RunInfo, *, settled: bool = False) -> None:
        """Let a run take its turn; with `settled`, though that cannot be written: what is recorded leads to it anyway.

        For callers that go on to the end though they are cancelled: what is recorded as queued has to be.
        """
        try:
            await self.set_state(info, state="queued")
        except TandemError as error:
            if not settled:
                raise
            log.warning("state was not recorded", extra={"run_id": info.run, "why": error.message})
            self._change(info, {"state": "queued", "active_s": info.active_s})
            _tell(info, self.feed(info))
        self._wait(info)
        self._fill()
        if self.before(info.run) is not None:
            self._tell_places()

    async def cancel(self, info: RunInfo) -> None:
        """Stop a run, whatever it does."""
        self._queue.pop(info.run, None)
        task = self._active.get(info.run)
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=CANCEL_S)
        if info.run not in self._active and not info.over:
            await self.set_state(info, state="cancelled", message="cancelled by a person")

    async def set_state(self, info: RunInfo, **change: Any) -> None:
        """Record a change of state, then tell it; cancelled meanwhile, to its end.

        Raises:
            NotFound: The run was cleared away meanwhile.
        """
        await to_the_end(self._set_state(info, change))

    async def _set_state(self, info: RunInfo, change: Mapping[str, Any]) -> None:
        self._must_be_here(info)
        value = {"active_s": info.active_s, "facts": info.short_facts, **change}
        if value["state"] in ENDED:
            value["ended_s"] = time.time()
        await self.journal.append(
            info.run, step="", ordinal=0, attempt=1, kind="state", question="", value=value, at_s=time.time()
        )
        self._must_be_here(info)
        self._change(info, value)
        _tell(info, self.feed(info))

    def _must_be_here(self, info: RunInfo) -> None:
        if not self.roster.is_here(info):
            raise NotFound(f"run {info.run} was cleared away")

    def _change(self, info: RunInfo, value: Mapping[str, Any]) -> None:
        info.become(value)
        self.roster.settle(info)

    def _wait(self, info: RunInfo) -> None:
        self._queue[info.run] = Waiting(
            run=info.run,
            repo=info.task.repo,
            priority=info.task.priority,
            since_s=time.monotonic(),
            created_s=info.created_s,
        )

    def _fill(self) -> None:
        """Give free places to those whose turn it is."""
        while not self._closing and len(self._active) < self._limits.active_runs:
            at_work = [info.task.repo for run in self._active if (info := self.roster.known(run))]
            per_repo, ageing_s = self._limits.repo_runs, self._limits.ageing_s
            free = {run: waiting for run, waiting in self._queue.items() if run not in self._active}
            chosen = choose(free.values(), at_work, time.monotonic(), per_repo=per_repo, ageing_s=ageing_s)
            if chosen is None:
                return
            del self._queue[chosen.run]
            info = self.roster.known(chosen.run)
            if info is not None and info.state == "queued":  # else it was cancelled meanwhile
                task = self._active[chosen.run] = asyncio.create_task(self._execute(info))
                task.add_done_callback(functools.partial(self._left, chosen.run))

    def _tell_places(self) -> None:
        """Tell whoever waits with a run how many go first."""
        for run, feed in self._feeds.items():
            if feed.watched and (before := self.before(run)) is not None:
                feed.emit("state", {"state": "queued", "before": before})

    def _left(self, run_id: RunId, task: asyncio.Task[None]) -> None:
        del self._active[run_id]
        if not task.cancelled() and (error := task.exception()):
            log.error("run's task failed", extra={"run_id": run_id}, exc_info=error)
        self.drop()
        self._fill()
        self._tell_places()

    async def _execute(self, info: RunInfo) -> None:
        """Work on a run until it ends or waits, and record which. Only closing leaves it as it stands."""
        feed = self.feed(info)
        try:
            change = await self._patiently(info, feed)
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
        self._let_go(info, feed)
        try:
            await to_the_end(self._conclude(info, change))
        except TandemError as error:  # nobody may take the run for one that works
            log.error("run's end could not be recorded", extra={"run_id": info.run, "why": error.message})
            self._change(info, {"state": "failed", "message": error.message, "class": type(error).__name__})
            _tell(info, feed)

    async def _patiently(self, info: RunInfo, feed: Feed) -> dict[str, Any]:
        """Return the change of state a run comes to; while a machine is away or a disk is full, wait and try again."""
        tries, began_s = 0, 0.0  # since something was last recorded

        def progressed() -> None:
            nonlocal tries
            tries = 0
            self._let_go(info, feed)

        while True:
            again = self._again  # of this moment: what comes back during an attempt may be what it missed
            try:
                return await self._attempt(info, feed, progressed)
            except (TandemError, OSError) as raised:
                error = (
                    raised if isinstance(raised, TandemError) else disk.trouble(raised, "the run paused", self.state)
                )
                kind = holds.kind_of(error) if error else None
                if error is None or kind is None:
                    raise (error or raised) from raised
                began_s = began_s if tries else time.monotonic()
                waited_s = time.monotonic() - began_s
                if waited_s > self._limits.wait_s:
                    raise holds.given_up(error, waited_s) from error
                self._hold(info, feed, Hold(kind=kind, text=error.message, since_s=time.time() - waited_s))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(holds.pause_s(tries)):
                        await again.wait()
                tries += 1

    async def _attempt(self, info: RunInfo, feed: Feed, progressed: Callable[[], None]) -> dict[str, Any]:
        if info.state != "running":
            await self.set_state(info, state="running")

        def emit(kind: EventKind, data: dict[str, Json]) -> None:
            if kind == "hold":
                self._hold(info, feed, Hold(kind="retrying", text=str(data.get("text")), since_s=time.time()))
                return
            if kind in _SIGNS:
                self._let_go(info, feed)
            feed.emit(kind, data)

        entries = await self.journal.entries(info.run)
        recorder = RunRecorder(self.journal, info.run, entries, emit=emit, progressed=progressed)
        return await self._outcome(info, recorder)

    def _hold(self, info: RunInfo, feed: Feed, hold: Hold) -> None:
        if info.hold is None or (info.hold.kind, info.hold.text) != (hold.kind, hold.text):
            log.warning("run waits", extra={"run_id": info.run, "kind": hold.kind, "why": hold.text})
            feed.emit("hold", {"what": hold.kind, "text": hold.text})
        info.hold = hold

    def _let_go(self, info: RunInfo, feed: Feed) -> None:
        if info.hold is not None:
            log.info("run goes on", extra={"run_id": info.run, "kind": info.hold.kind})
            info.hold = None
            feed.emit("hold", {"what": "", "text": ""})

    async def _conclude(self, info: RunInfo, change: dict[str, Any]) -> None:
        entries = await self.journal.entries(info.run)
        info.question = open_question(entries) if change["state"] == "waiting" else None
        info.facts["rehearsed"] = rehearsed(entries)
        await self.set_state(info, **_unless_delivered(change, entries, info.facts), facts=info.facts)

    async def _outcome(self, info: RunInfo, recorder: RunRecorder) -> dict[str, Any]:
        """Execute the graph within the run's time and return the change of state it came to."""
        left_s = info.task.max_minutes * 60 - info.active_s
        budget, started = asyncio.timeout(max(left_s, 0.0)), time.monotonic()
        try:
            async with budget:
                ending = await execution.execute(info.task, recorder, await self.repository(info), self.ports)
        except TimeoutError:
            if not budget.expired():
                raise
            words = f"it worked for {info.task.max_minutes:g} minutes, which is its limit; raise it with --max-minutes"
            raise DeadlineExceeded(words) from None
        finally:
            info.active_s += time.monotonic() - started
        info.facts = facts_of(ending.state)
        return {"state": "waiting"} if ending.waiting else dict(ending.outcome)


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
