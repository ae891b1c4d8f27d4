"""Guard and assess: is this task safe, what is it, how hard is it, and dares the router's model say so."""

from __future__ import annotations

from typing import Any, cast

from langgraph.runtime import Runtime

from agents.context import Section
from agents.replies import Assessment
from graphs.state import State, enter
from graphs.team import Team
from tandem.errors import BadReply
from tandem.types import Json, Screening

ROUTES = ("code low", "code medium", "code high", "docs", "question", "stop")


async def guard(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Screen the task before anything else sees it."""
    team, (step, visits) = runtime.context, enter(state, "guard")
    whole = team.task.plan or team.task.text  # a plan holds the task it is for

    async def live(attempt: int) -> Json:
        del attempt
        screening = await team.guard.screen(whole)
        return {"verdict": screening.verdict, "reasons": list(screening.reasons)}

    found = cast("dict[str, Any]", await team.recorder.ask(step, "screening", {"text": whole}, live))
    if found["verdict"] != "allow":
        team.recorder.emit("note", level="warning", text="; ".join(found["reasons"]))
    update: dict[str, Any] = {"visits": visits, "screening": found, "plan_mode": _plan_mode(team)}
    if found["verdict"] == "block":
        update["outcome"] = _blocked("the guardrail blocked it: " + "; ".join(found["reasons"]))
    return update


def _plan_mode(team: Team) -> str:
    if team.task.plan_only:
        return "only"
    return "given" if team.task.plan else ""


async def ask_guard(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Let the lead decide what the guardrail would not. `--yes` does not answer this one."""
    team, (step, visits) = runtime.context, enter(state, "ask_guard")
    screening = Screening(**state["screening"])
    answer = await team.put(
        step,
        "guard",
        ("go on", "stop"),
        details={"reasons": list(screening.reasons), "task": team.task.text},
        reasons="; ".join(screening.reasons),
    )
    if answer.choice == "go on":
        return {"visits": visits}
    return {"visits": visits, "outcome": _blocked("the lead stopped it at the guardrail's question")}


def _blocked(message: str) -> dict[str, Json]:
    return {"state": "blocked", "message": message}


async def assess(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Ask the router's model for difficulty, kind and reflection; how long it took is shown with its answer."""
    team, (step, visits) = runtime.context, enter(state, "assess")
    try:
        said = await team.speak(step, "assessor", Assessment, await _look(team))
        found: dict[str, Any] = said.model_dump()
    except BadReply as error:
        found = {"sure": False, "reason": str(error), "difficulty": "medium", "kind": "code", "reflect": True}
    if found["kind"] == "vision":
        found |= {"sure": False, "reason": "it wants a picture looked at, and no vision model is bound"}
    return {"visits": visits, "assessment": reflecting(found), "rounds": team.settings.rounds[found["difficulty"]]}


def reflecting(found: dict[str, Any]) -> dict[str, Any]:
    """Return the assessment with the second look that medium and high difficulty always get."""
    return {**found, "reflect": bool(found["reflect"]) or found["difficulty"] != "low"}


async def _look(team: Team) -> list[Section]:
    files = await team.repo.files(team.task.base)
    return [
        Section(title="task", text=team.task.text, keep=9),
        Section(title=f"the repository has {len(files)} files, among them", text="\n".join(files[:80]), keep=1),
    ]


async def ask_route(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Let the lead say what the task is, where the router could not."""
    team, (step, visits) = runtime.context, enter(state, "ask_route")
    found = state["assessment"]
    answer = await team.put(
        step,
        "route",
        ROUTES,
        details={"assessment": found, "task": team.task.text},
        by_yes="code medium",
        reason=found["reason"] or "-",
    )
    if answer.choice == "stop":
        return {"visits": visits, "outcome": {"state": "rejected", "message": "the lead stopped it"}}
    kind, _, difficulty = answer.choice.partition(" ")
    decided: dict[str, Any] = {**found, "kind": kind, "difficulty": difficulty or "low", "sure": True, "by": answer.by}
    return {"visits": visits, "assessment": reflecting(decided), "rounds": team.settings.rounds[decided["difficulty"]]}
