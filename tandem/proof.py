"""Judge from reports alone whether a change is proven: red on the base with the tests, green on the head.

Pure, and the only place where the rule lives: the workflow and `tandem verify` both ask here. No model's word comes in.
A report says what each test did; a check whose framework gives no report (`plain`) is judged by its exit status, which
is weaker, and the reason says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from tandem.evidence import digest, note_digest, outcomes, report_note
from tandem.trailers import Proof, Verdict, parse_trailers, read_trailers, sealed, trailers
from tandem.types import CheckReport, CheckVerdict, Controls, Outcome, TestResult

__all__ = [
    "GreenResult",
    "Proof",
    "RedResult",
    "Verdict",
    "digest",
    "green",
    "note_digest",
    "outcomes",
    "parse_trailers",
    "read_trailers",
    "red",
    "regressions",
    "report_note",
    "sealed",
    "trailers",
]

EXIT_STATUS = "exit status"  # stands for the one thing a plain check tells
_UNUSABLE: frozenset[CheckVerdict] = frozenset(("not run", "tampered", "flaky", "resource limit"))
_UNBELIEVED: frozenset[CheckVerdict] = frozenset(("tampered", "flaky"))
_SHOWN = 5  # names in a reason


@dataclass(frozen=True, slots=True, kw_only=True)
class RedResult:
    """Whether the new tests show that something is missing on the base.

    `failing` holds test ids, or a file's path where that file could not even be loaded.
    """

    holds: bool
    reason: str
    failing: tuple[str, ...] = ()
    passing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GreenResult:
    """Whether the head does what the tests ask, and breaks nothing."""

    holds: bool
    reason: str
    regressions: tuple[str, ...] = ()
    known_failing: tuple[str, ...] = ()
    flaky: tuple[str, ...] = ()
    passed: int = 0


def red(base: CheckReport, tests: CheckReport, test_files: Sequence[str]) -> RedResult:
    """Judge the tester's files over the base: at least one test in them must fail there.

    A file that cannot be loaded counts as failing: it asks for a name that the head will supply. A test that failed on
    the base already counts only where no other fails. Tests that use up a limit which the base alone does not, as those
    of a loop without an end, fail as a whole.
    """
    if tests.verdict == "resource limit" and not tests.tests and base.verdict in ("passed", "failed") and test_files:
        return RedResult(holds=True, reason=f"they do not end on the base: {_why(tests)}", failing=tuple(test_files))
    if tests.verdict in _UNUSABLE:
        return RedResult(holds=False, reason=f"the tests gave no usable report on the base: {_why(tests)}")
    if not test_files:
        return RedResult(holds=False, reason="there are no test files")
    if not tests.tests:
        return _plain_red(base, tests)
    before = outcomes(base)
    ours = [(test, file) for test in tests.tests if (file := _file_of(test, test_files))]
    if not ours:
        names = _names(test_files)
        return RedResult(
            holds=False, reason=f"no test of {names} was run; name and place them as the command finds them"
        )
    loaded = {test.file for test, _ in ours if test.id != test.file and test.outcome != "error"}
    loaded -= _cut_short(tests)
    missing = [one for one in tests.missing if any(one.startswith(f"{_inner(file, one)}: ") for file in loaded)]
    if missing:
        reason = f"these stand in the tester's files and were not run: {_names(missing)}; name them as the runner does"
        return RedResult(holds=False, reason=reason)
    failing = {_entry(test, file): before.get(test.id) for test, file in ours if test.outcome in ("failed", "error")}
    fresh = tuple(sorted(entry for entry, known in failing.items() if known not in ("failed", "error")))
    passing = tuple(sorted({test.id for test, _ in ours if test.outcome == "passed" and test.id not in before}))
    if fresh:
        return RedResult(holds=True, reason=f"{len(fresh)} fail on the base", failing=fresh, passing=passing)
    if failing:
        reason = f"{len(failing)} fail on the base, as they did before the tester's change"
        return RedResult(holds=True, reason=reason, failing=tuple(sorted(failing)), passing=passing)
    reason = f"all tests of {_names(test_files)} pass or are skipped on the base; they must fail without the change"
    return RedResult(holds=False, reason=reason, passing=passing)


def green(
    base: CheckReport,
    head: CheckReport,
    red_failing: Sequence[str],
    test_files: Sequence[str],
    reruns: Sequence[CheckReport] = (),
    controls: Controls = "",
) -> GreenResult:
    """Judge the head: what was red passes, and what passed on the base still does. `reruns` are of the same tree.

    `controls` is what became of the judge's own tests beside the red ones: those that held there must hold here.

    What failed on the base is listed, not blamed. A test whose outcome differs between runs is named flaky: it breaks
    nothing if it passed once, and proves nothing if it is new.
    """
    for report, where in ((base, "base"), (head, "head"), *((again, "head") for again in reruns)):
        # a base without any test has nothing to break; every other run must have told something
        if report.verdict in _UNBELIEVED:
            return GreenResult(holds=False, reason=f"{report.verdict}: {_why(report)}")
        if report.verdict in _UNUSABLE and not (report is base and report.verdict == "not run"):
            return GreenResult(holds=False, reason=f"the {where} gave no usable report: {_why(report)}")
    if not red_failing:
        return GreenResult(holds=False, reason="no test was red on the base, so nothing is proven")
    if head.missing:
        return GreenResult(holds=False, reason=f"the tester's tests did not all run: {_names(head.missing)}")
    if controls in ("held", "unbuilt") and head.controls != "held":
        reason = "tampered: the judge's own tests ran on the base, and do not run on the head"
        return GreenResult(holds=False, reason=reason)
    if not head.tests:
        return _plain_green(base, head, red_failing, reruns)
    runs = [outcomes(head), *(outcomes(again) for again in reruns)]
    flaky = _flaky(runs)
    before = outcomes(base)
    broken = tuple(sorted(name for name in _broken(before, runs[0]) if not _passed_once(name, runs)))
    result = GreenResult(
        holds=False,
        reason="",
        regressions=broken,
        known_failing=tuple(sorted(t for t, o in runs[0].items() if _failed(o) and _failed(before.get(t)))),
        flaky=flaky,
        passed=sum(outcome == "passed" for outcome in runs[0].values()),
    )
    reason = _green_trouble(result, base, head, red_failing, test_files, reruns)
    return replace(result, holds=not reason, reason=reason or _green_words(result, red_failing))


def regressions(base: CheckReport, head: CheckReport) -> tuple[str, ...]:
    """Return the tests that passed on the base and do not pass on the head, or fail there for the first time."""
    if not base.tests and not head.tests:
        return (EXIT_STATUS,) if base.verdict == "passed" and head.verdict != "passed" else ()
    return tuple(sorted(_broken(outcomes(base), outcomes(head))))


# --- parts of the above ----------------------------------------------------------------------------------------


def _plain_red(base: CheckReport, tests: CheckReport) -> RedResult:
    if tests.verdict == "passed":
        return RedResult(
            holds=False, reason="the command ends with status 0 on the base with the new tests; it must not"
        )
    if base.verdict != "passed":
        reason = f"the command fails without the new tests too ({_why(base)}), and its exit status is all it tells"
        return RedResult(holds=False, reason=reason)
    reason = f"the command ends with status {tests.exit_code} with the new tests and 0 without (exit status alone)"
    return RedResult(holds=True, reason=reason, failing=(EXIT_STATUS,))


def _plain_green(
    base: CheckReport, head: CheckReport, red_failing: Sequence[str], reruns: Sequence[CheckReport]
) -> GreenResult:
    if list(red_failing) != [EXIT_STATUS]:
        return GreenResult(holds=False, reason="the head's report names no test", regressions=tuple(red_failing))
    verdicts = {head.verdict, *(again.verdict for again in reruns)}
    if verdicts == {"passed"}:
        return GreenResult(holds=True, reason="the command ends with status 0; weaker than a report on each test")
    if "passed" in verdicts:
        return GreenResult(holds=False, reason="the command's exit status differs between runs", flaky=(EXIT_STATUS,))
    broken = (EXIT_STATUS,) if base.verdict == "passed" else ()
    return GreenResult(holds=False, reason=f"the command fails on the head: {_why(head)}", regressions=broken)


def _green_trouble(
    result: GreenResult,
    base: CheckReport,
    head: CheckReport,
    red_failing: Sequence[str],
    test_files: Sequence[str],
    reruns: Sequence[CheckReport],
) -> str:
    """Return why the head is not green, or nothing."""
    for report in (head, *reruns):
        missing = _still_red(report, red_failing, test_files)
        if missing and report is head and not all(name in result.flaky for name in missing):
            return f"new tests do not pass: {_names(missing)}"
        if missing:
            return f"new tests are flaky and prove nothing: {_names(missing)}"
    if result.regressions:
        return f"tests that passed on the base do not pass, or fail for the first time: {_names(result.regressions)}"
    silent = head.verdict != "passed" and not any(_failed(test.outcome) for test in head.tests)
    if silent and not (base.verdict == head.verdict and base.exit_code == head.exit_code):
        return f"no test failed, and yet the check did not pass: {_why(head)}"
    return ""


def _green_words(result: GreenResult, red_failing: Sequence[str]) -> str:
    words = [f"{len(red_failing)} red on the base pass now, {result.passed} pass in all"]
    if result.known_failing:
        words.append(f"failing on the base already: {_names(result.known_failing)}")
    if result.flaky:
        words.append(f"flaky: {_names(result.flaky)}")
    return "; ".join(words)


def _still_red(report: CheckReport, red_failing: Sequence[str], test_files: Sequence[str]) -> list[str]:
    now = outcomes(report)
    missing: list[str] = []
    for name in red_failing:
        if name in test_files:  # the whole file could not be loaded: now it must, and all in it must pass
            inside = [test for test in report.tests if _file_of(test, test_files) == name]
            if not inside and _is_no_test(name, red_failing, report, test_files):
                continue
            if not inside or any(test.outcome != "passed" for test in inside):
                missing.append(name)
        elif now.get(name) != "passed":
            missing.append(name)
    return missing


def _broken(before: Mapping[str, Outcome], after: Mapping[str, Outcome]) -> set[str]:
    lost = {name for name, outcome in before.items() if outcome == "passed" and after.get(name) != "passed"}
    return lost | {name for name, outcome in after.items() if _failed(outcome) and not _failed(before.get(name))}


def _flaky(runs: Sequence[Mapping[str, Outcome]]) -> tuple[str, ...]:
    names = {name for run in runs for name in run}
    return tuple(sorted(name for name in names if len({run.get(name) for run in runs}) > 1))


def _passed_once(name: str, runs: Sequence[Mapping[str, Outcome]]) -> bool:
    return any(run.get(name) == "passed" for run in runs)


def _failed(outcome: Outcome | None) -> bool:
    return outcome in ("failed", "error")


def _file_of(test: TestResult, test_files: Sequence[str]) -> str:
    """Return which of the tester's files a result comes from, or nothing."""
    for file in test_files:
        if test.file == file or test.id == file or test.id.startswith(f"{file}::"):
            return file
    if test.file:
        return ""
    named = test.id.removeprefix("unittest.loader._FailedTest.")
    for file in test_files:  # unittest names modules: from the top or from the folder discovery began in
        parts = file.removesuffix(".py").split("/")
        modules = (".".join(parts[start:]) for start in range(len(parts)))
        if any(named == module or named.startswith(f"{module}.") or f"({module}." in named for module in modules):
            return file
    return ""


