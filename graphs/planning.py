"""Plan, prepare, specify: what will be done, with what, and tests that fail because it is not there yet."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

from langgraph.runtime import Runtime

from agents import plandoc
from agents.context import Section
from agents.plantext import block, fence
from agents.plantidy import read_answers, tidy
from agents.replies import Plan, TestFile, Tests
from graphs import tooling, views
from graphs.phrases import phrase
from graphs.state import State, enter
from graphs.team import Team
from tandem import proof
from tandem.detect import CheckPlan, adapter_for, detect_check, is_test_file, parse_command
from tandem.errors import BadInput, BadReply
from tandem.reasons import wrong_reasons
from tandem.types import Adapter, CheckReport, CommitId, Edit, Seal

_FOR_THE_LEAD = (
    "The plan itself is what is wanted: the lead reads it as a document, edits it, and decides whether it is carried "
    "out. It is complete with options (what speaks for and against each, one recommended), steps, risks and the way "
    "back, what it takes, scenarios, when it is done, and a checklist of what only the lead can say, each with a "
    "suggestion."
)
SPECIFY_TRIES = 2  # times the tester may try to write tests that fail on the base


async def plan(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Ask the planner for scenarios, files and risks, unless the lead brought a plan."""
    team, (step, visits) = runtime.context, enter(state, "plan")
    if team.task.plan:
        return {"visits": visits, **_given(plandoc.parse(team.task.plan))}
    sections = [
        views.task(team),
        *await views.repository(team, step),
        *await views.conventions(team),
        Section(title="What the plan is for", text=_FOR_THE_LEAD if team.task.plan_only else "", keep=9),
        Section(title="the lead's remarks on the last plan", text=state.get("plan_remarks", ""), keep=8),
        Section(title="the last plan", text=views.plan_text(state) if "plan" in state else "", keep=4),
    ]
    said = (await team.work(step, "planner", sections, tooling.to_read(team, team.task.base))).value
    if team.task.plan_only:
        said = await _with_check(team, tidy(cast("Plan", said)))
    return {"visits": visits, "plan": said.model_dump(by_alias=True)}


def _given(document: plandoc.PlanDocument) -> dict[str, Any]:
    """Return what the plan step leaves where the lead brought the plan."""
    answers = dict(document.answers)
    return {
        "plan": document.plan.model_dump(by_alias=True),
        "plan_answers": answers,
        "plan_remarks": document.notes,
    }


async def _with_check(team: Team, said: Plan) -> Plan:
    """Return the plan with the check command its document names: the lead's, what the files show, the planner's."""
    found = await find_check(team)
    if found is not None and (team.task.check or adapter_for(found.command) == found.adapter):
        return said.model_copy(update={"check": shlex.join(found.command)})
    try:
        parse_command(said.check)
    except BadInput:
        return said.model_copy(update={"check": ""})
    return said


