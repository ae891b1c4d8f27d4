"""One run of a check's command: a fresh tree, changed as is wished, in the sandbox, and what its report says."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from tandem.entry import APP_ROOT
from tandem.errors import BadInput, NoSandbox, TandemError
from tandem.faults import failpoint
from tandem.ports import OnProgress
from tandem.spool import Spool
from tandem.types import CheckRequest, TestResult
from worker import artefacts, gittunnel, judge, sandbox
from worker.adapters import ALL, Plan, Selection, plan
from worker.environments import Environments, Toolchain
from worker.judge.changes import Changes
from worker.sandbox.spec import OUT, REPORTERS, TREE, Mount, SandboxSpec
from worker.workspace import Workspace, put, read_bytes, workspace

log = logging.getLogger(__name__)
_REPORTERS = APP_ROOT / "worker" / "reporters"
_OUTPUT_TAIL = 16 << 10  # characters of output in a report


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What one run is over, beside the commit's tree: `files` put in, `removed` taken out; paths from its top."""

    files: Mapping[str, str] = field(default_factory=dict[str, str])
    removed: tuple[str, ...] = ()
    selection: Selection = ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One run of the command: what the judge says of it, and the tests as the framework itself names them.

    Where a limit ended it (`breach`), the tests are those of a whole report: it may have been done, and not have left.
    """

    found: judge.Verdict
    breach: str
    tests: tuple[TestResult, ...]
    exit_code: int | None
    output: str
    duration_s: float


class Trials:
    """Runs commands over trees of commits on this node."""

    def __init__(self, state: Path, environments: Environments) -> None:
        self._state = state
        self._environments = environments

    async def run(
        self,
        rung: sandbox.Rung,
        request: CheckRequest,
        wish: Wish,
        on_progress: OnProgress,
        watched: Changes | None = None,
        spool: Spool | None = None,
    ) -> Ran:
        """Run the command once over a fresh tree, changed as `wish` says; `watched` files may not change meanwhile.

        What it leaves of the files that are wanted goes into the `spool`.

        Raises:
            NoSandbox: The sandbox is gone.
            BadInput: The folder is none.
            NotFound: The commit or the environment is not here.
            ResourceExhausted: The tree is larger than a check takes.
        """
        planned = plan(request.adapter, request.command, wish.selection)
        git_dir = gittunnel.git_dir(self._state, request.repo_id)
        async with workspace(self._state, git_dir, request.commit) as space:
            if space.left_out:
                on_progress("tree", f"left out of the tree: {', '.join(space.left_out[:5])}")
            on_progress("check", " ".join(request.command))
            failpoint("worker.tree")
            folder = _folder(space.tree, request.folder)
            await asyncio.to_thread(put, space.tree, wish.files, wish.removed)
            toolchain = self._environments.toolchain(request.environment, space.tree, folder)
            spec = _spec(request, space, toolchain, planned, folder)
            result = await _confined(rung, spec)
            failpoint("worker.checked")
            written = await asyncio.to_thread(_report, space.out / planned.report) if planned.report else None
            rewritten = await asyncio.to_thread(_rewritten, space.tree, watched) if watched else ""
            if spool is not None:
                await _gathered(space, request, git_dir, spool, on_progress)
        roots = [str(mount.source) for mount in spec.mounts]
        told = judge.judge(request.adapter, result.exit_code, written, folder=folder, roots=roots)
        found = told
        if result.breach:
            reason = judge.breach_reason(result.breach, request.limits)
            found = judge.Verdict(verdict="resource limit", reason=reason, tests=())
        if rewritten:
            found = replace(found, verdict="tampered", reason=f"{rewritten} was changed while the tests ran")
        return Ran(
            found=found,
            breach=result.breach or "",
            tests=as_framework(told.tests, request),
            exit_code=result.exit_code,
            output=_end_of(judge.without_places(result.output, roots)),
            duration_s=result.duration_s,
        )


async def _gathered(
    space: Workspace, request: CheckRequest, git_dir: Path, spool: Spool, on_progress: OnProgress
) -> None:
    """Gather what the run left; where that fails it is said, and the run counts all the same."""
    try:
        await artefacts.gather(space, request, git_dir, spool)
    except (OSError, TandemError) as error:
        log.warning("artefacts were not gathered", extra={"run_id": request.run_id, "why": str(error)})
        on_progress("artefacts", f"what the tests left could not be gathered: {error}")


def as_framework(tests: Sequence[TestResult], request: CheckRequest) -> tuple[TestResult, ...]:
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
