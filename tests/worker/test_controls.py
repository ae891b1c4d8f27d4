"""What became of the judge's own tests, as a report tells it."""

from __future__ import annotations

from random import Random

import pytest

from tandem.types import TestResult
from worker.adapters import FRAMEWORKS
from worker.judge.controls import Held, held, plant

OWN = "shop/shop_test.go"
PLANTED = plant(FRAMEWORKS["go"], {OWN: "package shop\n"}, Random(3))


def told(passing: str = "", failing: str = "", **own: str) -> Held:
    """Return what is made of a report: outcomes of the two controls, "" for none, and causes of the tester's tests."""
    assert PLANTED is not None
    tests = [
        TestResult(id=f"shop.{n}", outcome="error" if why else "passed", file=OWN, cause=why) for n, why in own.items()
    ]
    for word, outcome in ((PLANTED.passing, passing), (PLANTED.failing, failing)):
        if outcome:
            tests.append(TestResult(id=f"shop.Test{word.capitalize()}", outcome=outcome))  # type: ignore[arg-type]
    return held(PLANTED, tests)


def test_controls_that_did_as_they_must_are_held_and_set_apart() -> None:
    found = told("passed", "failed", TestA="", TestB="panic")
    assert (found.controls, found.trouble, [test.id for test in found.rest]) == (
        "held",
        "",
        ["shop.TestA", "shop.TestB"],
    )


@pytest.mark.parametrize(
    ("passing", "failing", "words"),
    [
        ("passed", "passed", "must fail passed"),
        ("passed", "skipped", "must fail skipped"),
        ("passed", "", "must fail never ran"),
        ("failed", "failed", "must pass failed"),
        ("", "failed", "must pass never ran"),
    ],
)
def test_controls_that_did_otherwise_are_trouble(passing: str, failing: str, words: str) -> None:
    assert words in told(passing, failing, TestA="").trouble


@pytest.mark.parametrize(("passing", "failing"), [("passed", ""), ("", "failed"), ("", "")])
def test_a_panic_that_ended_the_package_took_the_controls_along(passing: str, failing: str) -> None:
    found = told(passing, failing, TestA="", TestB="panic")
    assert (found.trouble, found.controls) == ("", "unbuilt")


def test_controls_nobody_ran_are_absent_and_where_nothing_ran_at_all_unbuilt() -> None:
    assert told(TestA="").controls == "absent"
    assert told(TestA="undefined").controls == "unbuilt"
