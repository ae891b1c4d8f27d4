"""Check: a commit's tree, a command, the sandbox, and the judge's verdict.

Where the tester's files are named (a seal), they are first held against the commit, byte for byte; controls are planted
beside them; and, with twins, they run once more under other names. Each run has a tree of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from random import SystemRandom

from tandem import disk
from tandem.entry import APP_ROOT
from tandem.errors import BadInput, NoSandbox
from tandem.faults import failpoint
from tandem.kinds import is_test_file
from tandem.ports import OnProgress
from tandem.types import JUDGE, CheckReport, CheckRequest, TestResult
from worker import gittunnel, judge, sandbox
from worker.adapters import ALL, FRAMEWORKS, Plan, Selection, plan
from worker.environments import Environments, Toolchain
from worker.judge import controls, sealed
from worker.judge.changes import Changes, changes
from worker.sandbox.ladder import UNSANDBOXED
from worker.sandbox.spec import OUT, REPORTERS, TREE, Mount, SandboxSpec
from worker.workspace import Workspace, put, read_bytes, sweep, workspace

log = logging.getLogger(__name__)
_REPORTERS = APP_ROOT / "worker" / "reporters"
_OUTPUT_TAIL = 16 << 10  # characters of output in a report
_RANDOM = SystemRandom()  # names that no change could know


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What one run is over, beside the commit's tree: `files` put in, `removed` taken out; paths from the folder."""

    files: Mapping[str, str] = field(default_factory=dict[str, str])
    removed: tuple[str, ...] = ()
    selection: Selection = ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ran:
    """One run of the command: what the judge says of it, and the tests as the framework itself names them."""

    found: judge.Verdict
    tests: tuple[TestResult, ...]
    exit_code: int | None
    output: str
    duration_s: float


class Checker:
    """Runs tests on this node."""

    def __init__(self, state: Path, node_name: str, rung: sandbox.Rung, environments: Environments) -> None:
        self._state = state
        self._node = node_name
        self._rung = rung
        self._environments = environments
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
        if (
            report.verdict != "passed"
        ):  # a full disk is no fault of what was tested; what the tests filled is free again
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
        ran = await self._run(rung, request, _among(texts, planted), changed, on_progress)
        report = _told(report, ran)
        if ran.tests and planted:
            held = controls.held(planted, ran.tests)
            tests = tuple(test for test in ran.found.tests if not controls.is_one(planted, test))
            ours_alone = held.controls == "held" and not any(test.outcome in ("failed", "error") for test in tests)
            found = judge.conclude(tests, 0 if ours_alone else ran.exit_code)
            report = replace(report, controls=held.controls, tests=tests, verdict=found.verdict, reason=found.reason)
            report = replace(report, verdict="tampered", reason=held.trouble) if held.trouble else report
        if ran.tests:
            report = replace(report, missing=sealed.missing(framework, texts, ran.tests))
        own = [test for test in ran.tests if test.file in texts or not test.file]
        wanted = seal is not None and seal.twins and report.verdict != "tampered" and framework.control is not None
        return await self._sealed(rung, request, report, texts, own, on_progress) if wanted else report

    async def _sealed(
        self,
        rung: sandbox.Rung,
        request: CheckRequest,
        report: CheckReport,
        texts: Mapping[str, str],
        own: Sequence[TestResult],
        on_progress: OnProgress,
    ) -> CheckReport:
        """Return the report with what the sealed runs add; there are none where the tester's `own` tests do not pass."""
        framework = FRAMEWORKS[request.adapter]
        if not own or any(test.outcome in ("failed", "error") for test in own):
            return report
        for run in sealed.seal(framework, texts, _RANDOM):
            on_progress("twins", "the tests under other names, beside controls and twins that must fail")
            planted = controls.plant(framework, texts, _RANDOM)
            ran = await self._run(rung, request, _beside(run, planted), None, on_progress)
            report = replace(report, duration_s=report.duration_s + ran.duration_s)
            if planted is None or not ran.tests:
                why = ran.found.reason or "no test was told of"
                verdict = "resource limit" if ran.found.verdict == "resource limit" else "not run"
                return replace(report, verdict=verdict, reason=f"under other names the tests gave no report: {why}")
            held = controls.held(planted, ran.tests)
            report = replace(report, controls=held.controls)
            if held.trouble:
                return replace(report, verdict="tampered", reason=held.trouble)
            if held.controls == "absent" and not sealed.told_of(run, held.rest):
                return report  # the command runs the files it names and no others: weaker, and the report says so
            found = sealed.judged(run, held.rest, own)
            report = replace(report, twins=report.twins + found.twins, untwinned=report.untwinned + found.untwinned)
            if found.verdict is not None:
                return replace(report, verdict=found.verdict, reason=found.reason)
        return report

    async def _changes(self, request: CheckRequest) -> Changes:
        return await changes(gittunnel.git_dir(self._state, request.repo_id), request) if request.seal else Changes()

    async def _run(
        self,
        rung: sandbox.Rung,
        request: CheckRequest,
        wish: _Wish,
        watched: Changes | None,
        on_progress: OnProgress,
    ) -> _Ran:
        """Run the command once over a fresh tree, changed as `wish` says."""
        planned = plan(request.adapter, request.command, wish.selection)
        git_dir = gittunnel.git_dir(self._state, request.repo_id)
        async with workspace(self._state, git_dir, request.commit) as space:
            if space.left_out:
                on_progress("tree", f"left out of the tree: {', '.join(space.left_out[:5])}")
            on_progress("check", " ".join(request.command))
            failpoint("worker.tree")
            folder = _folder(space.tree, request.folder)
            await asyncio.to_thread(put, space.tree / folder, wish.files, wish.removed)
            toolchain = self._environments.toolchain(request.environment, space.tree, folder)
            spec = _spec(request, space, toolchain, planned, folder)
            result = await _confined(rung, spec)
            failpoint("worker.checked")
            written = await asyncio.to_thread(_report, space.out / planned.report) if planned.report else None
            rewritten = await asyncio.to_thread(_rewritten, space.tree, watched) if watched else ""
        roots = [str(mount.source) for mount in spec.mounts]
        if result.breach:
            reason = judge.breach_reason(result.breach, request.limits)
            found = judge.Verdict(verdict="resource limit", reason=reason, tests=())
        else:
            found = judge.judge(request.adapter, result.exit_code, written, folder=folder, roots=roots)
        if rewritten:
            found = replace(found, verdict="tampered", reason=f"{rewritten} was changed while the tests ran")
        return _Ran(
            found=found,
            tests=_as_framework(found.tests, request),
            exit_code=result.exit_code,
            output=_end_of(judge.without_places(result.output, roots)),
            duration_s=result.duration_s,
        )

    def _choose(self, request: CheckRequest) -> sandbox.Rung:
        if self._rung.name:
            return self._rung
        if request.unsandboxed:
            return UNSANDBOXED
        raise NoSandbox(f"no sandbox works on {self._node}, so no test was run. {self._rung.remedy}")


