"""Say how a run stands and how to go on with it, in plain lines. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cli.render.lines import check_line, finding_line, hold_line
from cli.render.loose import items, mapping, number, objects, text, whole
from cli.render.text import duration, one_line, size, visible, wrap
from cli.render.view import REHEARSAL, Check

PROGRAM_KEYS = ("run", "repo", "state", "commit", "verdict")
_NEXT = {
    "failed": "`tandem resume {run}` goes on with it",
    "cancelled": "`tandem resume {run}` goes on with it",
    "merged": "`tandem verify {commit}` proves it again; `tandem undo {run}` takes it back",
    "delivered": "`tandem verify {commit}` proves it again",
    "planned": "`tandem plan --run {run}` shows the plan; `tandem run --plan FILE` carries out what you made of it",
    "waiting": "`tandem approve {run}`, `tandem reject {run}` or `tandem answer {run} CHOICE` goes on with it",
}


def for_program(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object `--json` prints: the keys programs rely on first, then the rest as it came."""
    return {**{key: summary.get(key) for key in PROGRAM_KEYS}, **summary}


def ending_lines(summary: Mapping[str, Any]) -> list[str]:
    """Return how a run ended or stands, why, and what can be done next."""
    run, state, commit = text(summary, "run"), text(summary, "state"), text(summary, "commit")
    head = f"{one_line(state)}: {one_line(run)}"
    if commit:
        head += f"  commit {one_line(commit)[:12]} on {one_line(text(summary, 'branch'))}"
    if summary.get("verdict"):
        head += f"  check {one_line(text(summary, 'verdict'))}"
    began, ended = number(summary, "created_s"), number(summary, "ended_s")
    if ended > began > 0:
        head += f"  in {duration(ended - began)}"
    lines = [head]
    if summary.get("hold"):
        hold = mapping(summary["hold"])
        lines.append(f"  {hold_line(text(hold, 'kind'), text(hold, 'text'), number(hold, 'since_s'))}")
    if summary.get("message"):
        lines += [f"  {line}" for line in visible(text(summary, "message"), keep="\n").splitlines()]
    if summary.get("rehearsed"):
        lines.append(f"  {REHEARSAL}")
    if state in _NEXT and not summary.get("moved"):
        lines.append("  " + _NEXT[state].format(run=one_line(run), commit=one_line(commit)[:12]))
    return lines


def question_lines(question: Mapping[str, Any]) -> list[str]:
    """Return a question as it is asked: its text, what it rests on, its choices."""
    lines = [f"? {line}" for line in visible(text(question, "text"), keep="\n").splitlines()]
    details = mapping(question.get("details"))
    lines += [f"  {one_line(str(reason))}" for reason in items(details.get("reasons"))]
    lines += [f"  {line}" for line in plan_lines(mapping(details.get("plan")))]
    for key in ("dispute", "why"):
        lines += [f"  {line}" for line in visible(text(details, key), keep="\n").splitlines()]
    if question.get("kind") != "approve":
        lines += [f"  · {finding_line(finding)}" for finding in objects(details.get("findings"))]
    choices = ", ".join(one_line(str(choice)) for choice in items(question.get("choices")))
    return [*lines, f"  choices: {choices}", f"  digest: {one_line(text(question, 'digest'))[:16]}"]


def plan_lines(plan: Mapping[str, Any]) -> list[str]:
    """Return a plan as people read it."""
    if not plan:
        return []
    lines = [f"plan: {one_line(text(plan, 'summary'))}"]
    for scenario in objects(plan.get("scenarios")):
        lines.append(f"  scenario: {one_line(text(scenario, 'name'))}")
        lines += [f"    {visible(line).strip()}" for line in text(scenario, "gherkin").splitlines() if line.strip()]
    lines += [f"  file: {one_line(str(path))}" for path in items(plan.get("files"))]
    lines += [f"  risk: {one_line(str(risk))}" for risk in items(plan.get("risks"))]
    return lines + _deliverable_lines(plan)


