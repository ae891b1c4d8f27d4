"""Check and approve: the proof, made from reports alone, and the lead's answer to exactly those bytes."""

from __future__ import annotations

import hashlib
import textwrap
from dataclasses import dataclass, replace
from typing import Any, cast

from langgraph.runtime import Runtime

from graphs.coding import finding
from graphs.phrases import phrase
from graphs.state import State, enter
from graphs.team import Team
from tandem import proof
from tandem.proof import outcomes
from tandem.types import JUDGE, CheckReport, CommitId, Json, Seal

RERUNS = 2  # further runs of the same tree where two differ, to name what is flaky


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A commit with its proof, or why there is none."""

    commit: CommitId | None
    note: str = ""
    trouble: str = ""
    report: str = ""  # key of the head's report
    unnoticed: tuple[str, ...] = ()  # changed files that could be put back without a test failing


async def check(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Run everything over the head, judge it against the base, and write the product."""
    team, (step, visits) = runtime.context, enter(state, "check")
    made = prove if not state.get("override") else override
    product = await made(team, state, step, base=team.task.base, tests=state.get("tests", ""), head=state["head"])
    if product.commit is None:
        return {"visits": visits, "findings": [finding(product.trouble)], "product": ""}
    update: dict[str, Any] = {"visits": visits, "product": product.commit, "note": product.note, "base": team.task.base}
    update["head_report"] = product.report
    if not product.unnoticed:
        return update
    words = f"the tests do not notice when the change to {', '.join(product.unnoticed)} is put back"
    if not state.get("sharpened"):
        update |= {"product": "", "unnoticed": list(product.unnoticed)}
    return update | {"findings": [*state.get("findings", []), finding(words, severity="minor")]}


async def prove(team: Team, state: State, step: str, *, base: str, tests: str, head: str) -> Product:
    """Return the product over `base`: red there with the tests alone, green with the head."""
    if not state["check"]:
        return await _unproven(team, state, step, base, head, None, None)
    moved = base != team.task.base
    base_key = state.get("base_report", "")
    if moved or not base_key:
        base_key = await team.check(step, state, base, f"base.{base[:8]}")
    if not tests:  # documentation: what passed must still pass, and nothing more is claimed
        head_key = await team.check(step, state, head, f"head.{head[:8]}")
        made = await _unproven(team, state, step, base, head, team.reports[base_key], team.reports[head_key])
        return replace(made, report=head_key)
    files = tuple(state["test_files"])
    red_key = state["red_report"]
    if moved:
        seal = Seal(tests=CommitId(tests), files=files, controls=True)
        red_key = await team.check(step, state, tests, f"red.{tests[:8]}", seal)
    red = proof.red(team.reports[base_key], team.reports[red_key], state["test_files"])
    if not red.holds:
        return Product(commit=None, trouble=f"on the new base the tests are not red: {red.reason}")
    if not await _same_tests(team, state, tests, head):
        return Product(commit=None, trouble="the tester's files are not the tester's own bytes any more")
    seal = Seal(
        tests=CommitId(tests),
        files=files,
        twins=True,
        repeats=team.settings.repeats,
        mutation_s=team.settings.mutation_s,
    )
    head_key, reruns = await _green_runs(team, state, step, head, seal)
    judged = proof.green(
        team.reports[base_key],
        team.reports[head_key],
        red.failing,
        files,
        reruns=reruns,
        controls=team.reports[red_key].controls,
    )
    if not judged.holds:
        return Product(commit=None, trouble=judged.reason)
    reports = (team.reports[base_key], team.reports[red_key], team.reports[head_key])
    new = set(outcomes(reports[2])) - set(outcomes(reports[0]))  # one red file may stand for many tests
    made = await _proof(team, state, base, head, "proven", reports, new_tests=max(len(new), len(red.failing)))
    product = await _product(team, state, step, head, made, reports)
    return replace(product, report=head_key, unnoticed=reports[2].unnoticed)


async def override(team: Team, state: State, step: str, *, base: str, tests: str, head: str) -> Product:
    """Return the product that the lead merges without a proof; the commit says so, in the lead's own words."""
    del tests
    empty = CheckReport(verdict="not run", reason="not run", judge=JUDGE)
    known = [team.reports.get(state.get(key, ""), empty) for key in ("base_report", "red_report", "draft_report")]
    reports = (known[0], known[1], replace(known[2], judge=JUDGE))
    made = await _proof(team, state, base, head, "overridden", reports, new_tests=0)
    return await _product(team, state, step, head, made, reports)


async def _same_tests(team: Team, state: State, tests: str, head: str) -> bool:
    files = state["test_files"]
    return await team.repo.tree(CommitId(tests), files) == await team.repo.tree(CommitId(head), files)


async def _green_runs(team: Team, state: State, step: str, head: str, seal: Seal) -> tuple[str, list[CheckReport]]:
    """Run the head; where it differs from the draft's own run, twice more."""
    key = await team.check(step, state, head, f"head.{head[:8]}", seal)
    draft = team.reports.get(state.get("draft_report", ""))
    if draft is None or head != state.get("head") or outcomes(draft) == outcomes(team.reports[key]):
        return key, []
    again = [await team.check(step, state, head, f"rerun{i}.{head[:8]}") for i in range(1, RERUNS + 1)]
    return key, [draft, *(team.reports[k] for k in again)]


