"""Check: a commit's tree, a command, the sandbox, and the judge's verdict.

Where the tester's files are named (a seal), they are first held against the commit, byte for byte; controls are planted
beside them; and, with twins, they run once more under other names. Each run has a tree of its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import SystemRandom

from tandem import disk
from tandem.errors import NoSandbox
from tandem.kinds import is_test_file
from tandem.ports import OnProgress
from tandem.types import JUDGE, CheckReport, CheckRequest, Seal, TestResult
from worker import gittunnel, judge, sandbox
from worker.adapters import FRAMEWORKS, Selection, plan
from worker.environments import Environments
from worker.judge import controls, sealed
from worker.judge.changes import Changes, changes
from worker.judge.mutants import Mutant, mutants
from worker.sandbox.ladder import UNSANDBOXED
from worker.trial import Ran, Trials, Wish
from worker.workspace import sweep

log = logging.getLogger(__name__)
_UNDONE_MAX = 8  # files of a change that are put back, one at a time
_MUTANTS_MAX = 20
_RANDOM = SystemRandom()  # names that no change could know


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A check whose main run the tester's `own` tests passed: what further runs are about."""

    rung: sandbox.Rung
    request: CheckRequest
    seal: Seal
    changed: Changes
    texts: Mapping[str, str]  # the tester's files, by their paths from the folder of the check
    own: tuple[TestResult, ...]
    tell: OnProgress


