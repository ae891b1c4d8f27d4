"""The judge on bytes alone: nothing runs here."""

from __future__ import annotations

import json

import pytest

from tandem.types import Limits
from worker.judge import REPORT_BYTES_MAX, breach_reason, judge, without_places


def junit(*cases: str) -> bytes:
    return f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>".encode()


PASSED = '<testcase classname="tests.test_a" file="tests/test_a.py" name="test_ok"/>'
SKIPPED = '<testcase classname="tests.test_a" file="tests/test_a.py" name="test_s"><skipped message="no"/></testcase>'
FAILED = (
    '<testcase classname="tests.test_a.TestX" file="tests/test_a.py" name="test_b[1-a]">'
    '<failure message="assert 1 == 2">/tree/tests/test_a.py:3: in test_b at 0x7f33319ab510</failure></testcase>'
)
UNLOADED = (
    '<testcase classname="" name="tests.test_bad" file="tests/test_bad.py">'
    '<error message="collection failure">ImportError</error></testcase>'
)


def told(*tests: tuple[str, str]) -> bytes:
    return json.dumps(
        [{"id": name, "outcome": outcome, "file": "t.py", "message": ""} for name, outcome in tests]
    ).encode()


def test_status_0_and_a_test_that_ran_is_a_pass() -> None:
    found = judge("pytest", 0, junit(PASSED, SKIPPED))
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
        (0, b"<testsuites>", "not run"),
        (0, junit(), "not run"),
        (5, junit(), "not run"),
        (0, junit(SKIPPED), "not run"),
        (4, None, "not run"),
        (0, junit(PASSED, FAILED), "failed"),
        (1, junit(PASSED, FAILED), "failed"),
        (1, junit(PASSED), "failed"),
        (2, junit(UNLOADED), "failed"),
        (None, junit(PASSED), "failed"),
    ],
)
def test_nothing_else_is(exit_code: int | None, report: bytes | None, verdict: str) -> None:
    assert judge("pytest", exit_code, report).verdict == verdict


def test_a_file_that_cannot_be_loaded_is_an_error_under_its_path() -> None:
    (test,) = judge("pytest", 2, junit(UNLOADED)).tests
    assert (test.id, test.outcome, test.file) == ("tests/test_bad.py", "error", "tests/test_bad.py")


def test_ids_and_messages_hold_no_place_and_no_address() -> None:
    (test,) = judge("pytest", 1, junit(FAILED)).tests
    assert test.id == "tests/test_a.py::TestX::test_b[1-a]"
    assert "tests/test_a.py:3" in test.message
    assert "/tree" not in test.message
    assert without_places("file:///private/x/tree/a.js", ["/private/x/tree"]) == "a.js"
    assert without_places("/home/me/tree/a /tree/b") == "/home/me/tree/a b"
    (object_named,) = judge("unittest", 0, told(("t.T.test_<x at 0x7f33319ab510>", "passed"))).tests
    assert object_named.id == "t.T.test_<x at 0x>"


def test_a_folder_of_the_tree_goes_before_what_its_report_names() -> None:
    (test,) = judge("pytest", 0, junit(PASSED), folder="backend/").tests
    assert (test.id, test.file) == ("backend/tests/test_a.py::test_ok", "backend/tests/test_a.py")
    (unit,) = judge("unittest", 0, told(("tests.test_a.T.test_x", "passed")), folder="backend").tests
    assert (unit.id, unit.file) == ("tests.test_a.T.test_x", "backend/t.py")


def test_a_test_that_is_told_twice_counts_once_with_the_worse_outcome() -> None:
    found = judge("unittest", 1, told(("a", "passed"), ("a", "failed"), ("b", "skipped"), ("b", "passed")))
    assert [(t.id, t.outcome) for t in found.tests] == [("a", "failed"), ("b", "skipped")]


@pytest.mark.parametrize(
    "bomb",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><testsuites>&a;</testsuites>',
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x><testsuites/>'.encode("utf-16"),
        b'<?xml version="1.0" encoding="utf-7"?>+ADwAIQ-DOCTYPE x+AD4-<testsuites/>',
        b"x" * (REPORT_BYTES_MAX + 1),
        b"\xff\xfe\x00",
    ],
)
def test_reports_with_entities_other_encodings_or_too_many_bytes_are_refused(bomb: bytes) -> None:
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
    case = f'<testcase classname="m" file="m.py" name="t"><failure message="">{"x" * 9000}END</failure></testcase>'
    (test,) = judge("pytest", 1, junit(case)).tests
    assert len(test.message) == 2000
    assert test.message.endswith("END")


@pytest.mark.parametrize("breach", ["time", "memory", "processes", "output"])
def test_a_limit_is_named_with_the_setting_that_raises_it(breach: str) -> None:
    assert "(check." in breach_reason(breach, Limits())
