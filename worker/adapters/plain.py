"""Any other command: judged by its exit status alone, which is weaker, and the verdict says so."""

from __future__ import annotations

from tandem.types import TestResult
from worker.adapters.base import Framework, Plan, Selection


def plan(command: tuple[str, ...], selection: Selection) -> Plan:
    """Return the command as it is."""
    del selection
    return Plan(argv=command)


def read(report: bytes) -> tuple[TestResult, ...]:
    """Return nothing: it leaves no report."""
    del report
    return ()


PLAIN = Framework(name="plain", plan=plan, read=read)
