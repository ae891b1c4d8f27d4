"""Read what a test run left behind, and say what it came to: exit status and per-test report, nothing else.

Never imports or runs anything of what it judges. A report is data from an untrusted process: bounded, and believed only
together with the exit status and the judge's own controls.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tandem.types import Adapter, CheckVerdict, Limits, TestResult
from worker.adapters import FRAMEWORKS
from worker.adapters.reports import OUTCOMES

REPORT_BYTES_MAX = 32 << 20
_MESSAGE = 2000
# Where things stand inside the sandbox; the same on every machine, and of no use to a reader.
_INSIDE = ("/tree", "/out", "/env", "/reporters")
_PLACE = re.compile(rf"(?:file://|(?<![\w./-]))(?:\0\d+\0|{'|'.join(map(re.escape, _INSIDE))})/")
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,16}\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a run came to. `reason` is fit for a person; empty where the verdict says all.

    `told` is whether there is a whole report, which may name no test.
    """

    verdict: CheckVerdict
    reason: str
    tests: tuple[TestResult, ...]
    told: bool = True


def judge(
    adapter: Adapter, exit_code: int | None, report: bytes | None, *, folder: str = "", roots: Sequence[str] = ()
) -> Verdict:
    """Return the verdict on a command that ended by itself.

    It passed only if its status is 0, its report is there and whole, at least one test ran, and none failed. `folder`
    is where in the tree it ran, "" for the top; `roots` are real paths to be struck out, where a rung has no mounts.
    """
    if adapter == "plain":
        verdict: CheckVerdict = "passed" if exit_code == 0 else "failed"
        reason = "judged by its exit status alone" + ("" if exit_code == 0 else f", which is {exit_code}")
        return Verdict(verdict=verdict, reason=reason, tests=())
    if report is None:
        reason = f"it left no report and ended with status {exit_code}"
        return Verdict(verdict="not run", reason=reason, tests=(), told=False)
    try:
        tests = read(adapter, report)
    except ValueError as error:
        return Verdict(verdict="not run", reason=f"its report cannot be read: {error}", tests=(), told=False)
    return conclude(_once(_seen_from_outside(test, folder.strip("/"), roots) for test in tests), exit_code)


def _seen_from_outside(test: TestResult, folder: str, roots: Sequence[str]) -> TestResult:
    """Return a result whose file counts from the tree's top, and whose texts are the same on every run."""
    name, file = steady(test.id, roots), without_places(test.file, roots)
    if folder and file:
        name = f"{folder}/{name}" if name.startswith(file) else name
        file = f"{folder}/{file}"
    return replace(test, id=name, file=file, message=without_places(test.message.strip(), roots)[-_MESSAGE:])


def steady(name: str, roots: Sequence[str] = ()) -> str:
    """Return a test's name without what differs from run to run: addresses, and the folders the run stood in."""
    return _ADDRESS.sub("0x", without_places(name, roots))


def _once(tests: Iterable[TestResult]) -> tuple[TestResult, ...]:
    """Return each test once, in the report's order; of one that is there twice, the worse result."""
    found: dict[str, TestResult] = {}
    for test in tests:
        known = found.get(test.id)
        if known is None or OUTCOMES.index(test.outcome) < OUTCOMES.index(known.outcome):
            found[test.id] = test
    return tuple(found.values())


def without_places(text: str, roots: Sequence[str] = ()) -> str:
    """Return `text` without the folders a run happened to stand in."""
    longest = sorted(filter(None, roots), key=len, reverse=True)
    for number, root in enumerate(longest):  # a pattern with the roots in it would be compiled, and kept, for every run
        text = text.replace(f"{root}/", f"\0{number}\0/")
    text = _PLACE.sub("", text)
    for number, root in enumerate(longest):
        text = text.replace(f"\0{number}\0/", f"{root}/")
    return text


def conclude(tests: tuple[TestResult, ...], exit_code: int | None) -> Verdict:
    """Return the verdict on the tests of a readable report and the status it came with."""
    failed = [test for test in tests if test.outcome in ("failed", "error")]
    ran = [test for test in tests if test.outcome != "skipped"]
    if failed:
        verdict: CheckVerdict = "failed"
        reason = "its report names failures and its status is 0" if exit_code == 0 else ""
    elif not ran:
        verdict, reason = "not run", "no test ran" if not tests else "every test was skipped"
    elif exit_code != 0:
        verdict, reason = "failed", f"no test failed, and yet it ended with status {exit_code}"
    else:
        verdict, reason = "passed", ""
    return Verdict(verdict=verdict, reason=reason, tests=tests)


def read(adapter: Adapter, report: bytes) -> tuple[TestResult, ...]:
    """Return the tests a report names.

    Raises:
        ValueError: It is too large, or not of its kind.
    """
    if len(report) > REPORT_BYTES_MAX:
        raise ValueError(f"it has {len(report)} bytes and may have {REPORT_BYTES_MAX}")
    return FRAMEWORKS[adapter].read(report)


def breach_reason(breach: str, limits: Limits) -> str:
    """Return which limit a run was killed for, and the setting that raises it."""
    reasons = {
        "time": f"it ran longer than {limits.wall_s:g} s (check.wall_s)",
        "memory": f"it used more than {limits.memory_bytes / (1 << 30):.1f} GiB (check.memory_gib)",
        "processes": f"it started more than {limits.processes} processes (check.processes)",
        "output": f"it printed more than {limits.output_bytes >> 20} MiB (check.output_mib)",
    }
    return reasons[breach]
