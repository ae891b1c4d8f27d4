"""The worktree a persona gets: over which commit, what it may change there, and how it runs the tests.

Planner and reviewer only look. The tester writes tests and nothing else; the coder everything but tests and what decides
whether they pass; for a change of documentation, documentation alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agents.tools.worktree import Tested, Worktree
from graphs import views
from graphs.state import State
from graphs.team import Team
from tandem import proof
from tandem.deciding import decides_what_passes
from tandem.detect import is_documentation, is_test_file
from tandem.types import CommitId, Edit, Seal


def to_read(team: Team, commit: str) -> Worktree:
    """Return a worktree in which nothing may be changed."""
    return Worktree(
        team.repo,
        CommitId(commit),
        may_write=lambda path: f"{path} is not yours to change; only look",
        folder=team.task.folder,
    )


def for_tests(team: Team, state: State, *, seen: Iterable[str] = ()) -> Worktree:
    """Return the tester's: over the base, tests alone."""
    adapter = state["check"]["adapter"]

    def may_write(path: str) -> str:
        if is_test_file(path, adapter) or path.rsplit("/", 1)[-1] == "__init__.py":
            return ""
        return f"{path} is not the path of a test file; you write tests and nothing else"

    return Worktree(team.repo, team.task.base, may_write=may_write, seen=tuple(seen), folder=team.task.folder)


def for_code(team: Team, state: State, step: str, *, seen: Iterable[str] = ()) -> Worktree:
    """Return the coder's: over the last draft, with the tests at hand where there are any."""
    head = CommitId(state.get("head", team.task.base))

    async def run_tests(edits: Sequence[Edit]) -> Tested:
        return await _try(team, state, step, head, edits)

    return Worktree(
        team.repo,
        head,
        may_write=lambda path: refusal(path, state),
        run_tests=run_tests if state["check"] else None,
        seen=tuple(seen),
        folder=team.task.folder,
    )


def refusal(path: str, state: State) -> str:
    """Return why the coder may not change `path`, or nothing."""
    adapter = state["check"].get("adapter")
    judges = adapter is not None and decides_what_passes(path, adapter, state["check"].get("command", ()))
    if path in state.get("test_files", []) or judges:
        return f"your change to {path} was thrown away, for it decides what passes; dispute a test that is wrong"
    if state["assessment"]["kind"] == "docs" and not is_documentation(path):
        return f"{path} is no documentation, and this task is for documentation only"
    return ""


def seal(state: State, *, twins: bool = False) -> Seal | None:
    """Return what a draft is held against: the tester's files, where there are any."""
    if not state.get("tests"):
        return None
    return Seal(tests=CommitId(state["tests"]), files=tuple(state["test_files"]), twins=twins)


async def _try(team: Team, state: State, step: str, head: CommitId, edits: Sequence[Edit]) -> Tested:
    """Run the tests over edits that are not a draft yet."""
    commit = await team.repo.commit(
        parent=head,
        edits=edits,
        persona="coder",
        message=f"{state['plan']['summary']} (being tried)\n\nTandem-Run: {team.recorder.run_id}",
        at_s=await team.recorder.now(step),
    )
    await team.repo.keep(team.recorder.run_id, f"{step}.try", commit)
    report = team.reports[await team.check(step, state, commit, "try", seal(state))]
    trouble = trouble_of(team, state, report)
    words = f"Not yet: {trouble}" if trouble else "Everything that must pass does."
    return Tested(text=f"{words}\n{views.report_text(report)}", seconds=report.duration_s)


def trouble_of(team: Team, state: State, draft: proof.CheckReport) -> str:
    """Return why the tests do not let a draft pass, judged against the base; empty where they do."""
    base = team.reports[state["base_report"]]
    if state.get("tests"):
        judged = proof.green(base, draft, state["red"], state["test_files"])
        return "" if judged.holds else judged.reason
    broken = proof.regressions(base, draft)
    return f"tests that passed before do not pass: {', '.join(broken[:5])}" if broken else ""
