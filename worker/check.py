"""Check: a commit's tree, a command, the sandbox, and the judge's verdict."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from pathlib import Path, PurePosixPath

from tandem import disk
from tandem.entry import APP_ROOT
from tandem.errors import BadInput, NoSandbox
from tandem.faults import failpoint
from tandem.ports import OnProgress
from tandem.types import CheckReport, CheckRequest
from worker import gittunnel, judge, sandbox
from worker.adapters import Plan, plan
from worker.environments import Environments, Toolchain
from worker.sandbox.ladder import UNSANDBOXED
from worker.sandbox.spec import OUT, REPORTERS, TREE, Mount, SandboxSpec
from worker.workspace import Workspace, sweep, workspace

log = logging.getLogger(__name__)
_REPORTERS = APP_ROOT / "worker" / "reporters"
_OUTPUT_TAIL = 16 << 10  # characters of output in a report


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
        planned = plan(request.adapter, request.command)
        git_dir = gittunnel.git_dir(self._state, request.repo_id)
        async with workspace(self._state, git_dir, request.commit) as space:
            if space.left_out:
                on_progress("tree", f"left out of the tree: {', '.join(space.left_out[:5])}")
            on_progress("check", " ".join(request.command))
            failpoint("worker.tree")
            folder = _folder(space.tree, request.folder)
            toolchain = self._environments.toolchain(request.environment, space.tree, folder)
            spec = _spec(request, space, toolchain, planned, folder)
            result = await _run(rung, spec)
            failpoint("worker.checked")
            report = await asyncio.to_thread(_report, space.out / planned.report) if planned.report else None
        roots = [str(mount.source) for mount in spec.mounts]
        if result.breach:
            reason = judge.breach_reason(result.breach, request.limits)
            found = judge.Verdict(verdict="resource limit", reason=reason, tests=())
        else:
            found = judge.judge(request.adapter, result.exit_code, report, folder=folder, roots=roots)
        if found.verdict != "passed":  # a full disk is no fault of what was tested; what the tests filled is free again
            disk.must_have_room("the tests could not be run", self._state)
        log.info("check finished", extra={"run_id": request.run_id, "verdict": found.verdict, "reason": found.reason})
        return CheckReport(
            verdict=found.verdict,
            reason=found.reason,
            exit_code=result.exit_code,
            tests=found.tests,
            output=_end_of(judge.without_places(result.output, roots)),
            duration_s=result.duration_s,
            adapter=request.adapter,
            sandbox=rung.name,
            node=self._node,
        )

    def _choose(self, request: CheckRequest) -> sandbox.Rung:
        if self._rung.name:
            return self._rung
        if request.unsandboxed:
            return UNSANDBOXED
        raise NoSandbox(f"no sandbox works on {self._node}, so no test was run. {self._rung.remedy}")


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


async def _run(rung: sandbox.Rung, spec: SandboxSpec) -> sandbox.SandboxResult:
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
