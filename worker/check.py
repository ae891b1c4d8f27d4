"""Check: a commit's tree, a command, the sandbox, and the judge's verdict.

Where the tester's files are named (a seal), they are first held against the commit, byte for byte; controls are planted
beside them; and, with twins, copies of them run under other names, and then twins. Each run has a tree of its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import SystemRandom

from tandem import disk
from tandem.errors import NoSandbox
from tandem.kinds import is_test_file
from tandem.ports import OnProgress
from tandem.spool import Spool
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
_REPEATS_S, _REPEATS_TIMES = 2.0, 4  # quick tests run up to so many times as often again, for so long
_SUSPECTS_MAX = 5  # tests of a sealed run that may be tried alone
_BOUND_S, _BOUND_TIMES = 20.0, 3.0  # of a run that is expected to fail: enough for a machine that is busy meanwhile
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
    took_s: float  # the main run
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

    async def check(self, request: CheckRequest, on_progress: OnProgress, spool: Spool | None = None) -> CheckReport:
        """Run the command over the tree and return what it showed; the artefacts of its main run go into the `spool`.

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
        report = await self._judged(rung, request, report, on_progress, spool)
        if report.verdict != "passed":  # a full disk is no fault of what was tested; what the tests wrote is gone
            disk.must_have_room("the tests could not be run", self._state)
        log.info("check finished", extra={"run_id": request.run_id, "verdict": report.verdict, "reason": report.reason})
        return report

    async def _judged(
        self,
        rung: sandbox.Rung,
        request: CheckRequest,
        report: CheckReport,
        on_progress: OnProgress,
        spool: Spool | None,
    ) -> CheckReport:
        seal, framework = request.seal, FRAMEWORKS[request.adapter]
        changed = await self._changes(request)
        if changed.trouble:
            return replace(report, verdict="tampered", reason=changed.trouble)
        texts = _inside(changed.texts, request)
        planted = controls.plant(framework, texts, _RANDOM) if seal and seal.controls else None
        ran = await self._trials.run(rung, request, _among(texts, planted, request), on_progress, changed, spool)
        report = _told(report, ran)
        if ran.breach:
            return report
        if ran.tests:
            report = replace(report, missing=sealed.missing(framework, texts, ran.tests))
        if ran.tests and planted:
            report = _controlled(report, planted, ran)
        own = tuple(test for test in ran.tests if test.file in texts or not test.file)
        if seal is None or not seal.twins or framework.control is None or report.verdict == "tampered":
            return report
        if not any(test.outcome == "passed" for test in own):
            return report  # what follows is for tests that pass
        case = _Case(
            rung=rung,
            request=request,
            seal=seal,
            changed=changed,
            texts=texts,
            own=own,
            took_s=ran.duration_s,
            tell=on_progress,
        )
        for step in (self._sealed, self._repeated, self._undone, self._mutated):
            report = await step(case, report)
            if report.verdict not in ("passed", "failed"):
                return report
        return report

    async def _sealed(self, case: _Case, report: CheckReport) -> CheckReport:
        """Return the report with what the sealed runs add: copies under other names, then twins.

        Where the command does not find files under other names, the twins take the places of the tester's own.
        """
        framework, settled = FRAMEWORKS[case.request.adapter], _settled(case)
        copies = sealed.copies(framework, case.texts, _RANDOM, settled)
        report, found = await self._one_sealed(case, report, copies, "the new tests under other names")
        if report.verdict not in ("passed", "failed"):
            return report
        twins = (
            sealed.twins(framework, case.texts, _RANDOM, settled)
            if found
            else sealed.twins_in_place(framework, case.texts, _RANDOM)
        )
        report, _ = await self._one_sealed(case, report, twins, "twins of the new tests, which must fail")
        return report

    async def _one_sealed(
        self, case: _Case, report: CheckReport, run: sealed.Sealed | None, words: str
    ) -> tuple[CheckReport, bool]:
        """Return the report with what one sealed run adds, and whether the command found the run's files."""
        if run is None:
            return report, True
        case.tell("sealed", words)
        is_hidden = bool(run.selection.only)
        planted = controls.plant(FRAMEWORKS[case.request.adapter], case.texts, _RANDOM) if is_hidden else None
        # the report's own runs until here: the copies' time counts, and they may have been slow on purpose
        bound = max(_BOUND_S, _BOUND_TIMES * report.duration_s) if run.twins else None
        ran = await self._again(case, _beside(run, planted, case.request), wall_s=bound)
        report = replace(report, duration_s=report.duration_s + ran.duration_s)
        if ran.breach == "time" and run.twins and not ran.tests:  # a changed expectation may well wait for ever
            return replace(report, cut=True, untwinned=report.untwinned + sealed.unjudged(run).untwinned), True
        if ran.breach and not (ran.breach == "time" and run.twins):
            return replace(report, verdict="resource limit", reason=f"under other names {ran.found.reason}"), True
        held = controls.held(planted, ran.tests) if planted else controls.Held(controls="absent", rest=ran.tests)
        if held.trouble:
            return replace(report, verdict="tampered", reason=held.trouble), True
        if held.controls != "held" and not sealed.told_of(run, held.rest):
            if run.copies:  # the command runs the files it names and no others
                return replace(report, controls="absent"), False
            reason = f"with other expectations in the new tests {ran.found.reason or 'none of them ran'}"
            return replace(report, verdict="tampered", reason=reason), False
        report = replace(report, controls=held.controls)
        found = sealed.judged(run, held.rest, case.own)
        if 0 < len(found.suspects) <= _SUSPECTS_MAX and FRAMEWORKS[case.request.adapter].alone:
            alone = {test.id: await self._by_itself(case, run, test) for test in found.suspects}
            found = sealed.judged(run, [alone.get(test.id, test) for test in held.rest], case.own)
        report = replace(report, twins=report.twins + found.twins, untwinned=report.untwinned + found.untwinned)
        if found.verdict is not None:
            return replace(report, verdict=found.verdict, reason=found.reason), True
        if (worn := sealed.worn(run, held.rest)) and not await self._has_one_cause(case, run, held.rest, worn[0].id):
            reason = (
                f"{worn[0].id} passes once, and no more after all new tests ran: what it tests is right so often alone"
            )
            return replace(report, verdict="flaky", reason=reason), True
        return report, True

    async def _by_itself(self, case: _Case, run: sealed.Sealed, test: TestResult) -> TestResult:
        """Return what a test of a sealed run does in a process of its own, without what others leave behind."""
        case.tell("sealed", "one of them by itself")
        ran = await self._chosen(case, run, (test.id,))
        return next((one for one in ran.tests if one.id == test.id), test)

    async def _has_one_cause(self, case: _Case, run: sealed.Sealed, tests: Sequence[TestResult], worn: str) -> bool:
        """Return whether one other test before it is enough to make `worn` fail: then that one leaves something behind.

        Else it is how often the code was called that makes it fail. Found by halves, a process each, in the order in
        which they ran. One that stands beside `worn` in the same copy may be it: each copy is in an order of its own.
        """
        order = [test.id for test in tests if test.outcome != "skipped"]
        before = order[: order.index(worn)]
        while len(before) > 1:
            case.tell("sealed", f"which of {len(before)} tests leaves something behind")
            for half in (before[: len(before) // 2], before[len(before) // 2 :]):
                ran = await self._chosen(case, run, (*half, worn))
                if not any(one.id == worn and one.outcome == "passed" for one in ran.tests):
                    before = half
                    break
            else:
                return False
        return True

    async def _chosen(self, case: _Case, run: sealed.Sealed, tests: tuple[str, ...]) -> Ran:
        wish = _beside(run, None, case.request)
        chosen = replace(wish.selection, tests=tests)
        return await self._again(case, replace(wish, selection=chosen), wall_s=_bound(case))

    async def _repeated(self, case: _Case, report: CheckReport) -> CheckReport:
        """Return the report after the tester's tests ran again: what is by chance shows.

        As often as is asked for, and more often while that takes little: what is right every other time may be so thrice.
        """
        began = time.monotonic()
        for number in range(1, _REPEATS_TIMES * case.seal.repeats + 1):
            if number > case.seal.repeats and time.monotonic() - began > _REPEATS_S:
                break
            case.tell("repeat", f"the new tests once more ({number})")
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
            wish = replace(_alone(case), files=put_back, removed=() if put_back else (path,))
            ran = await self._again(case, wish, wall_s=_bound(case))  # without it, a test may well wait for ever
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


def _settled(case: _Case) -> dict[str, str]:
    """Return the texts of the suite's other files, by their paths from the folder of the check."""
    top = case.request.folder.strip("/")
    prefix = f"{top}/" if top else ""
    return {
        inner: data.decode("utf-8", "replace")
        for path, data in case.changed.settled.items()
        if path.startswith(prefix) and (inner := path.removeprefix(prefix)) not in case.texts
    }


def _bound(case: _Case) -> float:
    """Return how many seconds a run may take that need not end well: a multiple of the one that did."""
    return max(_BOUND_S, _BOUND_TIMES * case.took_s)


def _alone(case: _Case) -> Wish:
    """Return the wish for the tester's files and no others."""
    return Wish(selection=Selection(only=tuple(case.texts)))


def _fails(ran: Ran, case: _Case) -> bool:
    """Return whether any of the tester's tests that passed does not pass in a run."""
    passed = {test.id for test in ran.tests if test.outcome == "passed" and not ran.breach}
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
