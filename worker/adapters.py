"""How each kind of test command is made to write a report: what to add to it, and where the report will be.

Pure. What a report says is the judge's business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tandem.errors import BadInput
from tandem.types import Adapter
from worker.sandbox.spec import OUT, REPORTERS

_PYTHON = re.compile(r"python(3(\.\d+)?)?")
_NODE_FLAGS = (
    f"--test-reporter={REPORTERS}/node_report.mjs",
    f"--test-reporter-destination={OUT}/report.jsonl",
    "--test-reporter=spec",
    "--test-reporter-destination=stdout",
)
_PYTEST_FLAGS = (
    *("-o", "junit_family=xunit1", f"--junitxml={OUT}/report.xml", "-p", "no:cacheprovider", "--color=no"),
    "--continue-on-collection-errors",  # one file that does not load must not hide what the others do
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is run, with which settings beside the environment's, and the report's file name, "" for none."""

    argv: tuple[str, ...]
    report: str = ""
    env: Mapping[str, str] = field(default_factory=dict[str, str])


def plan(adapter: Adapter, command: tuple[str, ...]) -> Plan:
    """Return `command` with what makes it write a report.

    Raises:
        BadInput: It is empty, or not a command of that kind.
    """
    if not command or not command[0]:
        raise BadInput("the check command is empty; name one with --check")
    if any("\0" in part for part in command):
        raise BadInput("the check command has a zero byte in it; name another with --check")
    match adapter:
        case "pytest":
            return _pytest(command)
        case "unittest":
            return _unittest(command)
        case "node":
            return _node(command)
        case "plain":
            return Plan(argv=command)


def _pytest(command: tuple[str, ...]) -> Plan:
    """Return pytest as a module: only so the working folder is on its path, and no script's first line matters."""
    at = next((i for i, part in enumerate(command) if PurePosixPath(part).name in ("pytest", "py.test")), -1)
    if at < 0:
        raise _misfit(command, "pytest", "pytest tests")
    before = command[:at]
    python = before if before[-1:] == ("-m",) else ("python", "-m")  # also for `uv run pytest` and its kind
    return Plan(argv=(*python, "pytest", *command[at + 1 :], *_PYTEST_FLAGS), report="report.xml")


def _unittest(command: tuple[str, ...]) -> Plan:
    at = next((i for i in range(1, len(command) - 1) if command[i : i + 2] == ("-m", "unittest")), -1)
    if at < 0:
        raise _misfit(command, "unittest", "python -m unittest discover -s tests")
    script = (f"{REPORTERS}/unittest_report.py", f"{OUT}/report.json")
    return Plan(argv=(*command[:at], *script, *command[at + 2 :]), report="report.json")


def _node(command: tuple[str, ...]) -> Plan:
    if "--test" in command:
        at = command.index("--test") + 1
        return Plan(argv=(*command[:at], *_NODE_FLAGS, *command[at:]), report="report.jsonl")
    if PurePosixPath(command[0]).name not in ("npm", "node", "yarn", "pnpm"):
        raise _misfit(command, "node", "node --test")
    # A script between us and Node; whatever Node runs tests in it takes its reporters from here.
    return Plan(argv=command, report="report.jsonl", env={"NODE_OPTIONS": " ".join(_NODE_FLAGS)})


def _misfit(command: tuple[str, ...], kind: str, example: str) -> BadInput:
    return BadInput(f"{' '.join(command)!r} does not run {kind}; name a command like {example!r} with --check")


def is_python(program: str) -> bool:
    """Return whether a command's first word asks for the environment's Python."""
    return bool(_PYTHON.fullmatch(program))
