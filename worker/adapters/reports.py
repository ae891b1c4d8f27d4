"""Read what our own reporters write: one JSON object a test, one a line. A report is data from an untrusted process."""

from __future__ import annotations

import json
from typing import Any, cast

from tandem.types import Outcome, TestResult

OUTCOMES: tuple[Outcome, ...] = ("error", "failed", "skipped", "passed")  # the worst first


def lines(report: bytes) -> list[Any]:
    """Return the values in a report of one JSON value a line.

    Raises:
        ValueError: A line is none.
    """
    return [value(line) for line in report.decode("utf-8", "replace").splitlines() if line.strip()]


def value(text: str) -> Any:
    """Return the JSON value in `text`.

    Raises:
        ValueError: It is none, or nested too deeply to be read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def listed(report: bytes) -> tuple[TestResult, ...]:
    """Return the tests of a report of one test a line.

    Raises:
        ValueError: A line is no test.
    """
    return tuple(one(item) for item in lines(report))


def ended(report: bytes) -> tuple[TestResult, ...]:
    """Return the tests of a report that closes with `{"end": COUNT}`: without that line it was broken off.

    Raises:
        ValueError: It was, or a line is no test.
    """
    found = lines(report)
    last: Any = found[-1] if found else None
    if not isinstance(last, dict) or cast("dict[str, Any]", last).get("end") != len(found) - 1:
        raise ValueError("it was broken off before its end")
    return tuple(one(item) for item in found[:-1])


def one(item: Any) -> TestResult:
    """Return one entry as a result.

    Raises:
        ValueError: It has no id, or no known outcome.
    """
    if not isinstance(item, dict):
        raise ValueError("an entry is no object")
    data = cast("dict[str, Any]", item)
    outcome = data.get("outcome")
    if outcome not in OUTCOMES or not isinstance(data.get("id"), str):
        raise ValueError(f"an entry has no id or the outcome {outcome!r}")
    return TestResult(
        id=_plain(data["id"]),
        outcome=outcome,
        file=_plain(data.get("file", "")),
        message=_plain(data.get("message", "")),
        cause=_plain(data.get("cause", ""))[:80],
    )


def _plain(text: object) -> str:
    """Return a text that can be told: half a character, which JSON allows, is none."""
    return str(text).encode("utf-8", "replace").decode()
