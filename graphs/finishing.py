"""Merge, document, answer: the only steps that change anything a person owns, and the words about it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any, cast

from langgraph.runtime import Runtime

from agents.context import Section
from agents.replies import Report
from graphs import views
from graphs.coding import finding
from graphs.proving import override, prove
from graphs.state import State, enter
from graphs.team import Team
from tandem.errors import BadInput, Cancelled, ReplayDiffers, TandemError
from tandem.trailers import parse_trailers
from tandem.types import CommitId, Json

REPLANTS = 3  # times the branch may move while we try to merge


async def merge(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Deliver the product, or, where the branch moved meanwhile, prove it anew over the new tip."""
    team, (step, visits) = runtime.context, enter(state, "merge")
    task = team.task
    if why := await _refusal(team, state):
        message = f"commit {state['product'][:10]} was not merged: {why}"
        return {"visits": visits, "outcome": {"state": "failed", "message": message, "class": "Refused"}}
    if task.deliver == "branch":
        return {"visits": visits, **await _deliver(team, state, step, expected=None)}

    async def live(attempt: int) -> Json:
        del attempt
        return await team.repo.tip(task.target)

    tip = await team.recorder.ask(step, "tip", {"branch": task.target, "product": state["product"]}, live)
    if tip in (state["base"], state["product"]) or tip is None or state.get("replants", 0) >= REPLANTS:
        return {"visits": visits, **await _deliver(team, state, step, expected=CommitId(state["base"]))}
    return {"visits": visits, **await _replant(team, state, step, CommitId(str(tip)))}


async def _deliver(team: Team, state: State, step: str, *, expected: CommitId | None) -> dict[str, Any]:
    commit, branch = CommitId(state["product"]), team.task.target

    async def do() -> Json:
        if expected is None:
            delivery = await team.repo.deliver_branch(commit=commit, branch=branch, note=state["note"])
        else:
            delivery = await team.repo.deliver(commit=commit, branch=branch, expected=expected, note=state["note"])
        return cast("Json", asdict(delivery))

    intent: dict[str, Json] = {"commit": commit, "branch": branch, "expected": expected}
    done = cast("dict[str, Any]", await team.recorder.effect(step, "delivery", intent, do))
    how = "merged" if done["merged"] else "delivered"
    outcome: dict[str, Json] = {
        "state": how,
        "commit": commit,
        "branch": done["branch"],
        "message": done["message"],
        "verdict": _verdict(state),
    }
    return {"delivery": done, "outcome": outcome}


def _verdict(state: State) -> str:
    return "passed" if state.get("tests") and not state.get("override") else "unproven"


async def _refusal(team: Team, state: State) -> str:
    """Return why the product may not be merged: it has to carry a proof of exactly its own tree, or an override."""
    commit = CommitId(state["product"])
    try:
        claimed = parse_trailers(await team.repo.message(commit))
    except BadInput as error:
        return str(error)
    if claimed is None:
        return "its message carries no proof"
    if claimed.tree != await team.repo.tree(commit) or claimed.base != state["base"]:
        return "the proof it carries is of another tree, or over another base"
    if claimed.verdict == "overridden" and not (claimed.override and state.get("override")):
        return "it says that the lead overrode the proof, and the lead did not"
    return ""


async def _replant(team: Team, state: State, step: str, tip: CommitId) -> dict[str, Any]:
    """Put tests and head over the new tip and prove them there; the approval stands only for the same diff."""
    team.recorder.emit(
        "note", level="info", text=f"{team.task.target} has moved to {tip[:10]}; proving the change there"
    )
    at_s = await team.recorder.now(step)
    old = CommitId(team.task.base)
    moved: dict[str, str | None] = {}
    for what in ("tests", "head"):
        commit = state.get(what)
        if commit:
            moved[what] = await _move(team, state, step, CommitId(str(commit)), old, tip, at_s)
    head = moved["head"]
    if head is None or ("tests" in moved and moved["tests"] is None):
        words = f"{team.task.target} has moved to {tip[:10]} and the change conflicts with it"
        return await _left_behind(team, state, step, words)
    made = prove if not state.get("override") else override
    product = await made(team, state, step, base=tip, tests=moved.get("tests") or "", head=head)
    if product.commit is None:
        return await _left_behind(team, state, step, f"over {tip[:10]} it is not green: {product.trouble}")
    diff = await team.repo.diff(tip, product.commit)
    update: dict[str, Any] = {
        "product": product.commit,
        "note": product.note,
        "base": tip,
        "replants": state.get("replants", 0) + 1,
    }
    if hashlib.sha256(diff).hexdigest() != state["approved_diff"]:
        update["approved_diff"] = ""
    return update


async def _move(
    team: Team, state: State, step: str, commit: CommitId, old: CommitId, tip: CommitId, at_s: int
) -> str | None:
    async def make() -> Json:
        return await team.repo.replant(
            base=old,
            head=commit,
            onto=tip,
            persona="coder",
            message=f"{state['plan']['summary']} (over {tip[:10]})\n\nTandem-Run: {team.recorder.run_id}",
            at_s=at_s,
        )

    return cast("str | None", await team.recorder.derive(step, "commit", make))


async def _left_behind(team: Team, state: State, step: str, why: str) -> dict[str, Any]:
    """Leave the proven commit on a branch of its own: nothing is lost, nothing is forced."""
    commit = CommitId(state["product"])
    branch = f"tandem/{team.recorder.run_id}"

    async def do() -> Json:
        return cast("Json", asdict(await team.repo.deliver_branch(commit=commit, branch=branch, note=state["note"])))

    intent: dict[str, Json] = {"commit": commit, "branch": branch}
    done = cast("dict[str, Any]", await team.recorder.effect(step, "delivery", intent, do))
    message = (
        f"{why}; the approved commit is on branch {done['branch']}: `git merge {done['branch']}` when you are ready"
    )
    outcome: dict[str, Json] = {
        "state": "delivered",
        "commit": commit,
        "branch": done["branch"],
        "message": message,
        "verdict": _verdict(state),
    }
    return {"delivery": done, "outcome": outcome, "findings": [finding(why, severity="minor")]}


async def document(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Have the documenter write the report. Without one the run is no less done."""
    team, (step, visits) = runtime.context, enter(state, "document")
    diff = await team.repo.diff(CommitId(state["base"]), CommitId(state["product"]))
    sections = [
        views.task(team),
        Section(title="the plan", text=views.plan_text(state), keep=6),
        Section(title="the diff", text=diff.decode("utf-8", "replace"), keep=3),
        Section(title="the proof", text=state["note"].split("```json")[0], keep=7),
        Section(title="where it went", text=str(state["outcome"].get("message") or state["outcome"]["state"]), keep=7),
    ]
    try:
        said = await team.speak(step, "documenter", Report, sections)
    except (Cancelled, ReplayDiffers):
        raise
    except TandemError as error:
        team.recorder.emit(
            "note", level="warning", text=f"the change is {state['outcome']['state']}, but no report: {error}"
        )
        return {"visits": visits, "report": {}}
    return {"visits": visits, "report": said.model_dump()}


async def answer(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Answer a question about the repository, without a commit; the large model speaks, where it reads more."""
    team, (step, visits) = runtime.context, enter(state, "answer")
    sections = [views.task(team), *await views.repository(team, step)]
    said = await team.speak(step, "documenter", Report, sections, slot="worker")
    return {"visits": visits, "report": said.model_dump(), "outcome": {"state": "answered", "message": said.title}}