async def _unproven(
    team: Team, state: State, step: str, base: str, head: str, before: CheckReport | None, after: CheckReport | None
) -> Product:
    """Return the product of a change of documentation; it says that no test proves it."""
    if before is not None and after is not None:
        broken = proof.regressions(before, after)
        if broken:
            return Product(commit=None, trouble="tests that passed on the base do not pass: " + ", ".join(broken[:5]))
    empty = CheckReport(verdict="not run", reason="documentation only")
    reports = (before or empty, empty, after or empty)
    made = await _proof(team, state, base, head, "unproven-docs", reports, new_tests=0)
    return await _product(team, state, step, head, made, reports)


async def _proof(
    team: Team,
    state: State,
    base: str,
    head: str,
    verdict: Any,
    reports: tuple[CheckReport, CheckReport, CheckReport],
    *,
    new_tests: int,
) -> proof.Proof:
    files = state.get("test_files", [])
    return proof.Proof(
        run=team.recorder.run_id,
        base=CommitId(base),
        tree=await team.repo.tree(CommitId(head)),
        tests_tree=await team.repo.tree(CommitId(head), files),
        test_files=tuple(files),
        command=tuple(state["check"].get("command", ())),
        adapter=state["check"].get("adapter", "plain"),
        folder=team.task.folder,
        digest=proof.digest(*reports),
        verdict=verdict,
        sandbox=reports[2].sandbox,
        new_tests=new_tests,
        judge=reports[2].judge,
        controls=reports[2].controls,
        twins=reports[2].twins,
        untwinned=reports[2].untwinned,
        cut=reports[2].cut,
        mutants=reports[2].mutants,
        killed=reports[2].killed,
        override=state.get("override", ""),
    )


async def _product(
    team: Team,
    state: State,
    step: str,
    head: str,
    made: proof.Proof,
    reports: tuple[CheckReport, CheckReport, CheckReport],
) -> Product:
    """Write the commit, with the sum of its note in its trailers where the judge that made the proof has a version."""
    note = proof.report_note(*reports, made)
    made = replace(made, note=proof.note_digest(note.encode("utf-8", "replace"))) if made.judge else made
    return Product(commit=await _write(team, state, step, made.base, head, made), note=note)


async def _write(team: Team, state: State, step: str, base: str, head: str, made: proof.Proof) -> CommitId:
    at_s = await team.recorder.now(step)

    async def make() -> Json:
        return await team.repo.squash(
            base=CommitId(base), head=CommitId(head), persona="coder", message=message(team, state, made), at_s=at_s
        )

    commit = CommitId(str(await team.recorder.derive(step, "commit", make)))
    await team.repo.keep(team.recorder.run_id, f"{step}.product", commit)
    return commit


def message(team: Team, state: State, made: proof.Proof) -> str:
    """Return the product's commit message: subject, the task, the proof in trailers."""
    subject = " ".join(state["plan"]["summary"].split())[:72] or team.task.text.splitlines()[0][:72]
    lines = [part for line in team.task.text.strip().splitlines()[:12] for part in textwrap.wrap(line, 72)]
    body = "\n".join(f"    {line}" for line in lines[:24])
    lines = proof.trailers(made)
    trailers = proof.sealed(lines) if made.judge else "\n".join(f"{key}: {value}" for key, value in lines)
    return f"{subject}\n\nTask:\n\n{body}\n\n{trailers}\n"


async def approve(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Show the lead the real diff and the proof. The answer is bound to exactly those bytes."""
    team, (step, visits) = runtime.context, enter(state, "approve")
    diff = await team.repo.diff(CommitId(state["base"]), CommitId(state["product"]))
    digest = hashlib.sha256(diff).hexdigest()
    answer = await team.put(
        step,
        "approve",
        ("approve", "change", "reject"),
        digest=digest,
        details=_shown(team, state),
        by_yes="" if state.get("override") else "approve",
        text=_approve_words(team, state),
        branch=team.task.target,
    )
    if answer.choice == "approve":
        return {"visits": visits, "approved_diff": digest, "findings": []}
    if answer.choice == "reject":
        words = f"the lead rejected it. {answer.text}".strip()
        return {"visits": visits, "outcome": {"state": "rejected", "message": words, "verdict": "passed"}}
    remarks = [finding(f"the lead: {c.text}", file=c.path, line=c.line, severity="major") for c in answer.comments]
    if answer.text or not remarks:
        remarks.append(finding(f"the lead: {answer.text or 'change it'}", severity="major"))
    more = max(state["rounds"], state.get("round", 0) + 1)  # a person's remark always gets its round
    return {
        "visits": visits,
        "findings": remarks,
        "rounds": more,
        "drafts": [],
        "approved_diff": "",
        "override": "",
    }


def _approve_words(team: Team, state: State) -> str | None:
    """Return the question where it is not the usual one."""
    if words := state.get("override", ""):
        return phrase("approve.override", team.task.language, branch=team.task.target, words=words)
    return None if state.get("tests") else phrase("approve.docs", team.task.language, branch=team.task.target)


def _shown(team: Team, state: State) -> dict[str, Json]:
    red = team.reports.get(state.get("red_report", ""))
    head = team.reports.get(state.get("head_report") or state.get("draft_report", ""))
    return {
        "commit": state["product"],
        "base": state["base"],
        "branch": team.task.target,
        "command": cast("Json", state["check"].get("command", [])),
        "red": len(state.get("red", [])),
        "red_tests": cast("Json", state.get("red", [])[:20]),
        "passed": sum(t.outcome == "passed" for t in head.tests) if head else 0,
        "sandbox": head.sandbox if head else (red.sandbox if red else ""),
        "rounds": state.get("round", 0),
        "findings": cast("Json", [f for f in state.get("findings", []) if f["severity"] == "minor"][:10]),
        "proven": bool(state.get("tests")) and not state.get("override"),
        "override": state.get("override", ""),
    }
