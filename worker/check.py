"""Check: a commit's tree, a command, the sandbox, and the judge's verdict."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tandem.entry import APP_ROOT
from tandem.errors import BadInput, NoSandbox
from tandem.ports import OnProgress
from tandem.types import Adapter, CheckReport, CheckRequest
from worker import gittunnel, judge, sandbox
from worker.environments import Environments, Toolchain
from worker.sandbox.ladder import UNSANDBOXED
from worker.sandbox.spec import OUT, REPORTERS, TREE, Mount, SandboxSpec
from worker.workspace import Workspace, workspace

log = logging.getLogger(__name__)
_REPORTERS = APP_ROOT / "worker" / "reporters"
_OUTPUT_TAIL = 16 << 10  # characters of output in a report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What an adapter runs, and where its report will be."""

    argv: tuple[str, ...]
    report: str


class Checker:
    """Runs tests on this node."""

    def __init__(self, state: Path, node_name: str, rung: sandbox.Rung) -> None:
        self._state = state
        self._node = node_name
        self._rung = rung
        self._environments = Environments(state, rung)

    async def check(self, request: CheckRequest, on_progress: OnProgress) -> CheckReport:
        """Run the command over the tree and return what it showed.

        Raises:
            NoSandbox: No sandbox works here, and the request does not allow to go without.
            BadInput: The folder or the command is none.
            NotFound: The commit or the environment is not here.
        """
        rung = self._choose(request)
        if not request.command:
            raise BadInput("the check command is empty; name one with --check")
        git_dir = gittunnel.git_dir(self._state, request.repo_id)
        async with workspace(self._state, git_dir, request.commit) as space:
            if space.left_out:
                on_progress("tree", f"left out of the tree: {', '.join(space.left_out[:5])}")
            on_progress("check", " ".join(request.command))
            toolchain = self._environments.toolchain(request.environment, space.tree)
            plan = _plan(request.adapter, request.command)
            result = await sandbox.run(rung, self._spec(request, space, toolchain, plan))
            report = _report(space.out / plan.report) if plan.report else None
        if result.breach:
            reason = judge.breach_reason(result.breach, request.limits)
            found = judge.Verdict(verdict="resource limit", reason=reason, tests=())
        else:
            found = judge.judge(request.adapter, result.exit_code, report)
        log.info("check finished", extra={"run_id": request.run_id, "verdict": found.verdict, "reason": found.reason})
        return CheckReport(
            verdict=found.verdict,
            reason=found.reason,
            exit_code=result.exit_code,
            tests=found.tests,
            output=result.output[-_OUTPUT_TAIL:],
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

    def _spec(self, request: CheckRequest, space: Workspace, toolchain: Toolchain, plan: _Plan) -> SandboxSpec:
        return SandboxSpec(
            argv=toolchain.resolve(plan.argv),
            cwd=_inside(request.folder),
            mounts=(
                Mount(source=space.tree, target=TREE, writable=True),
                Mount(source=space.out, target=OUT, writable=True),
                Mount(source=_REPORTERS, target=REPORTERS),
                *toolchain.mounts,
            ),
            limits=request.limits,
            env=toolchain.env,
        )


def _inside(folder: str) -> str:
    parts = PurePosixPath(folder).parts
    if folder.startswith("/") or ".." in parts:
        raise BadInput(f"the folder {folder!r} leads out of the tree")
    return "/".join((TREE, *parts))


def _plan(adapter: Adapter, command: tuple[str, ...]) -> _Plan:
    """Return the command with what makes it write a report."""
    match adapter:
        case "pytest":
            flags = (
                "-o",
                "junit_family=xunit1",
                f"--junitxml={OUT}/report.xml",
                "-p",
                "no:cacheprovider",
                "--color=no",
            )
            return _Plan(argv=(*command, *flags), report="report.xml")
        case "unittest":
            at = command.index("unittest") + 1
            rest = command[at:] or ("discover",)
            python = command[:1]
            script = f"{REPORTERS}/unittest_report.py"
            return _Plan(argv=(*python, script, f"{OUT}/report.json", *rest), report="report.json")
        case "node":
            at = command.index("--test") + 1
            flags = (
                f"--test-reporter={REPORTERS}/node_report.mjs",
                f"--test-reporter-destination={OUT}/report.jsonl",
                "--test-reporter=spec",
                "--test-reporter-destination=stdout",
            )
            return _Plan(argv=(*command[:at], *flags, *command[at:]), report="report.jsonl")
        case "plain":
            return _Plan(argv=command, report="")


def _report(path: Path) -> bytes | None:
    """Return a report's bytes; a link or anything but a file is none."""
    if path.is_symlink() or not path.is_file():
        return None
    if path.stat().st_size > judge.REPORT_BYTES_MAX:
        return b""
    return path.read_bytes()