class Checker:
    """Runs tests on this node."""

    def __init__(self, state: Path, node_name: str, rung: sandbox.Rung, environments: Environments) -> None:
        self._state = state
        self._node = node_name
        self._rung = rung
        self._trials = Trials(state, environments)
        swept = sweep(state / "tmp")
        if swept:
            log.info("leftovers of a killed worker removed", extra={"folders": swept})

    async def check(self, request: CheckRequest, on_progress: OnProgress) -> CheckReport:
        """Run the command over the tree and return what it showed.

        Raises:
            NoSandbox: No sandbox works here, and the request does not allow to go without.
            BadInput: The folder or the command is none.
            NotFound: The commit or the environment is not here.
            ResourceExhausted: The tree is larger than a check takes.
            DiskFull: There is no room for the tree or what the tests write.
        """
        rung = self._choose(request)
        disk.must_have_room("no tests were run", self._state)
        plan(request.adapter, request.command)  # refused before anything is written
        report = CheckReport(
            verdict="not run", adapter=request.adapter, sandbox=rung.name, node=self._node, judge=JUDGE
        )
        report = await self._judged(rung, request, report, on_progress)
        if report.verdict != "passed":  # a full disk is no fault of what was tested; what the tests wrote is gone
            disk.must_have_room("the tests could not be run", self._state)
        log.info("check finished", extra={"run_id": request.run_id, "verdict": report.verdict, "reason": report.reason})
        return report

    async def _judged(
        self, rung: sandbox.Rung, request: CheckRequest, report: CheckReport, on_progress: OnProgress
    ) -> CheckReport:
        seal, framework = request.seal, FRAMEWORKS[request.adapter]
        changed = await self._changes(request)
        if changed.trouble:
            return replace(report, verdict="tampered", reason=changed.trouble)
        texts = _inside(changed.texts, request)
        planted = controls.plant(framework, texts, _RANDOM) if seal and seal.controls else None
        ran = await self._trials.run(rung, request, _among(texts, planted, request), on_progress, changed)
        report = _told(report, ran)
        if ran.tests:
            report = replace(report, missing=sealed.missing(framework, texts, ran.tests))
        if ran.tests and planted:
            report = _controlled(report, planted, ran)
        own = tuple(test for test in ran.tests if test.file in texts or not test.file)
        if seal is None or not seal.twins or framework.control is None or report.verdict == "tampered":
            return report
        if not any(test.outcome == "passed" for test in own):
            return report  # what follows is for tests that pass
        case = _Case(rung=rung, request=request, seal=seal, changed=changed, texts=texts, own=own, tell=on_progress)
        for step in (self._sealed, self._repeated, self._undone, self._mutated):
            report = await step(case, report)
            if report.verdict not in ("passed", "failed"):
                return report
        return report

    async def _sealed(self, case: _Case, report: CheckReport) -> CheckReport:
        """Return the report with what the sealed runs add."""
        framework = FRAMEWORKS[case.request.adapter]
        for run in sealed.seal(framework, case.texts, _RANDOM):
            case.tell("twins", "the tests under other names, beside controls and twins that must fail")
            planted = controls.plant(framework, case.texts, _RANDOM)
            ran = await self._again(case, _beside(run, planted, case.request))
            report = replace(report, duration_s=report.duration_s + ran.duration_s)
            if ran.found.verdict == "resource limit":
                return replace(report, verdict="resource limit", reason=f"under other names {ran.found.reason}")
            if planted is None or not ran.tests:
                return replace(report, controls="absent")
            held = controls.held(planted, ran.tests)
            report = replace(report, controls=held.controls)
            if held.trouble:
                return replace(report, verdict="tampered", reason=held.trouble)
            if held.controls == "absent" and not sealed.told_of(run, held.rest):
                return report  # the command runs the files it names and no others: weaker, and the report says so
            found = sealed.judged(run, held.rest, case.own)
            report = replace(report, twins=report.twins + found.twins, untwinned=report.untwinned + found.untwinned)
            if found.verdict is not None:
                return replace(report, verdict=found.verdict, reason=found.reason)
        return report

    async def _repeated(self, case: _Case, report: CheckReport) -> CheckReport:
        """Return the report after the tester's tests ran as often again as is asked for: what is by chance shows."""
        for number in range(1, case.seal.repeats + 1):
            case.tell("repeat", f"the new tests once more ({number} of {case.seal.repeats})")
            ran = await self._again(case, _alone(case))
            report = replace(report, duration_s=report.duration_s + ran.duration_s)
            if _fails(ran, case):
                return replace(report, verdict="flaky", reason="the new tests passed, and did not when run once more")
        return report

    async def _undone(self, case: _Case, report: CheckReport) -> CheckReport:
        """Return the report with the changed files of code whose undoing the tester's tests do not notice.

        Of a change to one file that is known already: the tests were red without it.
        """
        if len(case.changed.code) < 2:
            return report
        unnoticed: list[str] = []
        for path, (before, _) in list(case.changed.code.items())[:_UNDONE_MAX]:
            case.tell("undo", f"the tests without the change to {path}")
            put_back = {} if before is None else {path: before}
            ran = await self._again(case, replace(_alone(case), files=put_back, removed=() if put_back else (path,)))
            report = replace(report, duration_s=report.duration_s + ran.duration_s)
            unnoticed += [] if _fails(ran, case) else [path]
        return replace(report, unnoticed=tuple(unnoticed))

    async def _mutated(self, case: _Case, report: CheckReport) -> CheckReport:
        """Return the report with how many small faults in the change the tester's tests notice, as time allows."""
        until = time.monotonic() + case.seal.mutation_s
        enough_s = report.duration_s  # of runs larger than this one
        waiting = await asyncio.to_thread(_mutants, case.changed) if case.seal.mutation_s else []
        for mutant in waiting[:_MUTANTS_MAX]:
            left_s = until - time.monotonic()
            if left_s < enough_s:
                break
            case.tell("mutants", mutant.what)
            ran = await self._again(case, replace(_alone(case), files={mutant.path: mutant.text}), wall_s=left_s)
            report = replace(
                report,
                duration_s=report.duration_s + ran.duration_s,
                mutants=report.mutants + 1,
                killed=report.killed + _fails(ran, case),
            )
        return report

    async def _again(self, case: _Case, wish: Wish, wall_s: float | None = None) -> Ran:
        """Run the command once more, within the request's limits or less time."""
        limits = case.request.limits
        request = replace(case.request, limits=replace(limits, wall_s=min(limits.wall_s, wall_s or limits.wall_s)))
        return await self._trials.run(case.rung, request, wish, case.tell)

    async def _changes(self, request: CheckRequest) -> Changes:
        return await changes(gittunnel.git_dir(self._state, request.repo_id), request) if request.seal else Changes()

    def _choose(self, request: CheckRequest) -> sandbox.Rung:
        if self._rung.name:
            return self._rung
        if request.unsandboxed:
            return UNSANDBOXED
        raise NoSandbox(f"no sandbox works on {self._node}, so no test was run. {self._rung.remedy}")