def _cut_short(report: CheckReport) -> set[str]:
    """Return the files of Go's packages in which a test's panic ended all that were to come: not run is not left out."""
    if report.adapter != "go":
        return set()
    folders = {PurePosixPath(test.file).parent for test in report.tests if test.cause == "panic"}
    return {test.file for test in report.tests if PurePosixPath(test.file).parent in folders}


def _is_no_test(name: str, red_failing: Sequence[str], report: CheckReport, test_files: Sequence[str]) -> bool:
    """Return whether a file only helps the tests it is built with: one of Go's without a test, where others have some.

    Its package could not be built on the base, so each of its files was red. A test that stands in a file and does not run
    is told of by `missing`.
    """
    if report.adapter != "go":
        return False
    beside = [
        one for one in red_failing if one in test_files and PurePosixPath(one).parent == PurePosixPath(name).parent
    ]
    return any(_file_of(test, test_files) in beside for test in report.tests)


def _entry(test: TestResult, file: str) -> str:
    """Return the test's id, or the file where the result stands for the file as a whole."""
    leaf = test.id.rsplit("::", 1)[-1].rsplit(" > ", 1)[-1]
    loading = "_FailedTest" in test.id or test.id.startswith(("setUpClass (", "setUpModule ("))
    return file if loading or leaf == file or leaf.endswith(f"/{file}") else test.id


def _inner(file: str, told: str) -> str:
    """Return a file's path as `told` has it, which may count from a folder of the tree."""
    path = told.partition(": ")[0]
    return path if file == path or file.endswith(f"/{path}") else file


def _why(report: CheckReport) -> str:
    return report.reason or f"{report.verdict}, exit status {report.exit_code}"


def _names(names: Iterable[str]) -> str:
    known = list(names)
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return ", ".join(known[:_SHOWN]) + more
