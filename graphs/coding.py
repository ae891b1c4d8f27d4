"""Code, review, dispute: the coder changes, the tests speak, the reviewer says why, until both are content."""

from __future__ import annotations

from typing import Any, cast

from langgraph.runtime import Runtime

from agents.context import Section
from agents.loop import Worked
from agents.replies import Code, Review, TestFile, Tests
from agents.tools.worktree import Worktree
from graphs import planning, tooling, views
from graphs.state import State, enter
from graphs.team import Team
from tandem.deciding import has_a_say
from tandem.errors import BadReply
from tandem.types import OVERRIDE, CommitId, Edit, Json


async def code(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Have the coder change files, commit the draft, and run the tests over it."""
    team, (step, visits) = runtime.context, enter(state, "code")
    update: dict[str, Any] = {"visits": visits, "round": state.get("round", 0) + 1, "dispute": "", "stuck": ""}
    if state["check"] and "base_report" not in state:  # documentation: what passes today must pass afterwards
        update["base_report"] = await team.check(step, state, team.task.base, "base")
        state = cast("State", {**state, **update})
    sections = await _coder_sections(team, state)
    shown = team.seen_whole("coder", sections)
    worktree = tooling.for_code(team, state, step, seen=views.paths_of(shown))
    try:
        worked = await team.work(step, "coder", sections, worktree, leaves=Code())
        said = cast("Code", worked.value)
        head, refused, wanted = await _draft(team, state, step, said, worktree)
    except BadReply as error:
        return update | {"findings": [*state.get("findings", []), finding(str(error))], "unusable": True}
    tree = await team.repo.tree(head)
    if tree in state.get("drafts", []):
        update["stuck"] = "the coder goes in circles: this draft is the same as an earlier one"
    report = await team.check(step, state, head, "draft", tooling.seal(state)) if state["check"] else ""
    idle = tree == await team.repo.tree(CommitId(state.get("tests") or team.task.base))
    trouble = tooling.trouble_of(team, state, team.reports[report]) if report else ""
    fine = not idle and not trouble and not wanted  # what was refused was not needed
    return update | {
        "unusable": False,
        "head": head,
        "drafts": [*state.get("drafts", []), tree],
        "draft_report": report,
        "trouble": trouble,
        "wanted": wanted,
        "refused": refused,
        "dispute": said.dispute.strip() if trouble else "",
        "findings": [finding(text, severity="minor" if fine else "blocker") for text in refused]
        + ([finding(_stopped(worked), severity="minor")] if worked.failure and not fine else [])
        + ([finding("the draft changes nothing")] if idle else []),
        "failures": [*state.get("failures", []), *([worked.failure] if worked.failure else [])],
    }


def _stopped(worked: Worked) -> str:
    return f"your last work was stopped ({worked.failure}): {worked.why}"


def finding(why: str, *, file: str = "", severity: str = "blocker", line: int = 0, fix: str = "") -> dict[str, Any]:
    """Return a finding of the team's own, in the reviewer's form."""
    return {"severity": severity, "file": file, "line": line, "why": why, "fix": fix}


async def _draft(
    team: Team, state: State, step: str, said: Code, worktree: Worktree
) -> tuple[CommitId, list[str], list[str]]:
    """Commit what may be changed over the last head, say what was refused, and which files the coder has to see.

    What was done by tools was judged when it was done; whole files in the reply are judged here, and go over it.
    """
    head = CommitId(state.get("head", team.task.base))
    there = set(await team.repo.files(head))
    refused: list[str] = []
    wanted: list[str] = []
    edits = {edit.path: edit for edit in worktree.edits}
    for file in said.files:
        if why := tooling.refusal(file.path, state):
            refused.append(why)
        elif file.path in there and file.path not in worktree.seen:
            refused.append(f"{file.path} was not shown to you whole, so your change to it was not taken; {views.LARGE}")
            wanted.append(file.path)
        else:
            edits[file.path] = Edit(path=file.path, content=None if file.delete else file.content)
    for path in list(edits):
        if say := await _say(team, state, edits[path]):
            refused.append(f"your change to {path} was thrown away: it {say}")
            del edits[path]
    at_s = await team.recorder.now(step)

    async def make() -> Json:
        return await team.repo.commit(
            parent=head,
            edits=list(edits.values()),
            persona="coder",
            message=f"{state['plan']['summary']} (draft {state.get('round', 0) + 1})\n\n{said.note}\n\n"
            f"Tandem-Run: {team.recorder.run_id}",
            at_s=at_s,
        )

    draft = CommitId(str(await team.recorder.derive(step, "commit", make)))
    await team.repo.keep(team.recorder.run_id, step, draft)
    return draft, refused, wanted


async def _say(team: Team, state: State, edit: Edit) -> str:
    """Return how an edit touches what passes; what decides as a whole was refused before it was made."""
    adapter = state["check"].get("adapter")
    if adapter is None:
        return ""
    before = await team.repo.read(CommitId(state.get("tests") or team.task.base), edit.path)
    return has_a_say(edit.path, before, edit.content, adapter, state["check"]["command"])


async def _coder_sections(team: Team, state: State) -> list[Section]:
    head = state.get("head", team.task.base)
    test_files = state.get("test_files", [])
    changed = views.changed_paths(await team.repo.diff(team.task.base, CommitId(head)))
    report = state.get("draft_report") or state.get("red_report", "")
    paths = [*state.get("wanted", []), *state["plan"]["files"], *(p for p in changed if p not in test_files)]
    return [
        views.task(team),
        Section(title="the plan", text=views.plan_text(state), keep=8),
        *await views.named_files(team, head, [p for p in paths if p not in test_files], keep=6),
        *await views.named_files(team, head, test_files, keep=7),
        Section(title="what the test run reported", text=views.report_text(team.reports[report]) if report else ""),
        Section(title="findings to mend", text=views.findings_text(state.get("findings", [])), keep=8),
        *await views.conventions(team),
    ]


async def review(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Have the reviewer look at the draft; with `reflect`, once more at the own review."""
    team, (step, visits) = runtime.context, enter(state, "review")
    own = list(state.get("findings", []))
    if state["unusable"]:
        return {"visits": visits, "approved_by_reviewer": False}
    sections = await _reviewer_sections(team, state)
    worktree = tooling.to_read(team, state["head"])
    said = cast("Review", (await team.work(step, "reviewer", sections, worktree)).value)
    if state["assessment"]["reflect"]:
        first = Section(title="your own first review", text=said.model_dump_json(), keep=8)
        said = cast("Review", (await team.work(step, "reviewer", [*sections, first], worktree)).value)
    findings = own + [found.model_dump() for found in said.findings]
    if state["trouble"]:
        report = views.report_text(team.reports[state["draft_report"]])
        findings.append(finding(f"the tests do not pass: {state['trouble']}\n{report}"))
    grave = any(f["severity"] in ("blocker", "major") for f in findings)
    content = said.verdict == "approve" or not said.findings  # "changes" without a finding gives nobody anything to do
    return {"visits": visits, "findings": findings, "approved_by_reviewer": content and not grave}


async def _reviewer_sections(team: Team, state: State) -> list[Section]:
    diff = await team.repo.diff(team.task.base, CommitId(state["head"]))
    report = state["draft_report"]
    return [
        views.task(team),
        Section(title="the plan", text=views.plan_text(state), keep=8),
        Section(title="the diff", text=diff.decode("utf-8", "replace"), keep=7),
        *await views.conventions(team),
        Section(title="what the test run reported", text=views.report_text(team.reports[report]) if report else ""),
    ]


async def dispute(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Take the coder's dispute to the tester, once, with the plan."""
    team, (step, visits) = runtime.context, enter(state, "dispute")
    update: dict[str, Any] = {"visits": visits, "disputes": state.get("disputes", 0) + 1}
    sections = [
        views.task(team),
        Section(title="the plan", text=views.plan_text(state), keep=9),
        *await views.named_files(team, state["tests"], state["test_files"], keep=8),
        Section(title="the coder disputes a test", text=state["dispute"], keep=9),
        Section(title="How tests are run", text=views.how_tests_run(state), keep=9),
    ]
    said = await planning.tests_of(team, state, step, sections)
    return update | await new_tests(team, state, step, said)


async def sharpen(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Have the tester write tests for what none of them notices, once."""
    team, (step, visits) = runtime.context, enter(state, "sharpen")
    words = (
        f"When the change to {', '.join(state['unnoticed'])} is put back, no test of yours fails. Add tests that do, for "
        "behaviour a scenario asks for; if no scenario needs that change, finish without files and say so in `note`."
    )
    sections = [
        views.task(team),
        Section(title="the plan", text=views.plan_text(state), keep=9),
        *await views.named_files(team, state["head"], state["unnoticed"], keep=7),
        *await views.named_files(team, state["tests"], state["test_files"], keep=8),
        Section(title="what your tests do not notice", text=words, keep=9),
        Section(title="How tests are run", text=views.how_tests_run(state), keep=9),
    ]
    said = await planning.tests_of(team, state, step, sections)
    update: dict[str, Any] = {"visits": visits, "sharpened": 1, "unnoticed": [], "draft_report": ""}
    return update | await new_tests(team, state, step, said)


async def new_tests(team: Team, state: State, step: str, said: Tests) -> dict[str, Any]:
    """Put corrected tests under the draft, if they are red on the base; else leave all as it is."""
    said = await _with_earlier(team, state, said)
    try:
        tried = await planning.write_tests(team, state, step, said, state["base_report"])
    except BadReply as error:
        return {"findings": [*state.get("findings", []), finding(f"the tester stands by the tests: {error}")]}
    if not tried.result.holds:
        return {
            "findings": [*state.get("findings", []), finding(f"corrected tests were not red: {tried.result.reason}")]
        }
    at_s = await team.recorder.now(step)

    async def make() -> Json:
        return await team.repo.replant(
            base=CommitId(state["tests"]),
            head=CommitId(state["head"]),
            onto=tried.commit,
            persona="coder",
            message=f"{state['plan']['summary']} (over corrected tests)\n\nTandem-Run: {team.recorder.run_id}",
            at_s=at_s,
        )

    moved = await team.recorder.derive(step, "commit", make)
    return {
        "tests": tried.commit,
        "test_files": tried.files,
        "red": list(tried.result.failing),
        "red_report": tried.report,
        "head": moved or tried.commit,
        "dispute": "",
    }


async def _with_earlier(team: Team, state: State, said: Tests) -> Tests:
    """Return the tester's files with those of before that were not written anew."""
    if not said.files:
        return said
    anew = {file.path for file in said.files}
    kept: list[TestFile] = []
    for path in state["test_files"]:
        text = None if path in anew else await team.repo.read(CommitId(state["tests"]), path)
        if text is not None:
            kept.append(TestFile(path=path, content=text))
    return said.model_copy(update={"files": [*kept, *said.files]})


async def ask_dispute(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Let the lead decide between the coder and the tester."""
    team, (step, visits) = runtime.context, enter(state, "ask_dispute")
    answer = await team.put(
        step,
        "dispute",
        ("the tests are right", "the coder is right", "stop"),
        details={"dispute": state["dispute"], "tests": state["tests"], "files": list(state["test_files"])},
        dispute=state["dispute"],
    )
    if answer.choice == "stop":
        return {"visits": visits, "outcome": {"state": "rejected", "message": "the lead stopped it at a dispute"}}
    said = f"{answer.text} The lead decided: {answer.choice}.".strip()
    if answer.choice == "the tests are right":
        return {"visits": visits, "dispute": "", "findings": [*state.get("findings", []), finding(said)]}
    sections = [
        views.task(team),
        Section(title="the plan", text=views.plan_text(state), keep=9),
        *await views.named_files(team, state["tests"], state["test_files"], keep=8),
        Section(title="the lead decided for the coder; correct the test", text=f"{state['dispute']}\n{said}", keep=9),
        Section(title="How tests are run", text=views.how_tests_run(state), keep=9),
    ]
    said_tests = await planning.tests_of(team, state, step, sections)
    return {"visits": visits, "dispute": "", **await new_tests(team, state, step, said_tests)}


async def ask_rounds(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Tell the lead that the rounds are spent, and ask whether to go on."""
    team, (step, visits) = runtime.context, enter(state, "ask_rounds")
    why = state.get("stuck") or _last_trouble(team, state)
    answer = await team.put(
        step,
        "rounds",
        ("stop", "more", *((OVERRIDE,) if state.get("head") and state["check"] else ())),
        details={
            "rounds": state.get("round", 0),
            "why": why,
            "findings": cast("Json", state.get("findings", [])[:20]),
            "head": state.get("head", ""),
        },
        by_yes="stop",
        rounds=state.get("round", 0),
        why=why.splitlines()[0] if why else "-",
    )
    if answer.choice == "stop":
        message = f"rounds spent ({state.get('round', 0)}): {why}"
        return {"visits": visits, "outcome": {"state": "rounds spent", "message": message, "verdict": "failed"}}
    if answer.choice == OVERRIDE:
        return {"visits": visits, "override": " ".join(answer.text.split())}
    more = team.settings.rounds[state["assessment"]["difficulty"]]
    remark = [finding(why)] if state.get("stuck") else []
    remark += [finding(f"the lead says: {answer.text}", severity="major")] if answer.text else []
    return {
        "visits": visits,
        "rounds": state.get("round", 0) + more,
        "drafts": [],
        "stuck": "",
        "findings": [*state.get("findings", []), *remark],
    }


def _last_trouble(team: Team, state: State) -> str:
    report = team.reports.get(state.get("draft_report", ""))
    if report is not None and state.get("trouble"):
        thrown = "; ".join(state.get("refused", [])[:3])
        told = f"{views.report_text(report).splitlines()[0]}; {state['trouble']}"
        return f"{thrown}; {told}" if thrown else told
    grave = [f["why"] for f in state.get("findings", []) if f["severity"] in ("blocker", "major")]
    return grave[-1] if grave else "the reviewer did not approve"
