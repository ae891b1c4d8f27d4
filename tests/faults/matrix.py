"""The matrix of faults: every test of it names its row and counts how often its fault was really reached.

A test that passed although its fault was never reached fails: it showed nothing. At the end the rows are printed as a
table, whichever processes the tests ran in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.faults.rows import ROWS

_ROWS, _COUNT = "fault rows", "faults reached"  # properties of a test, which travel with its reports


@dataclass(slots=True)
class Reached:
    """How often one test's fault was really reached, by what exactly struck."""

    counts: defaultdict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))

    def add(self, what: str, times: int = 1) -> None:
        """Count a fault that was seen to strike: a process that died by it, a connection that was cut, …."""
        self.counts[what] += times

    @property
    def total(self) -> int:
        """Return how often, whatever it was."""
        return sum(self.counts.values())


@dataclass(slots=True)
class _Sum:
    tests: int = 0
    failed: int = 0
    reached: int = 0


_sums: defaultdict[int, _Sum] = defaultdict(_Sum)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test that counts without a row, or names one that is not in the list."""
    for item in items:
        fixtures: list[str] = getattr(item, "fixturenames", [])
        for number in _rows(item):
            if number not in ROWS or "reached" not in fixtures:
                raise pytest.UsageError(f"{item.nodeid}: row {number} is unknown, or `reached` is not counted")
        if "reached" in fixtures and not _rows(item):
            raise pytest.UsageError(f"{item.nodeid} counts faults and names no row")


@pytest.fixture
def reached(request: pytest.FixtureRequest) -> Iterator[Reached]:
    """Give a test its counter; at its end, see that it counted."""
    item, found = request.node, Reached()
    item.user_properties.append((_ROWS, _rows(item)))
    yield found
    item.user_properties.append((_COUNT, found.total))
    assert found.total > 0, "the fault was never reached, so this test showed nothing"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add a test's figures to its rows."""
    about: dict[str, Any] = dict(report.user_properties)
    for number in about.get(_ROWS, ()):
        row = _sums[number]
        row.failed += report.failed
        if report.when == "teardown":
            row.tests += 1
            row.reached += about.get(_COUNT, 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the matrix."""
    if not _sums:
        return
    terminalreporter.section("faults that were really reached")
    for number, row in sorted(_sums.items()):
        verdict = "FAILED" if row.failed else "held" if row.reached else "NOT REACHED"
        about = ROWS[number]
        terminalreporter.line(
            f"{number:>3}  {about.fault:<63} {row.reached:>5} times in {row.tests:>2} tests  {verdict:<11} {about.ends}"
        )


def _rows(item: pytest.Item) -> list[int]:
    return [int(number) for mark in item.iter_markers("row") for number in mark.args]
