import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.errors import BadInput
from tandem.proof import (
    EXIT_STATUS,
    Proof,
    digest,
    green,
    parse_trailers,
    read_trailers,
    red,
    regressions,
    report_note,
    sealed,
    trailers,
)
from tandem.types import CheckReport, CommitId, TestResult, TreeId

NEW = "tests/test_new.py"
FILES = [NEW]


def report(verdict: Any = None, exit_code: int | None = None, **tests: str) -> CheckReport:
    """Return a report; a test's name begins with `new` where it is of the tester's file."""
    results = tuple(
        TestResult(id=f"{file}::{name}", outcome=outcome, file=file)  # pyright: ignore[reportArgumentType]
        for name, outcome in tests.items()
        for file in [NEW if name.startswith("new") else "tests/test_old.py"]
    )
    failed = any(outcome in ("failed", "error") for outcome in tests.values())
    code = exit_code if exit_code is not None else int(failed)
    return CheckReport(verdict=verdict or ("failed" if failed else "passed"), exit_code=code, tests=results)


def unloadable(file: str = NEW, **tests: str) -> CheckReport:
    known = report(**tests)
    broken = TestResult(id=file, outcome="error", file=file, message="ImportError: cannot import name 'add'")
    return CheckReport(verdict="failed", exit_code=2, tests=(*known.tests, broken))


BASE = report(old="passed", bad="failed", skip="skipped")


def test_red_is_a_new_test_that_fails_on_the_base() -> None:
    result = red(BASE, report(old="passed", bad="failed", new_a="failed", new_b="passed", new_c="error"), FILES)
    assert result.holds
    assert result.failing == (f"{NEW}::new_a", f"{NEW}::new_c")
    assert result.passing == (f"{NEW}::new_b",)


@pytest.mark.parametrize("outcome", ["passed", "skipped"])
def test_tests_that_pass_or_are_skipped_on_the_base_are_not_red(outcome: str) -> None:
    result = red(BASE, report(old="passed", new=outcome), FILES)
    assert not result.holds
    assert "they must fail without the change" in result.reason


def test_other_files_failures_are_not_red() -> None:
    result = red(BASE, report(old="failed", bad="failed", new="passed"), FILES)
    assert not result.holds
    assert result.failing == ()


def test_a_file_that_cannot_be_loaded_is_red_as_a_whole() -> None:
    assert red(BASE, unloadable(), FILES).failing == (NEW,)
    assert not red(BASE, unloadable("tests/conftest.py"), FILES).holds


@pytest.mark.parametrize("verdict", ["not run", "resource limit", "tampered"])
def test_a_report_that_tells_nothing_is_neither_red_nor_green(verdict: Any) -> None:
    unusable = report(verdict, new="failed")
    assert not red(BASE, unusable, FILES).holds
    held = green(BASE, report(verdict, old="passed", new="passed"), [f"{NEW}::new"], FILES)
    assert not held.holds
    assert not green(BASE, report(new="passed"), [f"{NEW}::new"], FILES, [unusable]).holds


def test_nothing_run_of_the_testers_files_is_not_red() -> None:
    result = red(BASE, report(old="passed", bad="failed"), FILES)
    assert not result.holds
    assert "no test of tests/test_new.py was run" in result.reason
    assert not red(BASE, report(new="failed"), []).holds


def test_a_test_that_failed_already_counts_only_where_no_other_does() -> None:
    before = report(new_known="failed")
    assert red(before, report(new_known="failed", new="failed"), FILES).failing == (f"{NEW}::new",)
    alone = red(before, report(new_known="failed"), FILES)
    assert alone.holds
    assert alone.failing == (f"{NEW}::new_known",)
    assert "as they did before" in alone.reason


def go(*tests: TestResult, missing: tuple[str, ...] = ()) -> CheckReport:
    verdict = "failed" if any(test.outcome == "error" for test in tests) else "passed"
    return CheckReport(
        verdict=verdict, adapter="go", tests=tests, missing=missing, exit_code=0 if verdict == "passed" else 1
    )


def test_what_a_panic_kept_from_running_is_not_left_out() -> None:
    first = TestResult(id="shop.TestA", outcome="passed", file="shop/shop_test.go")
    panicked = TestResult(id="shop.TestB", outcome="error", file="shop/shop_test.go", cause="panic")
    missing = ("shop/shop_test.go: TestC",)
    assert red(BASE, go(first, panicked, missing=missing), ["shop/shop_test.go"]).failing == ("shop.TestB",)
    elsewhere = dataclasses.replace(panicked, id="car.TestB", file="car/car_test.go")
    files = ["shop/shop_test.go", "car/car_test.go"]
    assert "were not run" in red(BASE, go(first, elsewhere, missing=missing), files).reason
    assert not red(BASE, dataclasses.replace(go(first, panicked, missing=missing), adapter="jest"), files).holds


