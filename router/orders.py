"""What people order: a task to be taken on, a run to be decided, stopped, gone on with or taken back.

Two orders about one run wait for each other, because each looks at what the other has done. What an order changes is in the
journal before anybody is told.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, cast
from weakref import WeakValueDictionary

from agents import personas
from graphs.state import WORKFLOW_VERSION
from router.accept import accept, new_run_id
from router.engine import Engine
from router.guardrail.findings import decide
from router.guardrail.secrets import secrets
from router.journal import RunRow
from router.recorder import RunRecorder, cut_since_it_stopped, decision_in, is_new, to_the_end
from router.summary import RESUMABLE, RunInfo, summary
from tandem.errors import BadReply, Conflict, Refused, ResourceExhausted, TandemError
from tandem.types import CommitId, Decision, Json, RunId

log = logging.getLogger(__name__)
# Recorded answers that nobody could use would only fail again; the second is a fault nobody foresaw.
_WORTH_ASKING_ANEW = (BadReply.__name__, TandemError.__name__)


class Orders:
    """Carries orders out. `queue` runs may wait at most; `abandon` is told of a run that was stopped."""

    def __init__(self, engine: Engine, queue: int, abandon: Callable[[RunId], None]) -> None:
        self._engine = engine
        self._queue = queue
        self._abandon = abandon
        self._turns: WeakValueDictionary[RunId, asyncio.Lock] = WeakValueDictionary()

    def turn(self, run_id: RunId) -> asyncio.Lock:
        """Return what keeps two orders about one run apart: each looks at what the other has done."""
        return self._turns.setdefault(run_id, asyncio.Lock())

    def is_under_way(self, run_id: RunId) -> bool:
        """Return whether an order about a run is being carried out."""
        return (turn := self._turns.get(run_id)) is not None and turn.locked()

    async def submit(self, body: Mapping[str, Any]) -> dict[str, Json]:
        """Accept a task and return its summary. When this returns, the run survives anything."""
        if self._engine.full:
            limit = self._queue
            raise ResourceExhausted(f"{limit} runs wait already; try later or raise router.queue")
        task, checkout = await accept(body)
        _refuse_secrets(task.plan or task.text)
        info = RunInfo(run=new_run_id(), task=task, created_s=time.time())
        stamp = f"{WORKFLOW_VERSION}.{personas.stamp(self._engine.ports.personas)}"
        row = RunRow(run=info.run, created_s=info.created_s, stamp=stamp, task=cast("Json", asdict(task)))
        async with self.turn(info.run):
            info = await to_the_end(self._accepted(info, row))
        log.info("run accepted", extra={"run_id": info.run, "language": task.language, "deliver": task.deliver})
        return {
            **summary(info, self._engine.before(info.run)),
            "notes": list(checkout.notes),
            "language": task.language,
        }

    async def _accepted(self, info: RunInfo, row: RunRow) -> RunInfo:
        await self._engine.journal.add_run(row)
        info = self._engine.roster.known(info.run) or info  # whoever asked for `latest` may have read it already
        self._engine.roster.settle(info)
        await self._engine.enqueue(info, settled=True)
        return info

    async def decide(self, run_id: RunId, decision: Decision) -> dict[str, Json]:
        """Record a person's answer, once, and go on with the run."""
        async with self.turn(run_id):
            return await to_the_end(self._decide(run_id, decision))

    async def _decide(self, run_id: RunId, decision: Decision) -> dict[str, Json]:
        info = await self._engine.roster.find(run_id)
        entries = await self._engine.journal.entries(run_id)
        earlier = [decision_in(e.value) for e in entries if e.kind == "answered" and e.step == decision.question]
        question = info.question if info.state == "waiting" else None
        if is_new(question, decision, earlier[-1] if earlier else None):
            recorder = RunRecorder(self._engine.journal, run_id, entries, emit=self._engine.feed(info).emit)
            info.question = None  # before the wait, so that a second answer at the same moment finds none
            try:
                await recorder.answered(decision)
            except BaseException:
                info.question = question
                raise
            self._engine.feed(info).emit(
                "answer", {"question": decision.question, "choice": decision.choice, "by": decision.by}
            )
        elif question is None or question.id != decision.question:
            return summary(info)  # it was answered before, and the run got on; else it was only recorded
        info.question = None
        await self._engine.enqueue(info, settled=True)
        return summary(info)

    async def cancel(self, run_id: RunId) -> dict[str, Json]:
        """Stop a run. What it has is kept; `resume` goes on with it."""
        async with self.turn(run_id):
            info = await self._engine.roster.find(run_id)
            await to_the_end(self._engine.cancel(info))
            self._abandon(run_id)
            return summary(info)

    async def resume(self, run_id: RunId) -> dict[str, Json]:
        """Go on with a run that failed or was cancelled."""
        async with self.turn(run_id):
            return await to_the_end(self._resume(run_id))

    async def _resume(self, run_id: RunId) -> dict[str, Json]:
        info = await self._engine.roster.find(run_id)
        if info.state in ("queued", "running", "waiting"):
            return summary(info)
        if info.moved:
            raise Conflict(f"run {run_id} was moved to another machine, which goes on with it")
        if info.state not in RESUMABLE:
            raise Conflict(f"run {run_id} is {info.state}; there is nothing to go on with")
        if info.error in _WORTH_ASKING_ANEW:
            entries = await self._engine.journal.entries(run_id)
            if not cut_since_it_stopped(entries):  # by a router that was killed just after
                recorder = RunRecorder(self._engine.journal, run_id, entries, emit=self._engine.feed(info).emit)
                await recorder.forget_last_step()
        info.active_s = 0.0  # a person who says "go on" grants the time anew
        await self._engine.enqueue(info)
        return summary(info)

    async def undo(self, run_id: RunId) -> dict[str, Json]:
        """Revert a merged run with a commit of its own; once."""
        async with self.turn(run_id):
            info = await self._engine.roster.find(run_id)
            if info.state != "merged" or not info.commit:
                raise Conflict(f"run {run_id} is {info.state}; only a merged run can be undone")
            entries = await self._engine.journal.entries(run_id)
            recorder = RunRecorder(self._engine.journal, run_id, entries, emit=self._engine.feed(info).emit)
            repo, commit, branch = (
                await self._engine.repository(info),
                CommitId(info.commit),
                info.branch or info.task.target,
            )

            async def do() -> Json:
                done = await repo.undo(commit, branch)
                if not done.merged:  # not recorded, so that it can be tried again
                    raise Conflict(done.message)
                return cast("Json", asdict(done))

            done = cast(
                "dict[str, Json]", await recorder.effect("undo", "undone", {"commit": commit, "branch": branch}, do)
            )
            return {"run": run_id, **done}


def _refuse_secrets(text: str) -> None:
    """Refuse a task that carries a credential before it reaches the journal, where nothing is ever deleted.

    Raises:
        Refused: It does; nothing was stored.
    """
    found = decide([finding for finding in secrets(text) if finding.verdict == "block"])
    if found.verdict == "block":
        raise Refused(f"{'; '.join(found.reasons)}; nothing was stored: take it out and hand the task in again")
