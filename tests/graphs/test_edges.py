from typing import Any

import pytest
from langgraph.graph import END

from graphs import workflow
from graphs.phrases import phrase


def state(**values: Any) -> Any:
    return values


def test_only_allow_passes_the_guardrail_without_a_person() -> None:
    assert workflow.after_guard(state(screening={"verdict": "allow"})) == "assess"
    assert workflow.after_guard(state(screening={"verdict": "ask"})) == "ask_guard"
    assert workflow.after_guard(state(screening={"verdict": "block"}, outcome={"state": "blocked"})) == END


def test_what_the_router_cannot_decide_goes_to_the_lead() -> None:
    assert workflow.after_assess(state(assessment={"sure": False, "kind": "code"})) == "ask_route"


def test_a_question_is_answered_without_a_plan() -> None:
    assert workflow.after_assess(state(assessment={"sure": True, "kind": "question"})) == "answer"


@pytest.mark.parametrize(
    ("difficulty", "question", "next_step"),
    [("low", "", "prepare"), ("medium", "", "prepare"), ("high", "", "ask_plan"), ("low", "Which one?", "ask_plan")],
)
def test_the_lead_sees_the_plan_of_a_hard_task_or_an_open_question(
    difficulty: str, question: str, next_step: str
) -> None:
    given = state(assessment={"difficulty": difficulty}, plan={"question": question})
    assert workflow.after_plan(given) == next_step


def test_documentation_goes_without_failing_tests_and_nothing_else_does() -> None:
    assert workflow.after_prepare(state(assessment={"kind": "docs"})) == "code"
    assert workflow.after_prepare(state(assessment={"kind": "code"})) == "specify"


def test_a_dispute_goes_to_the_tester_once_and_then_to_the_lead() -> None:
    assert workflow.after_code(state(dispute="wrong", disputes=0)) == "dispute"
    assert workflow.after_code(state(dispute="wrong", disputes=1)) == "ask_dispute"


def test_going_in_circles_ends_the_rounds() -> None:
    assert workflow.after_code(state(dispute="", stuck="the same draft")) == "ask_rounds"


def test_rounds_are_bounded() -> None:
    assert workflow.after_review(state(approved_by_reviewer=False, round=1, rounds=2)) == "code"
    assert workflow.after_review(state(approved_by_reviewer=False, round=2, rounds=2)) == "ask_rounds"


def test_nothing_unproven_reaches_the_lead() -> None:
    assert workflow.after_check(state(product="", round=2, rounds=2)) == "ask_rounds"
    assert workflow.after_check(state(product="abc")) == "approve"


def test_bytes_that_changed_since_the_approval_are_shown_again() -> None:
    assert workflow.after_merge(state(approved_diff="")) == "approve"
    assert workflow.after_merge(state(approved_diff="d")) == "merge"


def test_every_edge_leads_to_a_node_that_is_there() -> None:
    for name, (_, targets) in workflow.EDGES.items():
        assert name in workflow.STEPS
        assert set(targets) <= set(workflow.STEPS) | {END}


@pytest.mark.parametrize(("language", "word"), [("ko", "병합"), ("zh", "合并"), ("en", "Merge"), ("fr", "Merge")])
def test_the_question_is_put_in_the_language_of_the_task(language: str, word: str) -> None:
    assert word in phrase("approve", language, branch="main")
