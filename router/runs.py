"""All runs of this router, as the API asks for them.

What counts is in the journal before anybody is told; what is in memory can be read from it again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast
from weakref import WeakValueDictionary

from agents import personas
from agents.tokens import counter
from graphs.state import WORKFLOW_VERSION
from graphs.team import Settings
from router import artefacts, execution, flight, moving
from router import verify as verification
from router.accept import accept, new_run_id
from router.awake import Awake
from router.dispatcher import Dispatcher, Node
from router.engine import Engine
from router.feed import Watch
from router.guardrail.findings import decide
from router.guardrail.secrets import secrets
from router.housekeeping import Housekeeping, must_be_over
from router.journal import Journal, RunRow
from router.links import Links
from router.pace import Pace
from router.recorder import RunRecorder, cut_since_it_stopped, decision_in, is_new, to_the_end
from router.repository import OwnRepository
from router.summary import RunInfo, detail, summary
from tandem.config import Config
from tandem.errors import (
    BadReply,
    BrokenJournal,
    Conflict,
    NotFound,
    Refused,
    ReplayDiffers,
    ResourceExhausted,
    TandemError,
)
from tandem.events import RunEvent
from tandem.ports import Guardrail
from tandem.types import CommitId, Decision, Json, Limits, RunId, RunState

log = logging.getLogger(__name__)
RESUMABLE: frozenset[RunState] = frozenset(("failed", "cancelled"))
# Recorded answers that nobody could use would only fail again; the second is a fault nobody foresaw.
_WORTH_ASKING_ANEW = (BadReply.__name__, TandemError.__name__)
_LOOK_S = 600.0  # between two looks whether it is time to clear up
Progress = tuple[str, dict[str, Json]]


class Runs:
    """The runs of one router. Open with `Runs.open`, close with `close`."""

    def __init__(self, config: Config, engine: Engine, nodes: Dispatcher, links: Links) -> None:
        self._config = config
        self._engine = engine
        self._journal = engine.journal
        self._ports = engine.ports
        self._nodes = nodes
        self._links = links
        self._orders: WeakValueDictionary[RunId, asyncio.Lock] = WeakValueDictionary()
        self._housekeeping = Housekeeping(engine.state, engine.roster, config.keep)
        self._awake = Awake(lambda: config.router.keep_awake and engine.at_work, self._woke)
        self._tasks = [
            asyncio.create_task(self._keep_clear()),
            asyncio.create_task(self._awake.run()),
            asyncio.create_task(links.run()),
        ]

    @classmethod
    async def open(
        cls, *, config: Config, state: Path, worker_socket: Path, guardrail: Guardrail, watch: Watch | None = None
    ) -> Runs:
        """Open the journal, connect to the worker, and go on with every run that was under way.

        `watch` is told every event of every run.

        Raises:
            BrokenJournal: The journal cannot be used; it is left as it is.
            BadPersona: A persona file does not parse.
        """
        team = personas.load(personas.own_folder())
        journal = await Journal.open(state / "journal.db")
        local = Node.at_socket(worker_socket)
        nodes = Dispatcher(
            [local],
            git_dir_of=lambda repo_id: OwnRepository.git_dir(state, repo_id),
            record=lambda run, row: flight.FlightLog(state, RunId(run)).place(row),
            artefacts=lambda request: artefacts.Taking(state, request),
        )
        # a machine is paired to take work off this one, so it comes first
        links = Links(state, lambda paired: nodes.use([*paired, local]), config.link)
        await links.follow()  # before a run goes on, so that it goes on where it was
        settings = settings_of(config)
        ports = execution.Ports(
            models=nodes,
            checks=nodes,
            guard=guardrail,
            personas=team,
            settings=settings,
            flight=lambda run: flight.FlightLog(state, run),
        )
        engine = Engine(config, state, journal, ports, watch)
        links.on_return = engine.again
        await engine.start()
        return cls(config, engine, nodes, links)

    async def close(self) -> None:
        """Stop all work where it stands; the next router goes on with it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._engine.close()
        await self._nodes.close()
        await self._journal.close()

    @property
    def busy(self) -> bool:
        """Return whether any run works, waits in the queue or waits for a person, or anybody watches."""
        return self._engine.watched or any(not info.over for info in self._engine.roster.kept)

    async def submit(self, body: Mapping[str, Any]) -> dict[str, Json]:
        """Accept a task and return its summary. When this returns, the run survives anything."""
        if self._engine.full:
            limit = self._config.router.queue
            raise ResourceExhausted(f"{limit} runs wait already; try later or raise router.queue")
        task, checkout = await accept(body)
        _refuse_secrets(task.plan or task.text)
        info = RunInfo(run=new_run_id(), task=task, created_s=time.time())
        stamp = f"{WORKFLOW_VERSION}.{personas.stamp(self._ports.personas)}"
        row = RunRow(run=info.run, created_s=info.created_s, stamp=stamp, task=cast("Json", asdict(task)))
        async with self._one_at_a_time(info.run):
            info = await to_the_end(self._accepted(info, row))
        log.info("run accepted", extra={"run_id": info.run, "language": task.language, "deliver": task.deliver})
        return {**self._summary(info), "notes": list(checkout.notes), "language": task.language}

    async def _accepted(self, info: RunInfo, row: RunRow) -> RunInfo:
        await self._journal.add_run(row)
        info = self._engine.roster.known(info.run) or info  # whoever asked for `latest` may have read it already
        self._engine.roster.settle(info)
        await self._engine.enqueue(info, settled=True)
        return info

    async def list_runs(self) -> list[dict[str, Json]]:
        """Return all runs, newest first."""
        return [self._summary(info) for info in reversed(await self._engine.roster.read_all())]

    def _summary(self, info: RunInfo) -> dict[str, Json]:
        return summary(info, self._engine.before(info.run))

    async def get(self, run_id: RunId) -> dict[str, Json]:
        """Return everything about a run."""
        info = await self._engine.roster.find(run_id)
        entries = await self._journal.entries(run_id)
        left = await asyncio.to_thread(artefacts.told, self._engine.state, run_id)
        try:
            return {**detail(info, entries), "artefacts": left}
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:  # chained, and of another form
            words = f"what is recorded of run {run_id} cannot be shown ({type(error).__name__}: {error})"
            raise BrokenJournal(f"{words}; `tandem gc --run {run_id}` removes it once it is over") from error

    async def diff(self, run_id: RunId) -> bytes:
        """Return the diff under decision, or the delivered one."""
        info = await self._engine.roster.find(run_id)
        product, base = info.facts.get("product"), info.facts.get("base") or info.task.base
        if not product:
            raise NotFound(f"run {run_id} has no proven change yet; its state is {info.state!r}")
        repo = await self._engine.repository(info)
        return await repo.diff(CommitId(str(base)), CommitId(str(product)))

    async def calls(self, run_id: RunId) -> bytes:
        """Return what was said to models in a run, one JSON object a line; empty where nothing was kept."""
        state = self._engine.state
        await self._engine.roster.find(run_id)
        rows = await asyncio.to_thread(
            lambda: [json.dumps(row, ensure_ascii=False) for row in flight.calls(state, run_id)]
        )
        return "".join(f"{row}\n" for row in rows).encode("utf-8", "replace")

    async def artefacts(self, run_id: RunId, kind: str) -> bytes:
        """Return what a kind of check of a run left, as a ZIP."""
        await self._engine.roster.find(run_id)
        return await asyncio.to_thread(artefacts.packed, self._engine.state, run_id, kind)

    async def placements(self, run_id: RunId) -> list[dict[str, Json]]:
        """Return which node took each call of a run, and why, as far as that was kept."""
        state = self._engine.state
        await self._engine.roster.find(run_id)
        return await asyncio.to_thread(lambda: list(flight.placements(state, run_id)))

    async def decide(self, run_id: RunId, decision: Decision) -> dict[str, Json]:
        """Record a person's answer, once, and go on with the run."""
        async with self._one_at_a_time(run_id):
            return await to_the_end(self._decide(run_id, decision))

    async def _decide(self, run_id: RunId, decision: Decision) -> dict[str, Json]:
        info = await self._engine.roster.find(run_id)
        entries = await self._journal.entries(run_id)
        earlier = [decision_in(e.value) for e in entries if e.kind == "answered" and e.step == decision.question]
        question = info.question if info.state == "waiting" else None
        if is_new(question, decision, earlier[-1] if earlier else None):
            recorder = RunRecorder(self._journal, run_id, entries, emit=self._engine.feed(info).emit)
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
        async with self._one_at_a_time(run_id):
            info = await self._engine.roster.find(run_id)
            await to_the_end(self._engine.cancel(info))
            self._nodes.abandon(run_id)
            return summary(info)

    async def resume(self, run_id: RunId) -> dict[str, Json]:
        """Go on with a run that failed or was cancelled."""
        async with self._one_at_a_time(run_id):
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
            entries = await self._journal.entries(run_id)
            if not cut_since_it_stopped(entries):  # by a router that was killed just after
                recorder = RunRecorder(self._journal, run_id, entries, emit=self._engine.feed(info).emit)
                await recorder.forget_last_step()
        info.active_s = 0.0  # a person who says "go on" grants the time anew
        await self._engine.enqueue(info)
        return summary(info)

    async def replay(self, run_id: RunId) -> dict[str, Json]:
        """Run the graph offline over the journal, and compare what comes out."""
        info = await self._engine.roster.find(run_id)
        if not info.over and info.state != "waiting":
            raise Conflict(f"run {run_id} is {info.state}; replay it when it has stopped")
        entries = await self._journal.entries(run_id)
        recorder = RunRecorder(self._journal, run_id, entries, emit=lambda kind, data: None, offline=True)
        nowhere: Any = execution.Nowhere()
        ports = execution.Ports(
            models=nowhere, checks=nowhere, guard=nowhere, personas=self._ports.personas, settings=self._ports.settings
        )
        answer: dict[str, Json] = {"run": run_id, "commit": None, "same": False, "difference": None}
        try:
            ending = await execution.execute(info.task, recorder, await self._engine.repository(info), ports)
        except ReplayDiffers as error:
            # a merged run has a message where only its report could not be written
            ended_early = bool(info.message) and "journal ends" in error.message
            return answer | {"same": ended_early, "difference": error.message}
        except TandemError as error:  # it ends the way it ended: that is the same
            same = info.state == "failed" and type(error).__name__ == info.error
            return answer | {"same": same, "difference": None if same else error.message}
        commit = ending.outcome.get("commit")
        state = "waiting" if ending.waiting else ending.outcome.get("state")
        same = commit == info.commit and (state == info.state or info.state in RESUMABLE)
        difference = None if same else f"it came to {state} {commit} and was {info.state} {info.commit}"
        return answer | {"commit": commit or ending.state.get("product"), "same": same, "difference": difference}

    async def undo(self, run_id: RunId) -> dict[str, Json]:
        """Revert a merged run with a commit of its own; once."""
        async with self._one_at_a_time(run_id):
            info = await self._engine.roster.find(run_id)
            if info.state != "merged" or not info.commit:
                raise Conflict(f"run {run_id} is {info.state}; only a merged run can be undone")
            entries = await self._journal.entries(run_id)
            recorder = RunRecorder(self._journal, run_id, entries, emit=self._engine.feed(info).emit)
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

    async def verify(
        self, repo: str, commit: str, *, prepare: bool = False, unsandboxed: bool = False
    ) -> AsyncIterator[Progress]:
        """Establish a commit's proof anew: progress, then one result."""
        allowed = verification.Allowed(network=prepare, unsandboxed=unsandboxed)
        found = verification.verify(self._engine.state, repo, commit, self._ports, allowed)
        async for kind, data in found:
            yield kind, data

    async def subscribe(self, run_id: RunId, after: int) -> AsyncIterator[RunEvent]:
        """Yield a run's events after `after`; ends when the run does."""
        info = await self._engine.roster.find(run_id)
        async for event in self._engine.feed(info).subscribe(after):
            yield event

    async def export(self, run_id: RunId, file: str, *, move: bool) -> dict[str, Json]:
        """Write a run into a file; with `move` it goes on only where it is taken in."""
        async with self._one_at_a_time(run_id):
            return await moving.export(self._engine, await self._engine.roster.find(run_id), Path(file), move=move)

    async def take_in(self, file: str, repo: str) -> dict[str, Json]:
        """Take a run in from a file and return its summary."""
        async with self._housekeeping.lock:  # what it brings is named by no run of the journal at first
            return self._summary(await moving.take_in(self._engine, Path(file), repo, self._one_at_a_time))

    async def clear(self, *, run: str, days: float | None, dry_run: bool) -> dict[str, Json]:
        """Clear away what is old, and `run` whatever its age ("" for none); return what that freed."""
        named = [await self.resolve(run)] if run else []
        for run_id in named:
            must_be_over(await self._engine.roster.find(run_id))
        freed, troubles = await self._housekeeping.clear(
            self._nodes.collect,
            runs=named,
            days=days,
            dry_run=dry_run,
            idle=not self._engine.at_work,
            busy=lambda run: (order := self._orders.get(run)) is not None and order.locked(),
        )
        self._engine.drop()
        told: list[Json] = [{"what": one.what, "count": one.count, "bytes": one.size_bytes} for one in freed]
        return {"dry_run": dry_run, "freed": told, "troubles": list[Json](troubles)}

    async def _keep_clear(self) -> None:
        """Clear up once a day, while no run is at work."""
        while True:
            await asyncio.sleep(_LOOK_S)
            if self._config.keep.by_itself and not self._engine.at_work and self._housekeeping.overdue:
                try:
                    await self.clear(run="", days=None, dry_run=False)
                except (TandemError, OSError) as error:
                    log.warning("could not clear up", extra={"why": str(error)})

    def _woke(self, gap_s: float) -> None:
        """Doubt every connection after a sleep, and tell who watches."""
        self._nodes.doubt()
        self._engine.tell_all(f"nothing moved for {gap_s:.0f} s: this machine slept, or was stopped; going on")

    def standing(self) -> dict[str, Json]:
        """Return how many runs are not over, what those at work wait for, and the paired machines as they were seen last.

        Whatever is stuck, this answers: it is asked for most when a machine is away.
        """
        kept = self._engine.roster.kept
        states = [info.state for info in kept]
        counts: dict[str, Json] = {
            "active": states.count("running"),
            "queued": states.count("queued"),
            "waiting": states.count("waiting"),
        }
        holds: list[Json] = [{"run": info.run, **info.hold.told()} for info in kept if info.hold]
        trouble = list[Json](self._links.troubles)
        return {"runs": counts, "holds": holds, "peers": self._links.told(), "trouble": trouble}

    async def status(self) -> dict[str, Json]:
        """Return what this router works with, as the nodes say at this moment."""
        nodes = [cast("Json", asdict(node)) for node in await self._nodes.describe()]
        models: dict[str, Json] = {"router": self._config.models.router, "worker": self._config.models.worker}
        return {"models": models, "nodes": nodes, "awake": self._awake.held}

    async def resolve(self, prefix: str) -> RunId:
        """Return the run that `prefix`, or `latest`, means; raises as `Roster.resolve` does."""
        return await self._engine.roster.resolve(prefix)

    def _one_at_a_time(self, run_id: RunId) -> asyncio.Lock:
        """Return what keeps two orders about one run apart: each looks at what the other has done."""
        return self._orders.setdefault(run_id, asyncio.Lock())


