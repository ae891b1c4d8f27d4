"""Controls: one test that must pass and one that must fail, planted beside the tester's under random names.

Code under test that makes every test pass, or a report that says they did, makes the second one pass as well. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from tandem.types import Controls, TestResult
from worker.adapters import Framework
from worker.twins.edits import word


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """The controls of one run: `files` to write, the words by which their results are known."""

    files: Mapping[str, str]
    passing: str
    failing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What became of the controls. With a `trouble` the run cannot be believed."""

    controls: Controls
    rest: tuple[TestResult, ...]
    trouble: str = ""


def plant(framework: Framework, texts: Mapping[str, str], random: Random) -> Planted | None:
    """Return controls to stand beside the first of the tester's files, or None where the framework takes none."""
    if framework.control is None or framework.alias is None or not texts:
        return None
    path, text = next(iter(texts.items()))
    passing, failing = word(random), word(random)
    files = {
        framework.alias(path, name): framework.control(path, text, name, holds)
        for name, holds in ((passing, True), (failing, False))
    }
    return Planted(files=files, passing=passing, failing=failing)


def held(planted: Planted, tests: Sequence[TestResult]) -> Held:
    """Return what a report says of the controls, and the tests that are none."""
    passing = [test.outcome for test in tests if _is(test, planted.passing)]
    failing = [test.outcome for test in tests if _is(test, planted.failing)]
    rest = tuple(test for test in tests if not is_one(planted, test))
    if not (passing and failing) and any(test.cause == "panic" for test in rest):
        return Held(controls="unbuilt", rest=rest)  # in Go a panic ends the tests that were to come, ours among them
    if not passing and not failing:
        ran = any(test.outcome in ("passed", "failed") for test in rest)
        return Held(controls="absent" if ran else "unbuilt", rest=rest)
    if "passed" not in passing and not any(test.outcome == "passed" for test in rest):
        return Held(controls="unbuilt", rest=rest)  # what could not be built took the controls along
    if not failing or set(failing) & {"passed", "skipped"}:
        became = "passed" if "passed" in failing else "skipped" if failing else "never ran"
        return Held(
            controls="held",
            rest=rest,
            trouble=f"a test of the judge's own that must fail {became}: what runs the tests, or its report, was changed",
        )
    if set(passing) != {"passed"}:
        became = next((outcome for outcome in passing if outcome != "passed"), "never ran")
        return Held(
            controls="held",
            rest=rest,
            trouble=f"a test of the judge's own that must pass {became}: what runs the tests, or its report, was changed",
        )
    return Held(controls="held", rest=rest)


def is_one(planted: Planted, test: TestResult) -> bool:
    """Return whether a result is that of a control."""
    return _is(test, planted.passing) or _is(test, planted.failing)


def _is(test: TestResult, name: str) -> bool:
    return name in test.file or name in test.id.casefold()
