"""Code, review, dispute: the coder changes, the tests speak, the reviewer says why, until both are content."""

from __future__ import annotations

from typing import Any, cast

from langgraph.runtime import Runtime

from agents.context import Section
from agents.replies import Code, Review, TestFile, Tests
from graphs import planning, views
from graphs.state import State, enter
from graphs.team import Team
from tandem import proof
from tandem.detect import is_documentation
from tandem.errors import BadReply
from tandem.kinds import decides_what_passes
from tandem.types import CommitId, Edit, Json


async def code(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Have the coder change files, commit the draft, and run the tests over it."""
    team, (step, visits) = runtime.context, enter(state, "code")
    update: dict[str, Any] = {"visits": visits, "round": state.get("round", 0) + 1, "dispute": "", "stuck": ""}
    if state["check"] and "base_report" not in state:  # documentation: what passes today must pass afterwards
        update["base_report"] = await team.check(step, state, team.task.base, "base")
        state = cast("State", {**state, **update})
    sections = await _coder_sections(team, state)
    try:
        said = await team.speak(step, "coder", Code, sections)
        head, refused, wanted = await _draft(team, state, step, said, sections)
    except BadReply as error:
        return update | {"findings": [*state.get("findings", []), finding(str(error))], "unusable": True}
    tree = await team.repo.tree(head)
    if tree in state.get("drafts", []):
        update["stuck"] = "the coder goes in circles: this draft is the same as an earlier one"
    report = await team.check(step, state, head, "draft") if state["check"] else ""
    idle = tree == await team.repo.tree(CommitId(state.get("tests") or team.task.base))
    trouble = _trouble(team, state, report)
    fine = not idle and not trouble and not wanted  # what was refused was not needed
    return update | {
        "unusable": False,
        "head": head,
        "drafts": [*state.get("drafts", []), tree],
        "draft_report": report,
        "trouble": trouble,
        "wanted": wanted,
        "dispute": said.dispute.strip() if trouble else "",
        "findings": [finding(text, severity="minor" if fine else "blocker") for text in refused]
        + ([finding("the draft changes nothing")] if idle else []),
    }


def finding(why: str, *, file: str = "", severity: str = "blocker", line: int = 0, fix: str = "") -> dict[str, Any]:
    """Return a finding of the team's own, in the reviewer's form."""
    return {"severity": severity, "file": file, "line": line, "why": why, "fix": fix}


def _trouble(team: Team, state: State, report: str) -> str:
    """Return why the tests do not let the draft pass, judged against the base; empty where they do."""
    if not report:
        return ""
    base, draft = team.reports[state["base_report"]], team.reports[report]
    if state.get("tests"):
        judged = proof.green(base, draft, state["red"], state["test_files"])
        return "" if judged.holds else judged.reason
    broken = proof.regressions(base, draft)
    return f"tests that passed before do not pass: {', '.join(broken[:5])}" if broken else ""


async def _draft(
    team: Team, state: State, step: str, said: Code, sections: list[Section]
) -> tuple[CommitId, list[str], list[str]]:
    """Commit what may be changed over the last head, say what was refused, and which files the coder has to see."""
    tests, docs_only = set(state.get("test_files", [])), state["assessment"]["kind"] == "docs"
    head = CommitId(state.get("head", team.task.base))
    there, seen = set(await team.repo.files(head)), team.seen_whole("coder", sections)
    refused: list[str] = []
    wanted: list[str] = []
    edits: list[Edit] = []
    for file in said.files:
        if file.path in tests or _judges(file.path, state):
            refused.append(f"your change to the test {file.path} was thrown away; dispute it if it is wrong")
        elif docs_only and not is_documentation(file.path):
            refused.append(f"{file.path} is no documentation, and this task is for documentation only")
        elif file.path in there and f"file {file.path}" not in seen:
            refused.append(f"{file.path} was not shown to you whole, so your change to it was not taken; {views.LARGE}")
            wanted.append(file.path)
        else:
            edits.append(Edit(path=file.path, content=None if file.delete else file.content))
    at_s = await team.recorder.now(step)

    async def make() -> Json:
        return await team.repo.commit(
            parent=head,
            edits=edits,
            persona="coder",
            message=f"{state['plan']['summary']} (draft {state.get('round', 0) + 1})\n\n{said.note}\n\n"
            f"Tandem-Run: {team.recorder.run_id}",
            at_s=at_s,
        )

    draft = CommitId(str(await team.recorder.derive(step, "commit", make)))
    await team.repo.keep(team.recorder.run_id, step, draft)
    return draft, refused, wanted


def _judges(path: str, state: State) -> bool:
    adapter = state["check"].get("adapter")
    return adapter is not None and decides_what_passes(path, adapter)


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
    ]


async def review(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Have the reviewer look at the draft; with `reflect`, once more at the own review."""
    team, (step, visits) = runtime.context, enter(state, "review")
    own = list(state.get("findings", []))
    if state["unusable"]:
        return {"visits": visits, "approved_by_reviewer": False}
    sections = await _reviewer_sections(team, state)
    said = await team.speak(step, "reviewer", Review, sections)
    if state["assessment"]["reflect"]:
        first = Section(title="your own first review", text=said.model_dump_json(), keep=8)
        said = await team.speak(step, "reviewer", Review, [*sections, first])
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
    said = await team.speak(step, "tester", Tests, sections)
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
    said_tests = await team.speak(step, "tester", Tests, sections)
    return {"visits": visits, "dispute": "", **await new_tests(team, state, step, said_tests)}


async def ask_rounds(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Tell the lead that the rounds are spent, and ask whether to go on."""
    team, (step, visits) = runtime.context, enter(state, "ask_rounds")
    why = state.get("stuck") or _last_trouble(team, state)
    answer = await team.put(
        step,
        "rounds",
        ("stop", "more"),
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
        return f"{views.report_text(report).splitlines()[0]}; {state['trouble']}"
    grave = [f["why"] for f in state.get("findings", []) if f["severity"] in ("blocker", "major")]
    return grave[-1] if grave else "the reviewer did not approve"
