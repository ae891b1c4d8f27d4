"""How each kind of test command is made to tell what its tests did, and what the judge plants among them.

Pure. What a report amounts to is the judge's business.
"""

from __future__ import annotations

from tandem.errors import BadInput
from tandem.types import Adapter
from worker.adapters.base import ALL, Framework, Plan, Selection, Twin
from worker.adapters.cargo import CARGO
from worker.adapters.go import GO
from worker.adapters.jest import JEST
from worker.adapters.node import NODE
from worker.adapters.plain import PLAIN
from worker.adapters.pytest import PYTEST
from worker.adapters.unittest import UNITTEST
from worker.adapters.vitest import VITEST

__all__ = ["ALL", "FRAMEWORKS", "Framework", "Plan", "Selection", "Twin", "plan"]

_ALL = (PYTEST, UNITTEST, NODE, JEST, VITEST, GO, CARGO, PLAIN)
FRAMEWORKS: dict[Adapter, Framework] = {known.name: known for known in _ALL}


def plan(adapter: Adapter, command: tuple[str, ...], selection: Selection = ALL) -> Plan:
    """Return `command` with what makes it write a report.

    Raises:
        BadInput: It is empty, or not a command of that kind.
    """
    if not command or not command[0]:
        raise BadInput("the check command is empty; name one with --check")
    if any("\0" in part for part in command):
        raise BadInput("the check command has a zero byte in it; name another with --check")
    return FRAMEWORKS[adapter].plan(command, selection)
