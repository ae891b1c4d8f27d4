"""CPU of a run of four instant calls over our journal, next to LangGraph with its SQLite saver alone.

Both sides run a chain of four nodes, each asking one question that is answered at once. Theirs keeps checkpoints in
SQLite; ours keeps answers in the journal and its checkpoint in memory. Interleaved pairs in one process; process CPU
time, all threads.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from router.journal import Journal, RunRow
from router.recorder import RunRecorder
from tandem.types import Json, RunId

CALLS = 4
_REPLY = "A reply of the length that a short plan has. " * 12
_QUESTION = "What a persona is shown: the task, some files, a report. " * 40


class _State(TypedDict):
    replies: dict[str, str]


async def _instant(attempt: int) -> Json:
    del attempt
    return _REPLY


async def _plain(state: _State) -> dict[str, Any]:
    number = len(state["replies"])
    return {"replies": {**state["replies"], str(number): str(await _instant(1))}}


@dataclass(frozen=True, slots=True)
class _Context:
    recorder: RunRecorder


async def _recorded(state: _State, runtime: Runtime[_Context]) -> dict[str, Any]:
    number = len(state["replies"])
    reply = await runtime.context.recorder.ask(f"step.{number}", "reply", {"q": _QUESTION, "n": number}, _instant)
    return {"replies": {**state["replies"], str(number): str(reply)}}


def _chain(node: Any, saver: Any, context: Any = None) -> Any:
    graph: Any = StateGraph(_State, context_schema=context)
    names = [f"n{i}" for i in range(CALLS)]
    for name in names:
        graph.add_node(name, node)
    for left, right in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(left, right)
    return graph.compile(checkpointer=saver)


async def compare(*, pairs: int) -> dict[str, Json]:
    """Return the CPU of both sides in milliseconds, and the median ratio of the pairs."""
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as name:
        folder = Path(name)
        journal = await Journal.open(folder / "journal.db")
        try:
            async with AsyncSqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
                theirs = _chain(_plain, saver)
                ours = _chain(_recorded, InMemorySaver(), _Context)
                sides = (lambda: _theirs(theirs), lambda: _ours(ours, journal))
                for side in sides:
                    await side()  # the first one pays for imports and files
                measured = [[await _cpu_ms(side) for side in sides] for _ in range(pairs)]
        finally:
            await journal.close()
    return {
        "calls": CALLS,
        "pairs": pairs,
        "langgraph_sqlite_cpu_ms": round(statistics.median(m[0] for m in measured), 2),
        "journal_cpu_ms": round(statistics.median(m[1] for m in measured), 2),
        "ratio": round(statistics.median(m[1] / m[0] for m in measured), 2),
    }


async def _theirs(graph: Any) -> None:
    config = {"configurable": {"thread_id": uuid.uuid4().hex}}
    await graph.ainvoke({"replies": {}}, config, durability="sync")


async def _ours(graph: Any, journal: Journal) -> None:
    """Do all that a run does: accept it, run it, record that it ended."""
    run = RunId(uuid.uuid4().hex)
    await journal.add_run(RunRow(run=run, created_s=time.time(), stamp="bench", task={"text": "bench"}))
    recorder = RunRecorder(journal, run, await journal.entries(run), emit=lambda kind, data: None)
    config = {"configurable": {"thread_id": run}}
    await graph.ainvoke({"replies": {}}, config, context=_Context(recorder), durability="sync")
    await graph.checkpointer.adelete_thread(run)
    await journal.append(
        run, step="", ordinal=0, attempt=1, kind="state", question="", value={"state": "answered"}, at_s=time.time()
    )


async def _cpu_ms(side: Callable[[], Awaitable[None]]) -> float:
    started = time.process_time()
    await side()
    return (time.process_time() - started) * 1000
