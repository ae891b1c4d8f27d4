"""Where the plan itself is what is wanted, or the lead brings one: which way it goes, and what the team is told."""

from typing import Any

import pytest
from langgraph.graph import END

from graphs import workflow
from graphs.views import plan_text

PLAN: dict[str, Any] = {
    "summary": "Shout", "scenarios": [], "files": [], "risks": [], "question": "", "steps": ["Write it."],
    "done": ["It is loud."],
    "checklist": [{"question": "Empty?", "suggestion": "no"}, {"question": "Who — now?", "suggestion": "all"},
                  {"question": "When?", "suggestion": ""}],
}  # fmt: skip


def state(**values: Any) -> Any:
    return {"assessment": {"sure": True, "kind": "code", "difficulty": "high"}, "plan": PLAN, **values}


@pytest.mark.parametrize(("mode", "step"), [("", "answer"), ("only", "plan"), ("given", "plan")])
def test_even_a_question_gets_a_plan_where_a_plan_is_wanted(mode: str, step: str) -> None:
    given = state(plan_mode=mode)
    given["assessment"]["kind"] = "question"
    assert workflow.after_assess(given) == step


def test_a_plan_the_lead_brought_is_not_asked_about() -> None:
    assert workflow.after_plan(state(plan_mode="given")) == "prepare"
    assert workflow.after_plan(state(plan_mode="")) == "ask_plan"  # hard


def test_only_a_checklist_is_asked_where_the_plan_is_all_that_is_wanted() -> None:
    assert workflow.after_plan(state(plan_mode="only")) == "ask_plan"
    assert workflow.after_plan(state(plan_mode="only", plan={**PLAN, "checklist": []})) == "write_plan"


def test_where_the_plan_is_all_that_is_wanted_nothing_comes_after_it() -> None:
    assert workflow.after_ask_plan(state(plan_mode="only", plan_again=False)) == "write_plan"
    assert workflow.after_ask_plan(state(plan_mode="only", plan_again=True)) == "plan"
    assert workflow.after_ask_plan(state(plan_mode="only", outcome={"state": "rejected"})) == END
    assert "write_plan" not in workflow.EDGES  # it ends there


def test_the_team_is_told_what_the_lead_answered_and_what_was_only_suggested() -> None:
    text = plan_text(state(plan_answers={"Who : now?": "the shop"}, plan_remarks="Slowly."))
    assert "The lead was asked:\n- Who : now? the shop\n- Empty? no (suggested, not answered)\n\nThe lead adds" in text
    assert "When?" not in text
    assert "Steps:\n- Write it.\n\nDone when:\n- It is loud." in text
