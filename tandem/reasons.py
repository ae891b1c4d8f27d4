"""Why a new test fails on the base: because the behaviour is missing, or because the test itself is wrong.

Pure. Where in doubt the reason counts as right: whether the head supplies what is missing shows when it is green.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from tandem.types import CheckReport, TestResult

_SYNTAX = frozenset(("SyntaxError", "IndentationError", "TabError"))
_SHOWN = 3
_NO_FIXTURE = re.compile(r"fixture '([^']+)' not found")
_NO_NAME = re.compile(r"(?:NameError: name '([^']+)' is not defined|ReferenceError: ([\w$]+) is not defined)")
_NO_MODULE = re.compile(r"No module named '([^']+)'|Cannot find (?:module|package) '([^']+)'")
_PLACE = re.compile(r"([\w./-]+\.\w+)\"?(?::|, line )\d+")


def wrong_reasons(report: CheckReport, test_files: Sequence[str], known: Sequence[str]) -> str:
    """Name the tester's tests that fail for no fault of the base, and why; empty where there are none.

    `known` are the paths of the repository and those that the plan will bring.
    """
    found = [
        f"{test.id} ({why})"
        for test in report.tests
        if test.outcome in ("failed", "error")
        and _file_of(test, test_files)
        and (why := _wrong(test, _file_of(test, test_files), known))
    ]
    if not found:
        return ""
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"tests fail for the wrong reason: {'; '.join(found[:_SHOWN])}{more}"


def _file_of(test: TestResult, test_files: Sequence[str]) -> str:
    return next((file for file in test_files if test.file == file or test.id == file), "")


def _wrong(test: TestResult, file: str, known: Sequence[str]) -> str:
    places = [place for place in _PLACE.findall(test.message) if not place.startswith("<")]
    innermost = places[:1] if test.cause == "ReferenceError" else places[-1:]  # JavaScript tells it first
    in_the_test = any(file.endswith(place.lstrip("./")) for place in innermost)
    if test.cause in _SYNTAX and in_the_test:
        return f"{test.cause} in the test itself"
    if fixture := _NO_FIXTURE.search(test.message):
        return f"there is no fixture {fixture[1]!r}"
    name = _NO_NAME.search(test.message)
    if name and test.cause in ("NameError", "ReferenceError") and in_the_test:
        return f"{name[1] or name[2]!r} is not defined in the test itself"
    module = _NO_MODULE.search(test.message)
    if module and test.cause in ("ModuleNotFoundError", "Error", "") and not _may_come(module[1] or module[2], known):
        return f"neither the repository nor the plan has a module {module[1] or module[2]!r}"
    return ""


def _may_come(module: str, known: Sequence[str]) -> bool:
    """Return whether a module of this name is there or planned, anywhere: paths decide nothing about the search path."""
    parts = re.split(r"[./]", module.lstrip("./"))
    stems = {part.partition(".")[0] for path in known for part in PurePosixPath(path).parts}
    return parts[0] in stems or parts[-1] in stems or PurePosixPath(module).stem in stems
