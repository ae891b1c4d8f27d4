"""The matrix is whole: every row has a test."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.faults.rows import ROWS


def test_every_row_has_a_test() -> None:
    rooms = (Path(__file__).parent, Path(__file__).parents[1] / "e2e")
    tested = {number for room in rooms for file in room.glob("test_*.py") for number in _named(file)}
    assert sorted(set(ROWS) - tested) == []


def _named(file: Path) -> list[int]:
    """Return the rows that the marks in a file name, wherever they stand."""
    calls = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Call)]
    marks = [call for call in calls if ast.unparse(call.func) == "pytest.mark.row"]
    return [int(arg.value) for call in marks for arg in call.args if isinstance(arg, ast.Constant)]