async def ask_plan(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Show the lead the plan, for hard tasks and where the planner has a question."""
    team, (step, visits) = runtime.context, enter(state, "ask_plan")
    answer = await team.put(
        step,
        "plan",
        ("approve", "change", "stop"),
        details={"plan": state["plan"]},
        by_yes="approve",
        text=phrase("plan.checklist", team.task.language) if team.task.plan_only else None,
        question=state["plan"]["question"],
    )
    if answer.choice == "stop":
        return {"visits": visits, "outcome": {"state": "rejected", "message": "the lead rejected the plan"}}
    if answer.choice == "change":
        return {"visits": visits, "plan_remarks": answer.text, "plan_again": True}
    answers, words = read_answers(Plan.model_validate(state["plan"]), answer.text)
    return {"visits": visits, "plan_remarks": words, "plan_answers": answers, "plan_again": False}


async def write_plan(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Write the plan down for the lead, and end there: nothing else is touched."""
    team, (_, visits) = runtime.context, enter(state, "write_plan")
    task, plan = team.task, Plan.model_validate(state["plan"])
    answers = state.get("plan_answers", {})
    text = plandoc.render(
        plan, task=task.text, base=task.base, folder=task.folder, answers=answers, language=task.language
    )
    if words := block(state.get("plan_remarks", "")):
        text += "\n".join(["", "## Notes", "", *fence(words, "text"), ""])
    message = f"{plan.summary} ({len(answers)} of {len(plan.checklist)} questions answered)"
    return {"visits": visits, "document": text, "outcome": {"state": "planned", "message": message}}


async def prepare(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Find out how this repository is tested, and see to what the tests need."""
    team, (step, visits) = runtime.context, enter(state, "prepare")
    if "check" not in state:
        found = await find_check(team)
        if found is None:
            return {"visits": visits, "check": {}, **_without_check(state)}
        check = _check_in(found)
        return {"visits": visits, "check": check, **await _environment(team, step, {**state, "check": check})}
    return {"visits": visits, **await _environment(team, step, state)}


def _check_in(found: CheckPlan) -> dict[str, Any]:
    return {"command": list(found.command), "adapter": found.adapter, "why": found.why}


def _without_check(state: State) -> dict[str, Any]:
    if state["assessment"]["kind"] == "docs":
        return {}
    message = "no test command was found for this repository; name one, as in --check 'make test'"
    return {"outcome": {"state": "failed", "message": message, "class": "BadInput"}}


async def _environment(team: Team, step: str, state: Any) -> dict[str, Any]:
    if state.get("prepare_choice") == "without":
        return {"needs": []}
    allowed = team.settings.prepare_network == "allow" or state.get("prepare_choice") == "allow"
    environment = await team.prepare(step, state, team.task.base, allow_network=allowed)
    if environment.ready:
        return {"environment": environment.key, "needs": []}
    if team.settings.prepare_network == "never":
        return {"needs": []}
    return {"needs": list(environment.files)}


async def find_check(team: Team, new: Mapping[str, str] = MappingProxyType({})) -> CheckPlan | None:
    """Return how to test the repository: the lead's command, else what its files, and `new` ones, show."""
    if team.task.check:
        command = parse_command(team.task.check)
        return CheckPlan(command=command, adapter=adapter_for(command), why="--check")
    files = await team.repo.files(team.task.base)
    texts = {path: await team.repo.read(team.task.base, path) for path in files if views.tells_how_to_test(path)}
    return detect_check(sorted({*files, *new}), {**texts, **new}.get, team.task.folder)


async def ask_prepare(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Ask the lead before anything is installed from a registry."""
    team, (step, visits) = runtime.context, enter(state, "ask_prepare")
    files = ", ".join(state["needs"])
    answer = await team.put(
        step,
        "prepare",
        ("allow", "without", "stop"),
        details={"files": list(state["needs"]), "base": team.task.base},
        by_yes="allow",
        files=files,
    )
    if answer.choice == "stop":
        return {"visits": visits, "outcome": {"state": "rejected", "message": "the lead refused the installation"}}
    return {"visits": visits, "prepare_choice": answer.choice}


@dataclass(frozen=True, slots=True)
class _Attempt:
    commit: CommitId
    files: list[str]
    report: str
    result: proof.RedResult


async def specify(state: State, runtime: Runtime[Team]) -> dict[str, Any]:
    """Have the tester write tests, and see them fail on the base."""
    team, (step, visits) = runtime.context, enter(state, "specify")
    base_report = await team.check(step, state, team.task.base, "base")
    trouble = views.findings_text(state.get("findings", []))  # from an earlier visit, and the lead's words
    for _ in range(SPECIFY_TRIES):
        said = await tests_of(team, state, step, await _tester_sections(team, state, trouble))
        if (check := await _fitting_check(team, state, said)) != state["check"]:
            state = cast("State", {**state, "check": check})
            base_report = await team.check(step, state, team.task.base, "base")
        try:
            tried = await write_tests(team, state, step, said, base_report)
        except BadReply as error:
            trouble = str(error)
            continue
        if tried.result.holds:
            return {
                "visits": visits,
                "tests": tried.commit,
                "head": tried.commit,
                "test_files": tried.files,
                "red": list(tried.result.failing),
                "red_report": tried.report,
                "base_report": base_report,
                "base": team.task.base,
                "check": state["check"],
            }
        trouble = tried.result.reason
    return {"visits": visits, "stuck": f"no test failed on the base for the right reason: {trouble}", "round": 0}


async def tests_of(team: Team, state: State, step: str, sections: Sequence[Section]) -> Tests:
    """Return the tester's files: those written by tools, and over them those in the reply."""
    seen = views.paths_of(team.seen_whole("tester", sections))
    worktree = tooling.for_tests(team, state, seen=seen)
    said = cast("Tests", (await team.work(step, "tester", sections, worktree)).value)
    files = {edit.path: edit.content for edit in worktree.edits if edit.content is not None}
    files |= {file.path: file.content for file in said.files}
    return said.model_copy(update={"files": [TestFile(path=path, content=text) for path, text in files.items()]})


async def _fitting_check(team: Team, state: State, said: Tests) -> dict[str, Any]:
    """Return how to run the first tests a repository ever gets: where they lie decides; else what was found before."""
    adapter = state["check"]["adapter"]
    if adapter == "plain" or any(is_test_file(path, adapter) for path in await team.repo.files(team.task.base)):
        return state["check"]
    found = await find_check(team, {file.path: file.content for file in said.files})
    return _check_in(found) if found and found.adapter == adapter else state["check"]


async def write_tests(team: Team, state: State, step: str, said: Tests, base_report: str) -> _Attempt:
    """Commit the tester's files over the base and run them there.

    Raises:
        BadReply: There are none, or a path is no test's.
    """
    adapter = state["check"]["adapter"]
    wrong = [file.path for file in said.files if not _may_be_written(team, adapter, file)]
    if wrong or not said.files:
        names = ", ".join(repr(path) for path in wrong)
        raise BadReply(f"not paths of test files: {names}" if wrong else f"no test was written. {said.note}".strip())
    at_s = await team.recorder.now(step)

    async def make() -> str:
        return await team.repo.commit(
            parent=team.task.base,
            edits=[Edit(path=file.path, content=file.content) for file in said.files],
            persona="tester",
            message=f"Tests: {state['plan']['summary']}\n\nTandem-Run: {team.recorder.run_id}",
            at_s=at_s,
        )

    commit = CommitId(str(await team.recorder.derive(step, "commit", make)))
    await team.repo.keep(team.recorder.run_id, step, commit)
    files = sorted({file.path for file in said.files})
    seal = Seal(tests=commit, files=tuple(files), controls=True)
    report = await team.check(step, state, commit, f"red.{commit[:8]}", seal)
    result = proof.red(team.reports[base_report], team.reports[report], files)
    if result.holds:
        words = _lost(team.reports[base_report], team.reports[report], files)
        words = words or wrong_reasons(team.reports[report], files, await _known(team, state))
        result = proof.RedResult(holds=False, reason=words) if words else result
    return _Attempt(commit, files, report, result)


def _may_be_written(team: Team, adapter: Adapter, file: TestFile) -> bool:
    inside = not team.task.folder or file.path.startswith(f"{team.task.folder}/")
    return inside and (is_test_file(file.path, adapter) or _package_mark(file))


def _package_mark(file: TestFile) -> bool:
    """Return whether a file only makes its folder a package."""
    return file.path.rsplit("/", 1)[-1] == "__init__.py" and not file.content.strip()


def _lost(base: CheckReport, red: CheckReport, files: Sequence[str]) -> str:
    """Name tests that passed on the base and that the tester's version of their file, which loads, has no more."""
    now, loaded = proof.outcomes(red), {test.file for test in red.tests if test.id != test.file}
    lost = [
        test.id
        for test in base.tests
        if test.outcome == "passed" and test.id not in now and test.file in files and test.file in loaded
    ]
    return f"tests that are there today must stay, and these are gone: {', '.join(lost[:5])}" if lost else ""


async def _known(team: Team, state: State) -> list[str]:
    """Return the paths that are there, and those that the plan will bring."""
    return [*await team.repo.files(team.task.base), *state["plan"]["files"]]


async def _tester_sections(team: Team, state: State, trouble: str) -> Sequence[Section]:
    return [
        views.task(team),
        Section(title="the plan", text=views.plan_text(state), keep=8),
        *await views.named_files(team, team.task.base, state["plan"]["files"]),
        *await views.sample_tests(team, state["check"]["adapter"]),
        *await views.conventions(team),
        Section(title="How tests are run", text=views.how_tests_run(state), keep=9),
        Section(title="what was wrong with your last tests", text=trouble, keep=9),
    ]