def _among(texts: Mapping[str, str], planted: controls.Planted | None, request: CheckRequest) -> Wish:
    """Return the wish for the tester's files as they are, with controls among them where there are some."""
    if planted is None:
        return Wish()
    stand_ins = {path: (path, *planted.files) for path in texts}
    return Wish(files=_placed(planted.files, request), selection=Selection(stand_ins=stand_ins))


def _beside(run: sealed.Sealed, planted: controls.Planted | None, request: CheckRequest) -> Wish:
    """Return the wish for a sealed run with controls beside."""
    files = dict(planted.files) if planted else dict[str, str]()
    stand_ins = {path: (*names, *files) for path, names in run.selection.stand_ins.items()}
    selection = replace(run.selection, stand_ins=stand_ins, only=(*run.selection.only, *files))
    removed = tuple(_placed(dict.fromkeys(run.removed, ""), request))
    return Wish(files=_placed({**run.files, **files}, request), removed=removed, selection=selection)


def _placed(files: Mapping[str, str], request: CheckRequest) -> dict[str, str]:
    """Return files by their paths from the top of the tree, not from the folder of the check."""
    top = request.folder.strip("/")
    return {f"{top}/{path}" if top else path: text for path, text in files.items()}


def _alone(case: _Case) -> Wish:
    """Return the wish for the tester's files and no others."""
    return Wish(selection=Selection(only=tuple(case.texts)))


def _fails(ran: Ran, case: _Case) -> bool:
    """Return whether any of the tester's tests that passed does not pass in a run."""
    passed = {test.id for test in ran.tests if test.outcome == "passed"}
    return any(test.id not in passed for test in case.own if test.outcome == "passed")


def _mutants(changed: Changes) -> list[Mutant]:
    """Return small faults for every changed file, in no order."""
    found = [
        mutant
        for path, (before, after) in changed.code.items()
        if after is not None
        for mutant in mutants(path, before, after, _RANDOM)
    ]
    _RANDOM.shuffle(found)
    return found


def _controlled(report: CheckReport, planted: controls.Planted, ran: Ran) -> CheckReport:
    """Return the report without the controls that ran among the tests, and with what became of them."""
    held = controls.held(planted, ran.tests)
    tests = tuple(test for test in ran.found.tests if not controls.is_one(planted, test))
    ours_alone = held.controls == "held" and not any(test.outcome in ("failed", "error") for test in tests)
    found = judge.conclude(tests, 0 if ours_alone else ran.exit_code)
    report = replace(report, controls=held.controls, tests=tests, verdict=found.verdict, reason=found.reason)
    return replace(report, verdict="tampered", reason=held.trouble) if held.trouble else report


def _told(report: CheckReport, ran: Ran) -> CheckReport:
    return replace(
        report,
        verdict=ran.found.verdict,
        reason=ran.found.reason,
        exit_code=ran.exit_code,
        tests=ran.found.tests,
        output=ran.output,
        duration_s=ran.duration_s,
    )


def _inside(texts: Mapping[str, str], request: CheckRequest) -> dict[str, str]:
    """Return the tester's files that the framework takes for tests, by their paths from the folder of the check."""
    top = request.folder.strip("/")
    prefix = f"{top}/" if top else ""
    return {
        path.removeprefix(prefix): text
        for path, text in texts.items()
        if path.startswith(prefix) and is_test_file(path, request.adapter)
    }