def test_go_s_files_of_cases_pass_with_the_tests_they_are_built_with() -> None:
    files = ["shop/cases_test.go", "shop/shop_test.go", "alone/cases_test.go"]
    built = [TestResult(id=file, outcome="error", file=file, cause="undefined") for file in files[:2]]
    failing = red(BASE, go(*built), files[:2]).failing
    assert failing == tuple(files[:2])
    head = go(TestResult(id="shop.TestA", outcome="passed", file="shop/shop_test.go"))
    assert green(CheckReport(verdict="not run"), head, failing, files[:2]).holds
    assert not green(CheckReport(verdict="not run"), head, [files[1], files[2]], files[1:]).holds, "another folder's"
    assert not green(CheckReport(verdict="not run"), head, files[:1], files[:1]).holds, "nothing else was red"
    left = dataclasses.replace(head, missing=("shop/cases_test.go: TestX",))
    assert not green(CheckReport(verdict="not run"), left, failing, files[:2]).holds
    other = dataclasses.replace(head, adapter="jest")
    assert not green(CheckReport(verdict="not run"), other, failing, files[:2]).holds


def test_unittest_names_are_found_in_their_files() -> None:
    files = ["tests/test_new.py"]
    for name in ("tests.test_new.TestA.test_x", "test_new.TestA.test_x"):
        tests = CheckReport(verdict="failed", tests=(TestResult(id=name, outcome="failed"),))
        assert red(BASE, tests, files).failing == (name,)
    for name in ("unittest.loader._FailedTest.test_new", "unittest.loader._FailedTest.tests.test_new"):
        tests = CheckReport(verdict="failed", tests=(TestResult(id=name, outcome="error"),))
        assert red(BASE, tests, files).failing == ("tests/test_new.py",)
    other = CheckReport(verdict="failed", tests=(TestResult(id="test_newer.TestA.test_x", outcome="failed"),))
    assert not red(BASE, other, files).holds


def judge(head: CheckReport, *reruns: CheckReport, failing: str = f"{NEW}::new") -> Any:
    return green(BASE, head, [failing], FILES, reruns)


def test_green_is_what_was_red_passing_and_nothing_broken() -> None:
    result = judge(report(old="passed", bad="failed", skip="skipped", new="passed"))
    assert result.holds
    assert result.known_failing == ("tests/test_old.py::bad",)
    assert result.passed == 2
    assert "failing on the base already: tests/test_old.py::bad" in result.reason


@pytest.mark.parametrize("outcome", ["failed", "error", "skipped", None])
def test_a_red_test_that_does_not_pass_now_is_not_green(outcome: str | None) -> None:
    tests = {"new": outcome} if outcome else {}
    result = judge(report(old="passed", **tests))
    assert not result.holds
    assert f"new tests do not pass: {NEW}::new" in result.reason


@pytest.mark.parametrize("outcome", ["failed", "error", "skipped", None])
def test_what_passed_on_the_base_must_pass(outcome: str | None) -> None:
    tests = {"old": outcome} if outcome else {}
    result = judge(report(new="passed", **tests))
    assert not result.holds
    assert result.regressions == ("tests/test_old.py::old",)


def test_a_test_that_fails_for_the_first_time_is_broken_too() -> None:
    result = judge(report(old="passed", new="passed", new_other="failed"))
    assert not result.holds
    assert result.regressions == (f"{NEW}::new_other",)


def test_an_unloadable_file_must_load_and_all_in_it_pass() -> None:
    assert judge(report(old="passed", new_a="passed", new_b="passed"), failing=NEW).holds
    assert not judge(report(old="passed", new_a="passed", new_b="skipped"), failing=NEW).holds
    assert not judge(report(old="passed"), failing=NEW).holds
    assert not judge(unloadable(old="passed"), failing=NEW).holds


def test_nothing_red_is_nothing_proven() -> None:
    assert not green(BASE, report(old="passed", new="passed"), [], FILES).holds


def test_a_check_that_fails_without_a_failing_test_is_not_green() -> None:
    result = judge(report("failed", 3, old="passed", new="passed"))
    assert not result.holds
    assert "no test failed, and yet" in result.reason
    silent = report("failed", 3, old="passed")
    assert green(silent, report("failed", 3, old="passed", new="passed"), [f"{NEW}::new"], FILES).holds


def test_what_differs_between_runs_is_named_flaky_and_breaks_nothing_if_it_passed_once() -> None:
    good, bad = report(old="passed", new="passed"), report(old="failed", new="passed")
    result = judge(bad, good, bad)
    assert result.holds
    assert result.flaky == ("tests/test_old.py::old",)
    assert not judge(bad, bad, bad).holds


