"""One execution of the graph for one run, from its first step to an end or a question.

Live or offline, first time or tenth: the same graph over the same journal. Where the journal has the answers, this
takes milliseconds.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from langgraph.errors import GraphRecursionError

from agents.personas import Persona
from graphs import workflow
from graphs.team import Settings, Team
from router.recorder import RunRecorder
from tandem.errors import TandemError, Unavailable
from tandem.ports import Checks, Flight, Guardrail, Models, Recorder, Repository
from tandem.types import (
    CheckReport,
    CheckRequest,
    CompleteRequest,
    Environment,
    PrepareRequest,
    Reply,
    RunId,
    Screening,
    Task,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What stays the same for all runs of a router."""

    models: Models
    checks: Checks
    guard: Guardrail
    personas: Mapping[str, Persona]
    settings: Settings
    flight: Callable[[RunId], Flight] = lambda _run: Unrecorded()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Where an execution stopped: `waiting` for a person, or with an outcome. `state` is the graph's own."""

    waiting: bool
    state: dict[str, Any]

    @property
    def outcome(self) -> dict[str, Any]:
        """Return how the run ended; empty while it waits."""
        return self.state.get("outcome", {})


class Unrecorded:
    """Keeps nothing: a replay asks no model."""

    def note(self, request: CompleteRequest, reply: Reply | None, error: str) -> None:
        """Do nothing."""


class Nowhere:
    """Ports for an offline replay: everything must come from the journal, so being asked is a fault."""

    async def complete(self, request: CompleteRequest, on_chunk: object) -> Reply:
        """Refuse."""
        raise Unavailable("a replay asks no model")

    async def check(self, request: CheckRequest, on_progress: object) -> CheckReport:
        """Refuse."""
        raise Unavailable("a replay runs no tests")

    async def prepare(self, request: PrepareRequest, on_progress: object) -> Environment:
        """Refuse."""
        raise Unavailable("a replay prepares nothing")

    async def screen(self, text: str) -> Screening:
        """Refuse."""
        raise Unavailable("a replay screens nothing")


_graph: Any = None


async def execute(task: Task, recorder: RunRecorder, repo: Repository, ports: Ports) -> Ending:
    """Run the graph and return where it stopped.

    Raises:
        TandemError: What a step could not get over.
    """
    global _graph
    if _graph is None:
        _graph = workflow.build()
    team = Team(
        task=task,
        recorder=cast("Recorder", recorder),
        models=ports.models,
        checks=ports.checks,
        repo=repo,
        guard=ports.guard,
        personas=ports.personas,
        settings=ports.settings,
        flight=ports.flight(recorder.run_id),
    )
    thread = uuid.uuid4().hex
    config = {"configurable": {"thread_id": thread}, "recursion_limit": workflow.RECURSION_LIMIT}
    try:
        state = await _graph.ainvoke({"visits": {}}, config, context=team, durability="sync")
    except GraphRecursionError as error:
        raise TandemError(f"the run took more than {workflow.RECURSION_LIMIT} steps and was stopped") from error
    finally:
        await _graph.checkpointer.adelete_thread(thread)
    waiting = bool(state.pop("__interrupt__", None))
    return Ending(waiting=waiting, state=state)