def _deliverable_lines(plan: Mapping[str, Any]) -> list[str]:
    """Return what a plan has beside its core: it matters where the plan itself was asked for."""
    lines: list[str] = []
    for option in objects(plan.get("options")):
        mark = " (recommended)" if option.get("recommended") else ""
        lines.append(f"  option: {one_line(text(option, 'name'))}{mark}")
        lines += [f"    {key}: {one_line(text(option, key))}" for key in ("how", "for", "against") if option.get(key)]
    for key, head in (("steps", "step"), ("resources", "resource"), ("done", "done when")):
        lines += [f"  {head}: {one_line(str(one))}" for one in items(plan.get(key))]
    if plan.get("rollback"):
        lines.append(f"  rollback: {one_line(text(plan, 'rollback'))}")
    for item in objects(plan.get("checklist")):
        suggested = f" (suggested: {one_line(text(item, 'suggestion'))})" if item.get("suggestion") else ""
        lines.append(f"  question: {one_line(text(item, 'question'))}{suggested}")
    return lines


def report_lines(report: Mapping[str, Any], cells: int) -> list[str]:
    """Return the documenter's report, folded to `cells`."""
    if not report:
        return []
    body = visible(text(report, "body"), keep="\n").splitlines()
    return [one_line(text(report, "title")), "", *(piece for line in body for piece in wrap(line, cells))]


def detail_lines(run: Mapping[str, Any], cells: int) -> list[str]:
    """Return all of a run: how it stands, task, plan, calls, checks and what they left, findings, question, report."""
    lines = [*ending_lines(run), f"  {one_line(text(run, 'repo'))} → {one_line(text(run, 'branch'))}"]
    told = [f"{key} {one_line(text(run, key))}" for key in ("kind", "difficulty", "round") if run.get(key)]
    lines += [f"  {', '.join(told)}"] if told else []
    task = mapping(run.get("task"))
    lines += ["", "task", *(f"  {line}" for line in visible(text(task, "text"), keep="\n").splitlines())]
    for head, part in (
        ("", plan_lines(mapping(run.get("plan")))),
        ("calls", [_call(call) for call in objects(run.get("calls"))]),
        ("checks", [_check(check) for check in objects(run.get("checks"))]),
        ("artefacts", artefact_lines(objects(run.get("artefacts")))),
        ("findings", [finding_line(finding) for finding in objects(run.get("findings"))]),
        ("question", question_lines(mapping(run.get("question"))) if run.get("question") else []),
        ("report", report_lines(mapping(run.get("report")), cells - 2)),
    ):
        if part:
            lines += ["", *([head] if head else []), *(f"  {line}".rstrip() if head else line for line in part)]
    return lines


def artefact_lines(kept: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what checks left: the check, its files, and what of them was left out."""
    lines: list[str] = []
    for check in kept:
        where = f" on {text(check, 'node')}" if check.get("node") else ""
        lines.append(one_line(f"{text(check, 'check')}, left by {text(check, 'step')}{where}"))
        if check.get("trouble"):
            lines.append(f"  {one_line(text(check, 'trouble'))}")
        lines += [f"  {_named(file)}" for file in objects(check.get("files"))]
        lines += [
            f"  left out: {_named(file)}: {one_line(text(file, 'why'))}" for file in objects(check.get("left_out"))
        ]
    return lines


def _named(file: Mapping[str, Any]) -> str:
    return f"{one_line(text(file, 'name'))}  {size(number(file, 'bytes'))}"


def _call(call: Mapping[str, Any]) -> str:
    tokens, seconds = whole(call, "completion_tokens"), number(call, "total_ms") / 1000
    where = f"{text(call, 'model')} on {text(call, 'node')}"
    mark = f" · {REHEARSAL}" if call.get("rehearsed") else ""
    return one_line(f"{text(call, 'step')}: {where} · {tokens} tokens · {duration(seconds)}{mark}")


def _check(check: Mapping[str, Any]) -> str:
    seen = Check(
        what=text(check, "what"),
        verdict=text(check, "verdict"),
        reason=text(check, "reason"),
        passed=whole(check, "passed"),
        failed=whole(check, "failed"),
        seconds=number(check, "seconds"),
        sandbox=text(check, "sandbox"),
    )
    return f"{one_line(text(check, 'step'))}: {check_line(seen, 0.0)}"