@pytest.mark.parametrize(("first", "second"), [("passed", "failed"), ("failed", "passed")])
def test_a_flaky_new_test_proves_nothing(first: str, second: str) -> None:
    result = judge(report(old="passed", new=first), report(old="passed", new=second))
    assert not result.holds
    assert "flaky and prove nothing" in result.reason


def test_a_base_with_no_tests_has_nothing_to_break_and_a_broken_report_of_it_tells_nothing() -> None:
    head = report(new="passed")
    assert green(CheckReport(verdict="not run"), head, [f"{NEW}::new"], FILES).holds
    assert not green(CheckReport(verdict="tampered"), head, [f"{NEW}::new"], FILES).holds


def test_plain_checks_are_judged_by_exit_status_and_say_so() -> None:
    passed, failed = CheckReport(verdict="passed", exit_code=0), CheckReport(verdict="failed", exit_code=2)
    shown = red(passed, failed, FILES)
    assert shown.holds
    assert shown.failing == (EXIT_STATUS,)
    assert "exit status alone" in shown.reason
    assert not red(passed, passed, FILES).holds
    assert not red(failed, failed, FILES).holds
    held = green(passed, passed, shown.failing, FILES)
    assert held.holds
    assert "weaker" in held.reason
    assert not green(passed, failed, shown.failing, FILES).holds
    assert green(passed, passed, shown.failing, FILES, [failed]).flaky == (EXIT_STATUS,)
    assert not green(BASE, passed, [f"{NEW}::new"], FILES).holds  # its tests vanished


def test_regressions_without_red_serve_documentation() -> None:
    assert regressions(BASE, report(old="passed", bad="failed", skip="skipped")) == ()
    assert regressions(BASE, report(bad="failed")) == ("tests/test_old.py::old",)
    assert regressions(CheckReport(verdict="passed"), CheckReport(verdict="failed")) == (EXIT_STATUS,)


def test_of_an_id_that_is_there_twice_the_worse_counts() -> None:
    twice = report(old="passed", new="passed")
    worse = CheckReport(
        verdict="failed", tests=(*twice.tests, TestResult(id=f"{NEW}::new", outcome="failed", file=NEW))
    )
    assert not judge(worse).holds


def test_the_digest_knows_outcomes_alone_and_every_one_of_them() -> None:
    one = report(old="passed", new="failed")
    slow = CheckReport(verdict="failed", tests=tuple(reversed(one.tests)), duration_s=9, node="mini", output="x")
    assert digest(BASE, one, BASE) == digest(BASE, slow, BASE)
    assert len({digest(BASE, one, BASE), digest(one, BASE, BASE), digest(BASE, report(old="passed"), BASE)}) == 3
    plain, failed = CheckReport(verdict="passed"), CheckReport(verdict="failed")
    assert digest(plain, failed, plain) != digest(plain, plain, plain)


def proof(**more: Any) -> Proof:
    values: dict[str, Any] = {
        "run": "1009-abcdefg",
        "base": CommitId("a" * 40),
        "tree": TreeId("b" * 40),
        "tests_tree": TreeId("c" * 40),
        "test_files": (NEW,),
        "command": ("python", "-m", "pytest"),
        "adapter": "pytest",
        "folder": "",
        "digest": "d" * 64,
        "verdict": "proven",
        "sandbox": "bubblewrap 0.8",
        "new_tests": 2,
    }
    return Proof(**(values | more))


def message(made: Proof) -> str:
    lines = "\n".join(f"{key}: {value}" for key, value in trailers(made))
    return f"Subject\n\nTask:\n\n    Tandem-Proof: red-green\n\n{lines}\n"


@pytest.mark.parametrize("cut", [False, True])
def test_how_many_twins_failed_is_read_back_also_where_a_limit_ended_them(cut: bool) -> None:
    made = proof(judge=3, controls="held", twins=2, untwinned=3, cut=cut)
    text = f"Subject\n\n{sealed(trailers(made))}\n"
    assert ("\nTandem-Twins: 2 of 5, cut off\n" if cut else "\nTandem-Twins: 2 of 5\n") in text
    assert parse_trailers(text) == made
    mutants = f"Subject\n\n{sealed([*trailers(made), ('Tandem-Mutants', '1 of 2, cut off')])}\n"
    with pytest.raises(BadInput, match="Tandem-Mutants"):
        parse_trailers(mutants)


def test_trailers_read_as_they_are_documented() -> None:
    assert message(proof()).endswith(
        f"""
Tandem-Run: 1009-abcdefg
Tandem-Base: {"a" * 40}
Tandem-Tree: {"b" * 40}
Tandem-Tests: {"c" * 40}
Tandem-Test-File: tests/test_new.py
Tandem-Check: python -m pytest
Tandem-Adapter: pytest
Tandem-New-Tests: 2
Tandem-Report: sha256:{"d" * 64}
Tandem-Proof: red-green
Tandem-Sandbox: bubblewrap 0.8
"""
    )
    assert ("Tandem-Proof", "none (documentation)") in trailers(proof(verdict="unproven-docs"))