def _refuse_secrets(text: str) -> None:
    """Refuse a task that carries a credential before it reaches the journal, where nothing is ever deleted.

    Raises:
        Refused: It does; nothing was stored.
    """
    found = decide([finding for finding in secrets(text) if finding.verdict == "block"])
    if found.verdict == "block":
        raise Refused(f"{'; '.join(found.reasons)}; nothing was stored: take it out and hand the task in again")


def settings_of(config: Config) -> Settings:
    """Return what the workflow needs of the configuration."""
    pace = Pace()
    check = config.check
    return Settings(
        models={"router": config.models.router, "worker": config.models.worker},
        contexts={"router": config.context.router, "worker": config.context.worker},
        rounds={"low": config.rounds.low, "medium": config.rounds.medium, "high": config.rounds.high},
        limits=Limits(
            wall_s=check.wall_s,
            memory_bytes=int(check.memory_gib * (1 << 30)),
            processes=check.processes,
            output_bytes=check.output_mib << 20,
        ),
        repeats=check.repeats,
        mutation_s=check.mutation_s,
        artefacts=tuple(check.artefacts),
        call_s=config.router.call_s,
        work_s=config.router.work_s,
        counts={"router": counter(config.context.router_tokenizer), "worker": counter(config.context.worker_tokenizer)},
        prepare_s=config.prepare.wall_s,
        prepare_network=config.prepare.network,
        expected_s=pace.expected_s,
        took=pace.add,
    )
