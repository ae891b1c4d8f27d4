"""All runs of this router, as the API asks for them.

What counts is in the journal before anybody is told; what is in memory can be read from it again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from agents import personas
from router import artefacts, execution, flight, moving
from router import verify as verification
from router.awake import Awake
from router.dispatcher import Dispatcher, Node
from router.engine import Engine
from router.feed import Watch
from router.housekeeping import Housekeeping, must_be_over
from router.journal import Journal
from router.links import Links
from router.orders import Orders
from router.replay import replay
from router.repository import OwnRepository
from router.settings import settings_of
from router.summary import RunInfo, detail, summary
from tandem.config import Config
from tandem.errors import BrokenJournal, NotFound, TandemError
from tandem.events import RunEvent
from tandem.ports import Guardrail
from tandem.types import CommitId, Decision, Json, RunId

log = logging.getLogger(__name__)
_LOOK_S = 600.0  # between two looks whether it is time to clear up
Progress = tuple[str, dict[str, Json]]


class Runs:
    """The runs of one router. Open with `Runs.open`, close with `close`."""

    def __init__(self, config: Config, engine: Engine, nodes: Dispatcher, links: Links) -> None:
        self._config = config
        self._engine = engine
        self._nodes = nodes
        self._links = links
        self._orders = Orders(engine, config.router.queue, nodes.abandon)
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
        await self._engine.journal.close()

    @property
    def busy(self) -> bool:
        """Return whether any run works, waits in the queue or waits for a person, or anybody watches."""
        return self._engine.watched or any(not info.over for info in self._engine.roster.kept)

    async def submit(self, body: Mapping[str, Any]) -> dict[str, Json]:
        """Accept a task and return its summary. When this returns, the run survives anything."""
        return await self._orders.submit(body)

    async def list_runs(self) -> list[dict[str, Json]]:
        """Return all runs, newest first."""
        return [self._summary(info) for info in reversed(await self._engine.roster.read_all())]

    def _summary(self, info: RunInfo) -> dict[str, Json]:
        return summary(info, self._engine.before(info.run))

    async def get(self, run_id: RunId) -> dict[str, Json]:
        """Return everything about a run."""
        info = await self._engine.roster.find(run_id)
        entries = await self._engine.journal.entries(run_id)
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
        return await self._orders.decide(run_id, decision)

    async def cancel(self, run_id: RunId) -> dict[str, Json]:
        """Stop a run. What it has is kept; `resume` goes on with it."""
        return await self._orders.cancel(run_id)

    async def resume(self, run_id: RunId) -> dict[str, Json]:
        """Go on with a run that failed or was cancelled."""
        return await self._orders.resume(run_id)

    async def undo(self, run_id: RunId) -> dict[str, Json]:
        """Revert a merged run with a commit of its own; once."""
        return await self._orders.undo(run_id)

    async def replay(self, run_id: RunId) -> dict[str, Json]:
        """Run the graph offline over the journal, and compare what comes out."""
        return await replay(self._engine, await self._engine.roster.find(run_id))

    async def verify(
        self, repo: str, commit: str, *, prepare: bool = False, unsandboxed: bool = False
    ) -> AsyncIterator[Progress]:
        """Establish a commit's proof anew: progress, then one result."""
        allowed = verification.Allowed(network=prepare, unsandboxed=unsandboxed)
        found = verification.verify(self._engine.state, repo, commit, self._engine.ports, allowed)
        async for kind, data in found:
            yield kind, data

    async def subscribe(self, run_id: RunId, after: int) -> AsyncIterator[RunEvent]:
        """Yield a run's events after `after`; ends when the run does."""
        info = await self._engine.roster.find(run_id)
        async for event in self._engine.feed(info).subscribe(after):
            yield event

    async def export(self, run_id: RunId, file: str, *, move: bool) -> dict[str, Json]:
        """Write a run into a file; with `move` it goes on only where it is taken in."""
        async with self._orders.turn(run_id):
            return await moving.export(self._engine, await self._engine.roster.find(run_id), Path(file), move=move)

    async def take_in(self, file: str, repo: str) -> dict[str, Json]:
        """Take a run in from a file and return its summary."""
        async with self._housekeeping.lock:  # what it brings is named by no run of the journal at first
            return self._summary(await moving.take_in(self._engine, Path(file), repo, self._orders.turn))

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
            busy=self._orders.is_under_way,
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