_paths = st.text(min_size=1, max_size=30).filter(
    lambda path: "\0" not in path and not path.startswith("/") and ".." not in path.split("/")
)
_commands = st.lists(st.text(max_size=12), max_size=4).map(tuple)


@settings(deadline=None, database=None)
@given(
    files=st.lists(_paths, max_size=4).map(tuple),
    command=_commands,
    folder=st.just("") | _paths,
    sandbox=st.text(max_size=30),
    verdict=st.sampled_from(["proven", "unproven-docs", "overridden"]),
    adapter=st.sampled_from(["pytest", "unittest", "node", "plain"]),
    new_tests=st.integers(0, 1_000_000),
)
def test_trailers_come_back_as_they_were(**values: Any) -> None:
    made = proof(**{"test_files" if key == "files" else key: value for key, value in values.items()})
    assert parse_trailers(message(made)) == made
    assert all("\n" not in value for _, value in trailers(made))


def test_other_trailers_and_windows_line_ends_do_no_harm() -> None:
    text = message(proof()) + "Signed-off-by: A <a@b.invalid>\n(cherry picked from commit x)\n"
    assert parse_trailers(text) == proof()
    assert parse_trailers(text.replace("\n", "\r\n")) == proof()


@pytest.mark.parametrize(
    "text", ["", "Subject", "Tandem-Proof: red-green", "Subject\n\nwords\n", "S\n\nTandem-Proof: red-green\n\nother: x"]
)
def test_a_message_that_claims_nothing_has_no_proof(text: str) -> None:
    assert parse_trailers(text) is None


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (f"Tandem-Tree: {'b' * 40}", "Tandem-Tree: HEAD", "Tandem-Tree"),
        (f"Tandem-Base: {'a' * 40}\n", "", "Tandem-Base"),
        ("Tandem-Run: 1009-abcdefg", "Tandem-Run: a\nTandem-Run: b", "Tandem-Run"),
        ("Tandem-Adapter: pytest", "Tandem-Adapter: shell", "Tandem-Adapter"),
        ("Tandem-Check: python -m pytest", "Tandem-Check: 'open", "Tandem-Check"),
        ("Tandem-Check: python -m pytest", "Tandem-Check: [1]", "Tandem-Check"),
        ("Tandem-Report: sha256:", "Tandem-Report: md5:", "Tandem-Report"),
        ("Tandem-Proof: red-green", "Tandem-Proof: trust me", "Tandem-Proof"),
        ("Tandem-Test-File: tests/", "Tandem-Test-File: ../", "Tandem-Test-File"),
        ("Tandem-Test-File: tests/test_new.py", "Tandem-Test-File: /etc/passwd", "Tandem-Test-File"),
        ("Tandem-Test-File: tests/test_new.py", 'Tandem-Test-File: "open', "Tandem-Test-File"),
        ("Tandem-New-Tests: 2", "Tandem-New-Tests: -2", "Tandem-New-Tests"),
    ],
)
def test_a_malformed_trailer_is_named(old: str, new: str, named: str) -> None:
    text = message(proof())
    assert old in text
    with pytest.raises(BadInput, match=named):
        parse_trailers(text.replace(old, new))


@settings(deadline=None, database=None)
@given(st.text(max_size=200))
def test_no_message_breaks_the_reader(text: str) -> None:
    assert isinstance(read_trailers(text), list)
    with pytest.raises(BadInput, match="Tandem-"):  # the others are missing, whatever follows
        parse_trailers(f"S\n\nTandem-Proof: red-green\n{text}\nTandem-Proof: red-green")


def test_the_note_is_for_people_first_and_its_end_for_programs() -> None:
    secret = "ghp_" + "a1" * 15
    failing = TestResult(id=f"{NEW}::new", outcome="failed", file=NEW, message=f"assert 1\n == 2 {secret}")
    broken = CheckReport(verdict="failed", tests=(*BASE.tests, failing))
    head = report(old="passed", bad="failed", new="passed")
    made = proof(digest=digest(BASE, broken, head))
    note = report_note(BASE, broken, head, made)
    assert note.startswith("Tandem's proof of run 1009-abcdefg: red-green\n")
    assert f"- {NEW}::new: failed. assert 1 == 2" in note
    assert secret not in note
    data = json.loads(note.split("```json\n")[1].split("\n```")[0])
    assert data["digest"] == f"sha256:{made.digest}"
    assert data["reports"]["green"]["tests"] == sorted([t.id, t.outcome] for t in head.tests)
