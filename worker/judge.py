"""Read what a test run left behind, and say what it came to: exit status and per-test report, nothing else.

Never imports or runs anything of what it judges. A report is data from an untrusted process: bounded, without entities,
and believed only together with the exit status.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast
from xml.etree import ElementTree

from tandem.types import Adapter, CheckVerdict, Limits, Outcome, TestResult

REPORT_BYTES_MAX = 32 << 20
_MESSAGE = 2000
_WORST: tuple[Outcome, ...] = ("error", "failed", "skipped", "passed")
# Where things stand inside the sandbox; the same on every machine, and of no use to a reader.
_INSIDE = ("/tree", "/out", "/env", "/reporters")
_PLACE = re.compile(rf"(?:file://|(?<![\w./-]))(?:\0\d+\0|{'|'.join(map(re.escape, _INSIDE))})/")
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,16}\b")
_MARKS = (("failure", "failed"), ("error", "error"), ("skipped", "skipped"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a run came to. `reason` is fit for a person; empty where the verdict says all."""

    verdict: CheckVerdict
    reason: str
    tests: tuple[TestResult, ...]


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
        return Verdict(verdict="not run", reason=f"it left no report and ended with status {exit_code}", tests=())
    try:
        tests = read(adapter, report)
    except ValueError as error:
        return Verdict(verdict="not run", reason=f"its report cannot be read: {error}", tests=())
    return _conclude(_once(_seen_from_outside(test, folder.strip("/"), roots) for test in tests), exit_code)


def _seen_from_outside(test: TestResult, folder: str, roots: Sequence[str]) -> TestResult:
    """Return a result whose file counts from the tree's top, and whose texts are the same on every run."""
    name, file = _ADDRESS.sub("0x", without_places(test.id, roots)), without_places(test.file, roots)
    if folder and file:
        name = f"{folder}/{name}" if name.startswith(file) else name
        file = f"{folder}/{file}"
    return replace(test, id=name, file=file, message=without_places(test.message.strip(), roots)[-_MESSAGE:])


def _once(tests: Iterable[TestResult]) -> tuple[TestResult, ...]:
    """Return each test once, in the report's order; of one that is there twice, the worse result."""
    found: dict[str, TestResult] = {}
    for test in tests:
        known = found.get(test.id)
        if known is None or _WORST.index(test.outcome) < _WORST.index(known.outcome):
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


def _conclude(tests: tuple[TestResult, ...], exit_code: int | None) -> Verdict:
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
    match adapter:
        case "pytest":
            return _junit(report)
        case "unittest":
            return _listed(_json(report.decode("utf-8", "replace")))
        case _:
            return _listed([_json(line) for line in report.decode("utf-8", "replace").splitlines() if line.strip()])


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _listed(value: Any) -> tuple[TestResult, ...]:
    if not isinstance(value, list):
        raise ValueError("it is no list")
    return tuple(_one(item) for item in cast("list[Any]", value))


def _one(item: Any) -> TestResult:
    if not isinstance(item, dict):
        raise ValueError("an entry is no object")
    data = cast("dict[str, Any]", item)
    outcome = data.get("outcome")
    if outcome not in _WORST or not isinstance(data.get("id"), str):
        raise ValueError(f"an entry has no id or the outcome {outcome!r}")
    return TestResult(
        id=data["id"], outcome=outcome, file=str(data.get("file", "")), message=str(data.get("message", ""))
    )


def _junit(report: bytes) -> tuple[TestResult, ...]:
    """Return the tests of pytest's XML. Read as text: the declared encoding has no say, or it could hide a DOCTYPE."""
    text = report.decode("utf-8")  # a UnicodeDecodeError is a ValueError
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("it defines entities")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - no entities, bounded
    except ElementTree.ParseError as error:
        raise ValueError(f"it is not XML: {error}") from None
    return tuple(_case(case) for case in root.iter("testcase"))


def _case(case: ElementTree.Element) -> TestResult:
    """Return one case of pytest's report; a file that could not be collected is named by its path."""
    outcome: Outcome = "passed"
    message = ""
    for tag, meaning in _MARKS:
        mark = case.find(tag)
        if mark is not None:
            outcome = cast("Outcome", meaning)
            message = f"{mark.get('message', '')}\n{mark.text or ''}"
            break
    name, classname, file = case.get("name", ""), case.get("classname", ""), case.get("file", "")
    if not classname:  # the whole file failed to load
        path = file or name.replace(".", "/") + ".py"
        return TestResult(id=path, outcome=outcome, file=path, message=message)
    module = file.removesuffix(".py").replace("/", ".")
    group = classname.removeprefix(module).strip(".").replace(".", "::")
    return TestResult(
        id="::".join(part for part in (file or classname, group if file else "", name) if part),
        outcome=outcome,
        file=file,
        message=message,
    )


def breach_reason(breach: str, limits: Limits) -> str:
    """Return which limit a run was killed for, and the setting that raises it."""
    reasons = {
        "time": f"it ran longer than {limits.wall_s:g} s (check.wall_s)",
        "memory": f"it used more than {limits.memory_bytes / (1 << 30):.1f} GiB (check.memory_gib)",
        "processes": f"it started more than {limits.processes} processes (check.processes)",
        "output": f"it printed more than {limits.output_bytes >> 20} MiB (check.output_mib)",
    }
    return reasons[breach]