def _among(texts: Mapping[str, str], planted: controls.Planted | None) -> _Wish:
    """Return the wish for the tester's files as they are, with controls among them where there are some."""
    if planted is None:
        return _Wish()
    stand_ins = {path: (path, *planted.files) for path in texts}
    return _Wish(files=planted.files, selection=Selection(stand_ins=stand_ins))


def _beside(run: sealed.Sealed, planted: controls.Planted | None) -> _Wish:
    """Return the wish for a sealed run with controls beside."""
    files = dict(planted.files) if planted else dict[str, str]()
    stand_ins = {path: (*names, *files) for path, names in run.selection.stand_ins.items()}
    selection = replace(run.selection, stand_ins=stand_ins, only=(*run.selection.only, *files))
    return _Wish(files={**run.files, **files}, removed=run.removed, selection=selection)


def _told(report: CheckReport, ran: _Ran) -> CheckReport:
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


def _as_framework(tests: Sequence[TestResult], request: CheckRequest) -> tuple[TestResult, ...]:
    """Return results with the paths that the framework itself told, from the folder of the check."""
    top = request.folder.strip("/")
    if not top:
        return tuple(tests)
    return tuple(
        replace(test, id=test.id.removeprefix(f"{top}/"), file=test.file.removeprefix(f"{top}/")) for test in tests
    )


def _rewritten(tree: Path, watched: Changes) -> str:
    """Return the first of the tester's files, or of the suite's settings, that is not on disk as it was written."""
    return next((path for path, text in watched.settled.items() if read_bytes(tree, path) != text), "")


def _spec(request: CheckRequest, space: Workspace, toolchain: Toolchain, planned: Plan, folder: str) -> SandboxSpec:
    return SandboxSpec(
        argv=toolchain.resolve(planned.argv),
        cwd="/".join(part for part in (TREE, folder) if part),
        mounts=(
            Mount(source=space.tree, target=TREE, writable=True),
            Mount(source=space.out, target=OUT, writable=True),
            Mount(source=_REPORTERS, target=REPORTERS),
            *toolchain.mounts,
        ),
        limits=request.limits,
        env={**toolchain.env, **planned.env},
    )


async def _confined(rung: sandbox.Rung, spec: SandboxSpec) -> sandbox.SandboxResult:
    try:
        return await sandbox.run(rung, spec)
    except FileNotFoundError as error:
        raise NoSandbox(f"the sandbox {rung.name!r} is gone ({error.filename}); install it again") from error


def _folder(tree: Path, folder: str) -> str:
    """Return a folder of the tree as a relative path, "" for its top.

    Raises:
        BadInput: There is none, or a link is on the way to it.
    """
    parts = PurePosixPath(folder.strip("/")).parts
    if folder.startswith("/") or ".." in parts:
        raise BadInput(f"the folder {folder!r} leads out of the tree")
    place = tree
    for part in parts:
        place = place / part
        if place.is_symlink() or not place.is_dir():
            raise BadInput(f"the tree has no folder {folder!r}")
    return "/".join(parts)


def _end_of(output: str) -> str:
    """Return the end of what was printed, where a failure is told, and say so where there was more."""
    if len(output) <= _OUTPUT_TAIL:
        return output
    return f"[output cut here; these are its last {_OUTPUT_TAIL} characters]\n{output[-_OUTPUT_TAIL:]}"


def _report(path: Path) -> bytes | None:
    """Return a report's bytes; a link or anything but a file is none. One that is too large is cut, and will not parse."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return file.read(judge.REPORT_BYTES_MAX + 1)
