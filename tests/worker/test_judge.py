"""The judge on bytes alone: nothing runs here."""

from __future__ import annotations

import json

import pytest

from tandem.types import Limits
from worker.judge import REPORT_BYTES_MAX, breach_reason, judge, without_places


def case(name: str, outcome: str, *, file: str = "tests/test_a.py", message: str = "") -> dict[str, str]:
    return {"id": name, "outcome": outcome, "file": file, "message": message, "cause": ""}


def listed(*cases: dict[str, str]) -> bytes:
    """Return a whole report, as our reporters write it."""
    return "".join(json.dumps(one) + "\n" for one in (*cases, {"end": len(cases)})).encode()


PASSED = case("tests/test_a.py::test_ok", "passed")
SKIPPED = case("tests/test_a.py::test_s", "skipped", message="no")
FAILED = case(
    "tests/test_a.py::TestX::test_b[1-a]",
    "failed",
    message="assert 1 == 2\n/tree/tests/test_a.py:3: in test_b at 0x7f33319ab510",
)
UNLOADED = case("tests/test_bad.py", "error", file="tests/test_bad.py", message="ImportError")


def told(*tests: tuple[str, str]) -> bytes:
    return listed(*(case(name, outcome, file="t.py") for name, outcome in tests))


def test_status_0_and_a_test_that_ran_is_a_pass() -> None:
    found = judge("pytest", 0, listed(PASSED, SKIPPED))
    assert (found.verdict, found.reason) == ("passed", "")
    assert [(t.id, t.outcome, t.file) for t in found.tests] == [
        ("tests/test_a.py::test_ok", "passed", "tests/test_a.py"),
        ("tests/test_a.py::test_s", "skipped", "tests/test_a.py"),
    ]


@pytest.mark.parametrize(
    ("exit_code", "report", "verdict"),
    [
        (0, None, "not run"),  # os._exit(0) in a test leaves none
        (0, b"", "not run"),
        (0, listed(PASSED)[:-4], "not run"),  # broken off
        (0, listed(PASSED, PASSED).replace(b'"end": 2', b'"end": 1'), "not run"),
        (0, listed(), "not run"),
        (5, listed(), "not run"),
        (0, listed(SKIPPED), "not run"),
        (4, None, "not run"),
        (0, listed(PASSED, FAILED), "failed"),
        (1, listed(PASSED, FAILED), "failed"),
        (1, listed(PASSED), "failed"),
        (2, listed(UNLOADED), "failed"),
        (None, listed(PASSED), "failed"),
    ],
)
def test_nothing_else_is(exit_code: int | None, report: bytes | None, verdict: str) -> None:
    assert judge("pytest", exit_code, report).verdict == verdict


def test_a_file_that_cannot_be_loaded_is_an_error_under_its_path() -> None:
    (test,) = judge("pytest", 2, listed(UNLOADED)).tests
    assert (test.id, test.outcome, test.file) == ("tests/test_bad.py", "error", "tests/test_bad.py")


def test_ids_and_messages_hold_no_place_and_no_address() -> None:
    (test,) = judge("pytest", 1, listed(FAILED)).tests
    assert test.id == "tests/test_a.py::TestX::test_b[1-a]"
    assert "tests/test_a.py:3" in test.message
    assert "/tree" not in test.message
    assert without_places("file:///private/x/tree/a.js", ["/private/x/tree"]) == "a.js"
    assert without_places("/home/me/tree/a /tree/b") == "/home/me/tree/a b"
    (object_named,) = judge("unittest", 0, told(("t.T.test_<x at 0x7f33319ab510>", "passed"))).tests
    assert object_named.id == "t.T.test_<x at 0x>"


def test_a_folder_of_the_tree_goes_before_what_its_report_names() -> None:
    (test,) = judge("pytest", 0, listed(PASSED), folder="backend/").tests
    assert (test.id, test.file) == ("backend/tests/test_a.py::test_ok", "backend/tests/test_a.py")
    (unit,) = judge("unittest", 0, told(("tests.test_a.T.test_x", "passed")), folder="backend").tests
    assert (unit.id, unit.file) == ("tests.test_a.T.test_x", "backend/t.py")


def test_a_test_that_is_told_twice_counts_once_with_the_worse_outcome() -> None:
    found = judge("unittest", 1, told(("a", "passed"), ("a", "failed"), ("b", "skipped"), ("b", "passed")))
    assert [(t.id, t.outcome) for t in found.tests] == [("a", "failed"), ("b", "skipped")]


@pytest.mark.parametrize("bomb", [b"x" * (REPORT_BYTES_MAX + 1), b"\xff\xfe\x00", b"[" * 100_000, b'{"end": 0'])
def test_reports_that_are_too_large_or_no_reports_are_refused(bomb: bytes) -> None:
    found = judge("pytest", 0, bomb)
    assert (found.verdict, found.tests) == ("not run", ())
    assert "cannot be read" in found.reason


@pytest.mark.parametrize(
    "report",
    [b"{}", b"[1]", b'[{"id": 1, "outcome": "passed"}]', b'[{"id": "a", "outcome": "great"}]', b"[" * 100_000, b"nul"],
)
def test_a_report_that_is_not_of_its_kind_is_no_pass(report: bytes) -> None:
    assert judge("unittest", 0, report).verdict == "not run"
    assert judge("node", 0, report).verdict == "not run"


def test_a_plain_command_is_judged_by_its_status_and_says_so() -> None:
    assert judge("plain", 0, None).verdict == "passed"
    failed = judge("plain", 3, None)
    assert failed.verdict == "failed"
    assert "exit status alone" in failed.reason
    assert "3" in failed.reason


def test_long_messages_are_cut_to_their_end() -> None:
    long = case("m.py::t", "failed", file="m.py", message="x" * 9000 + "END")
    (test,) = judge("pytest", 1, listed(long)).tests
    assert len(test.message) == 2000
    assert test.message.endswith("END")


@pytest.mark.parametrize("breach", ["time", "memory", "processes", "output"])
def test_a_limit_is_named_with_the_setting_that_raises_it(breach: str) -> None:
    assert "(check." in breach_reason(breach, Limits())
