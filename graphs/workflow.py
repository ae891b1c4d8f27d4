"""The way of a task as a graph: which step follows which, and nothing else.

Each edge is a pure function of the state. One question a node, nothing before it; a node may run twice, so its effects
go through the journal.
"""

from __future__ import annotations

import time
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from graphs import coding, finishing, intake, planning, proving
from graphs.state import State, enter
from graphs.summaries import summarise
from graphs.team import Team

NODE_S = 6 * 3600.0  # a bound behind every other deadline; a run's own is `--max-minutes`
RECURSION_LIMIT = 400  # steps of one run; rounds and replants are bounded long before

STEPS = {
    "guard": intake.guard,
    "ask_guard": intake.ask_guard,
    "assess": intake.assess,
    "ask_route": intake.ask_route,
    "answer": finishing.answer,
    "plan": planning.plan,
    "ask_plan": planning.ask_plan,
    "write_plan": planning.write_plan,
    "prepare": planning.prepare,
    "ask_prepare": planning.ask_prepare,
    "specify": planning.specify,
    "code": coding.code,
    "review": coding.review,
    "sharpen": coding.sharpen,
    "dispute": coding.dispute,
    "ask_dispute": coding.ask_dispute,
    "ask_rounds": coding.ask_rounds,
    "check": proving.check,
    "approve": proving.approve,
    "merge": finishing.merge,
    "document": finishing.document,
}


def after_guard(state: State) -> str:
    """Block ends it, ask goes to the lead."""
    if "outcome" in state:
        return END
    return "assess" if state["screening"]["verdict"] == "allow" else "ask_guard"


def after_ask_guard(state: State) -> str:
    """Go on unless the lead stopped it."""
    return END if "outcome" in state else "assess"


def after_assess(state: State) -> str:
    """Where the router's model can't decide, the lead does."""
    if "outcome" in state:
        return END
    if not state["assessment"]["sure"]:
        return "ask_route"
    question = state["assessment"]["kind"] == "question"
    return "answer" if question and not state.get("plan_mode") else "plan"


def after_plan(state: State) -> str:
    """Show the plan to the lead when the task is hard or the planner asks, and not one that the lead brought.

    Where the plan is all that is wanted, its document is shown in the end; here its checklist is asked.
    """
    if state.get("plan_mode") == "given":
        return "prepare"
    if state.get("plan_mode") == "only":
        return "ask_plan" if state["plan"]["checklist"] else "write_plan"
    hard = state["assessment"]["difficulty"] == "high"
    return "ask_plan" if hard or state["plan"]["question"] else "prepare"


def after_ask_plan(state: State) -> str:
    """A remark goes back to the planner."""
    if "outcome" in state:
        return END
    if state["plan_again"]:
        return "plan"
    return "write_plan" if state.get("plan_mode") == "only" else "prepare"


def after_prepare(state: State) -> str:
    """Documentation needs no failing test; what must be installed needs the lead's word."""
    if "outcome" in state:
        return END
    if state.get("needs"):
        return "ask_prepare"
    return "code" if state["assessment"]["kind"] == "docs" else "specify"


def after_ask_prepare(state: State) -> str:
    """Go back and build, or go on without."""
    return END if "outcome" in state else "prepare"


def after_specify(state: State) -> str:
    """Without red tests there is nothing to prove."""
    return "ask_rounds" if state.get("stuck") else "code"


def after_code(state: State) -> str:
    """A disputed test goes to the tester once, then to the lead."""
    if state.get("dispute"):
        return "dispute" if state.get("disputes", 0) == 0 else "ask_dispute"
    return "ask_rounds" if state.get("stuck") else "review"


def after_review(state: State) -> str:
    """On to the proof when the reviewer and the tests agree, else another round while there are any."""
    if state["approved_by_reviewer"]:
        return "check"
    return again(state)


def again(state: State) -> str:
    """Another round, or the lead."""
    if "outcome" in state:
        return END
    return "code" if state.get("round", 0) < state["rounds"] else "ask_rounds"


def after_ask_rounds(state: State) -> str:
    """Go on where it stopped: with the tests, if there were none that failed."""
    if "outcome" in state:
        return END
    if state.get("override"):
        return "check"
    return "code" if state.get("tests") or state["assessment"]["kind"] == "docs" else "specify"


def after_check(state: State) -> str:
    """Only a proven product is shown to the lead; what no test notices goes back to the tester first."""
    if state.get("unnoticed"):
        return "sharpen"
    return "approve" if state["product"] else again(state)


def after_sharpen(state: State) -> str:
    """Prove it anew, with whatever tests there are now."""
    del state
    return "check"


def after_approve(state: State) -> str:
    """Approved bytes are merged; remarks go back to the coder."""
    if "outcome" in state:
        return END
    return "merge" if state["approved_diff"] else "code"


def after_merge(state: State) -> str:
    """The branch moved: merge again if the diff is the same, else ask again."""
    if "outcome" in state:
        return "document"
    return "merge" if state["approved_diff"] else "approve"


EDGES = {
    "guard": (after_guard, ("assess", "ask_guard", END)),
    "ask_guard": (after_ask_guard, ("assess", END)),
    "assess": (after_assess, ("ask_route", "answer", "plan", END)),
    "ask_route": (after_assess, ("answer", "plan", END)),
    "plan": (after_plan, ("ask_plan", "write_plan", "prepare")),
    "ask_plan": (after_ask_plan, ("plan", "write_plan", "prepare", END)),
    "prepare": (after_prepare, ("ask_prepare", "code", "specify", END)),
    "ask_prepare": (after_ask_prepare, ("prepare", END)),
    "specify": (after_specify, ("ask_rounds", "code")),
    "code": (after_code, ("dispute", "ask_dispute", "ask_rounds", "review")),
    "dispute": (again, ("code", "ask_rounds", END)),
    "ask_dispute": (again, ("code", "ask_rounds", END)),
    "review": (after_review, ("check", "code", "ask_rounds", END)),
    "ask_rounds": (after_ask_rounds, ("check", "code", "specify", END)),
    "check": (after_check, ("approve", "sharpen", "code", "ask_rounds", END)),
    "sharpen": (after_sharpen, ("check",)),
    "approve": (after_approve, ("merge", "code", END)),
    "merge": (after_merge, ("merge", "approve", "document")),
}


def _shown(name: str, node: Any) -> Any:
    """Wrap a node so that whoever watches sees it begin and end; a question interrupts it in between."""

    async def shown(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
        emit, (step, _) = runtime.context.recorder.emit, enter(state, name)
        started = time.monotonic()
        emit("step.started", step=step, title=name.replace("_", " "))
        update = await node(state, runtime)
        seconds = round(time.monotonic() - started, 3)
        emit("step.finished", step=step, summary=summarise(name, update), seconds=seconds)
        return update

    return shown


def build() -> CompiledStateGraph[Any, Any, Any, Any]:
    """Return the compiled graph; its checkpoints live in memory and may be thrown away at any time."""
    graph: Any = StateGraph(State, context_schema=Team)
    for name, node in STEPS.items():
        graph.add_node(name, _shown(name, node), timeout=NODE_S)
    graph.add_edge(START, "guard")
    for name, (decide, targets) in EDGES.items():
        graph.add_conditional_edges(name, decide, list(targets))
    graph.add_edge("document", END)
    graph.add_edge("answer", END)
    graph.add_edge("write_plan", END)
    return graph.compile(checkpointer=InMemorySaver())
