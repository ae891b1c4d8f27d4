"""What a run looks like from outside: plain JSON made from its task, its state and its journal. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from router.holds import Hold
from router.journal import Entry
from tandem.types import ENDED, Json, Question, RunId, RunState, Task

RESUMABLE: frozenset[RunState] = frozenset(("failed", "cancelled"))  # over, until a person has them go on
_LONG = frozenset(("assessment", "plan", "document", "findings", "report"))  # facts that are read from the journal


@dataclass(slots=True, kw_only=True, weakref_slot=True)
class RunInfo:
    """A run as the router holds it in memory; everything here can be read again from the journal."""

    run: RunId
    task: Task
    created_s: float
    state: RunState = "queued"
    message: str = ""
    error: str = ""  # the class of the error that ended it
    commit: str | None = None
    branch: str = ""
    verdict: str | None = None
    ended_s: float | None = None
    moved: bool = False  # it goes on elsewhere
    active_s: float = 0.0  # time it has worked, without waiting
    question: Question | None = None
    hold: Hold | None = None  # what it waits for, though it is at work
    facts: dict[str, Json] = field(default_factory=dict[str, Json])  # kind, difficulty, round, rehearsed

    @property
    def over(self) -> bool:
        """Return whether nothing more will happen by itself."""
        return self.state in ENDED

    @property
    def short_facts(self) -> dict[str, Json]:
        """Return the facts that a summary is made of."""
        return {key: self.facts[key] for key in self.facts.keys() - _LONG}

    def become(self, value: Mapping[str, Any]) -> None:
        """Stand as a recorded change of state says; of a run that is over, the long facts go.

        Raises:
            AttributeError, KeyError, TypeError: The value is no change of state.
        """
        self.state = value["state"]
        self.message = value.get("message", "")
        self.error = value.get("class", "")
        self.commit = value.get("commit")
        self.branch = value.get("branch", "")
        self.verdict = value.get("verdict")
        self.active_s = value.get("active_s", 0.0)
        self.moved = bool(value.get("moved"))
        self.ended_s = value.get("ended_s")
        self.facts = {**self.facts, **(value.get("facts") or {})}
        if self.over:
            self.facts = self.short_facts


def summary(info: RunInfo, before: int | None = None) -> dict[str, Json]:
    """Return the short form, the same for every call of the API; `before` runs go first while it is queued."""
    return {
        "run": info.run,
        "repo": info.task.repo,
        "state": info.state,
        "commit": info.commit,
        "verdict": info.verdict,
        "title": (info.task.text.strip().splitlines() or [""])[0][:100],
        "branch": info.branch or info.task.target,
        "kind": info.facts.get("kind"),
        "difficulty": info.facts.get("difficulty"),
        "round": info.facts.get("round", 0),
        "question": cast("Json", asdict(info.question)) if info.question and info.state == "waiting" else None,
        "message": info.message,
        "before": before,
        "hold": info.hold.told() if info.hold else None,
        "error": info.error or None,
        "moved": info.moved,
        "rehearsed": info.facts.get("rehearsed", False),
        "created_s": info.created_s,
        "ended_s": info.ended_s,
    }


def detail(info: RunInfo, entries: Sequence[Entry]) -> dict[str, Json]:
    """Return the summary and everything the journal tells about the run."""
    replies = [e for e in entries if e.kind == "reply"]
    facts: dict[str, Json] = {}
    for state in (cast("dict[str, Any]", e.value) for e in entries if e.kind == "state"):
        facts |= state.get("facts") or {}  # of a run that is over, the long ones are not in memory
    facts |= info.facts
    return {
        **summary(info),
        "task": cast("Json", asdict(info.task)),
        "calls": [_call(e) for e in replies],
        "checks": [_check(e) for e in entries if e.kind == "report"],
        "answers": [e.value for e in entries if e.kind == "answered"],
        "failures": [e.value for e in entries if e.kind == "failed"],
        **{key: facts.get(key) for key in ("assessment", "plan", "document", "findings", "report")},
        "product": info.facts.get("product"),
        "journal_entries": len(entries),
    }


def _call(entry: Entry) -> Json:
    value = cast("dict[str, Any]", entry.value)
    keys = ("model", "node", "backend", "rehearsed", "prompt_tokens", "completion_tokens", "first_token_ms", "total_ms")
    return {"step": entry.step, **{key: value[key] for key in keys}}


def _check(entry: Entry) -> Json:
    value = cast("dict[str, Any]", entry.value)
    tests = value["tests"]
    return {
        "step": entry.step,
        "verdict": value["verdict"],
        "reason": value["reason"],
        "passed": sum(t[1] == "passed" for t in tests),
        "failed": sum(t[1] in ("failed", "error") for t in tests),
        "seconds": value["duration_s"],
        "sandbox": value["sandbox"],
        "node": value["node"],
    }


def open_question(entries: Sequence[Entry]) -> Question | None:
    """Return the newest question that has no answer."""
    answered = {e.step for e in entries if e.kind == "answered"}
    for entry in reversed(entries):
        if entry.kind == "opened":
            if entry.step in answered:
                return None
            data: dict[str, Any] = dict(cast("dict[str, Any]", entry.value))
            data["choices"] = tuple(data["choices"])
            return Question(**data)
    return None


def facts_of(state: dict[str, Any]) -> dict[str, Json]:
    """Return what the graph's state tells about a run, for its summary."""
    assessment = state.get("assessment", {})
    return {
        "kind": assessment.get("kind"),
        "difficulty": assessment.get("difficulty"),
        "assessment": assessment or None,
        "plan": state.get("plan"),
        "document": state.get("document"),
        "round": state.get("round", 0),
        "findings": state.get("findings", []),
        "report": state.get("report"),
        "product": state.get("product"),
        "base": state.get("base"),
    }


def rehearsed(entries: Sequence[Entry]) -> bool:
    """Return whether any reply of the run was played and not given by a model."""
    return any(cast("dict[str, Any]", e.value)["rehearsed"] for e in entries if e.kind == "reply")
