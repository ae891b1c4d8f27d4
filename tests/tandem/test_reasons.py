"""Why a new test fails on the base: what is missing there, or a fault of its own."""

from __future__ import annotations

from typing import Any

import pytest

from tandem.reasons import wrong_reasons
from tandem.types import CheckReport, TestResult

FILE = "tests/test_new.py"
KNOWN = ["calc/core.py", "src/app.js", "calc/planned.py"]


def why(message: str, cause: str, *, outcome: Any = "failed", file: str = FILE) -> str:
    test = TestResult(id=f"{file}::test_a", outcome=outcome, file=file, message=message, cause=cause)
    return wrong_reasons(CheckReport(verdict="failed", tests=(test,)), [FILE], KNOWN)


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (f"E  assert 1 == 2\n\n{FILE}:3: AssertionError", "AssertionError"),
        (f"{FILE}:1: in <module>\nE  ImportError: cannot import name 'add' from 'calc'", "ImportError"),
        (f"{FILE}:1: in <module>\nE  ModuleNotFoundError: No module named 'calc.planned'", "ModuleNotFoundError"),
        (f"{FILE}:1: in <module>\nE  ModuleNotFoundError: No module named 'planned'", "ModuleNotFoundError"),
        (
            "calc/core.py:7: NameError\nE  NameError: name 'helper' is not defined\ncalc/core.py:7: NameError",
            "NameError",
        ),
        (f"{FILE}:3: NotImplementedError", "NotImplementedError"),
        (
            'calc/core.py:2: in <module>\nE   File "/tree/calc/core.py", line 2\nE  SyntaxError: invalid syntax',
            "SyntaxError",
        ),
        ("Cannot find module '../src/app.js'", "Error"),
        ("", ""),
    ],
)
def test_missing_behaviour_is_the_right_reason(message: str, cause: str) -> None:
    assert why(message, cause) == ""


@pytest.mark.parametrize(
    ("message", "cause", "words"),
    [
        (
            f'E     File "{FILE}", line 4\nE   SyntaxError: invalid syntax',
            "SyntaxError",
            "SyntaxError in the test",
        ),
        ("E       fixture 'databse' not found", "FixtureLookupError", "no fixture 'databse'"),
        (f"E  NameError: name 'pytest' is not defined\n\n{FILE}:3: NameError", "NameError", "'pytest' is not defined"),
        (f"ReferenceError: asert is not defined\n    at {FILE}:3:5", "ReferenceError", "'asert' is not defined"),
        (f"{FILE}:1: in <module>\nE  ModuleNotFoundError: No module named 'numpyy'", "ModuleNotFoundError", "'numpyy'"),
        ("Error: Cannot find package 'leftpad'", "Error", "'leftpad'"),
    ],
)
def test_a_fault_of_the_test_itself_is_not(message: str, cause: str, words: str) -> None:
    found = why(message, cause)
    assert "wrong reason" in found
    assert f"{FILE}::test_a" in found
    assert words in found


def test_tests_of_others_are_not_looked_at() -> None:
    assert why("E  fixture 'x' not found", "", file="tests/test_old.py") == ""
    assert why("E  fixture 'x' not found", "", outcome="passed") == ""
