"""What flows through the graph: plain JSON, with ids instead of contents.

Contents live in Git or in the journal. A step that ran before is run again on resume, so nothing here is kept anywhere
else, and LangGraph's own checkpoint can be thrown away.
"""

from __future__ import annotations

from typing import Any, TypedDict

from tandem.types import Json

# Raised whenever steps, their order or their questions change; a run of another version is cut where it stops fitting.
WORKFLOW_VERSION = 2


class State(TypedDict):
    """One run's state. Every key is written by the node named beside it, and absent before."""

    visits: dict[str, int]  # every node: how often it was entered
    screening: dict[str, Any]  # guard
    assessment: dict[str, Any]  # assess, or the lead
    plan_mode: str  # guard: "", only (the plan is all that is wanted), given (the lead brought one)
    plan: dict[str, Any]  # plan
    plan_answers: dict[str, str]  # plan, the lead: answers to the checklist, by question
    plan_remarks: str  # the lead, on the plan
    plan_again: bool  # the lead: the planner has to think again
    document: str  # write_plan: the plan as Markdown
    check: dict[str, Any]  # prepare: command, adapter, why; empty where there is none
    environment: str  # prepare: key
    needs: list[str]  # prepare: the files that want an environment not built yet
    prepare_choice: str  # the lead: "", allow, without
    tests: str  # specify: commit
    test_files: list[str]  # specify
    red: list[str]  # specify: new tests that fail on the base
    red_report: str  # specify: key of the report
    base_report: str  # specify: key of the report
    head: str  # code: commit of the draft
    drafts: list[str]  # code: trees seen, to notice circles
    draft_report: str  # code: key of the report
    head_report: str  # check: key of the report that the product's proof is about
    trouble: str  # code: why the tests do not let the draft pass, judged against the base
    refused: list[str]  # code: what of the last draft was thrown away, and why
    wanted: list[str]  # code: files the coder wanted to change without having seen them whole
    failures: list[str]  # code: how the coder's work was stopped, each time it was
    unusable: bool  # code: the coder could not be understood, so there is no new draft
    dispute: str  # code: what the coder says is wrong with a test
    disputes: int  # dispute: how often the tester was asked
    round: int  # code
    rounds: int  # assess, the lead: how many are allowed
    findings: list[dict[str, Any]]  # review, check, approve: what the coder has to mend
    approved_by_reviewer: bool  # review
    stuck: str  # why the rounds ended
    unnoticed: list[str]  # check: changed files that can be put back without a test failing
    sharpened: int  # sharpen: how often the tester was asked to notice them
    override: str  # ask_rounds: why the lead merges it without a proof, in the lead's words
    product: str  # check, merge: the commit with the proof
    base: str  # check, merge: what the product stands on
    note: str  # check, merge: the proof's note
    approved_diff: str  # approve: digest of the bytes the lead saw
    replants: int  # merge: how often the branch had moved
    delivery: dict[str, Any]  # merge
    report: dict[str, Any]  # document, answer
    outcome: dict[str, Json]  # how it ended: state, message, commit, verdict


def enter(state: State, node: str) -> tuple[str, dict[str, int]]:
    """Return the step's name for this visit to `node`, and the visits to write back."""
    visits = dict(state.get("visits", {}))
    visits[node] = visits.get(node, 0) + 1
    return f"{node}.{visits[node]}", visits
