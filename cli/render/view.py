"""Fold a run's events into what is to be seen of it. Pure: a view and an event make the next view.

Times are the events' own wall clock, which this machine shares with its router. Unknown kinds and missing fields are
passed over: a newer router must not break an older terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cli.render.loose import items, mapping, number, objects, text, whole

REHEARSAL = "rehearsal: no model was asked"
_RATE_S_MIN = 0.05  # a pace over less is noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One persona's work, of one turn or many. `seconds` is None while it lasts; `tail` holds the reply's last words.

    `tokens` and `seconds` count all turns; `used` is the last tool and what it said.
    """

    persona: str
    model: str = ""
    node: str = ""
    began_s: float = 0.0
    expected_s: float | None = None
    tokens: int = 0
    tokens_s: float = 0.0
    tail: str = ""
    seconds: float | None = None
    first_token_s: float = 0.0
    rehearsed: bool = False
    turns: int = 1
    earlier_tokens: int = 0  # of the turns before this one
    earlier_s: float = 0.0
    used: str = ""
    used_failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One run of the tests. `verdict` is empty while it lasts; `what` says which commit they ran over."""

    what: str = ""
    command: str = ""
    node: str = ""
    began_s: float = 0.0
    progress: str = ""
    verdict: str = ""
    reason: str = ""
    passed: int = 0
    failed: int = 0
    seconds: float | None = None
    sandbox: str = ""
    failures: tuple[tuple[str, str], ...] = ()  # id, message

    @property
    def red_wanted(self) -> bool:
        """Return whether failing is what these tests are for."""
        return self.what.startswith("red")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. `seconds` is None while it lasts."""

    name: str
    title: str
    began_s: float = 0.0
    seconds: float | None = None
    summary: str = ""
    calls: tuple[Call, ...] = ()
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All of a run that its events told so far."""

    run: str = ""
    state: str = "queued"
    message: str = ""
    commit: str = ""
    verdict: str = ""
    began_s: float = 0.0
    steps: tuple[Step, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()  # level, text
    question: Mapping[str, Any] | None = None
    hold: tuple[str, str] = ("", "")  # what it waits for though it is at work, and why
    before: int = 0  # runs that go first, while it is queued
    rehearsed: bool = False

    @property
    def running(self) -> tuple[Step, ...]:
        """Return the steps under way."""
        return tuple(step for step in self.steps if step.seconds is None)


def fold(view: View, kind: str, data: Mapping[str, Any]) -> View:
    """Return the view after one more event."""
    view = replace(view, run=str(data.get("run") or view.run), began_s=view.began_s or number(data, "at_s"))
    match kind:
        case "state":
            return _state(view, data)
        case "step.started":
            step = Step(name=text(data, "step"), title=text(data, "title"), began_s=number(data, "at_s"))
            return _put(view, step)
        case "step.finished":
            step = _step(view, data)
            return _put(view, replace(step, seconds=number(data, "seconds"), summary=text(data, "summary")))
        case "call.started" | "call.tokens" | "call.finished":
            step = _step(view, data)
            call = _call(step, kind, data)
            calls = step.calls if kind == "call.started" and call.turns == 1 else step.calls[:-1]
            view = replace(view, rehearsed=view.rehearsed or call.rehearsed)
            return _put(view, replace(step, calls=(*calls, call)))
        case "call.tool":
            step = _step(view, data)
            if not step.calls:
                return view
            used = " ".join(filter(None, (text(data, "tool"), text(data, "about"))))
            failed = bool(data.get("failed"))
            call = replace(step.calls[-1], used=used, used_failed=failed)
            return _put(view, replace(step, calls=(*step.calls[:-1], call)))
        case "check.started" | "check.progress" | "check.finished":
            step = _step(view, data)
            fresh = kind == "check.started" or not step.checks or step.checks[-1].seconds is not None
            checks = step.checks if fresh else step.checks[:-1]
            return _put(view, replace(step, checks=(*checks, _check(None if fresh else step.checks[-1], kind, data))))
        case "note":
            return replace(view, notes=(*view.notes, (text(data, "level") or "info", text(data, "text")))[-200:])
        case "hold":
            return replace(view, hold=(text(data, "what"), text(data, "text")))
        case "question":
            return replace(view, question=mapping(data.get("question")) or None)
        case "answer":
            return replace(view, question=None)
        case _:
            return view


def _state(view: View, data: Mapping[str, Any]) -> View:
    state = text(data, "state") or view.state
    return replace(
        view,
        state=state,
        message=text(data, "message"),
        commit=text(data, "commit") or view.commit,
        verdict=text(data, "verdict") or view.verdict,
        question=view.question if state == "waiting" else None,
        hold=view.hold if state == "running" else ("", ""),
        before=whole(data, "before"),
    )


def _step(view: View, data: Mapping[str, Any]) -> Step:
    name = text(data, "step")
    for step in reversed(view.steps):
        if step.name == name:
            return step
    return Step(name=name, title=name, began_s=number(data, "at_s"))  # its start was dropped; events may be


def _put(view: View, step: Step) -> View:
    if any(known.name == step.name for known in view.steps):
        return replace(view, steps=tuple(step if known.name == step.name else known for known in view.steps))
    return replace(view, steps=(*view.steps, step))


def _call(step: Step, kind: str, data: Mapping[str, Any]) -> Call:
    begun = _begun(step, data) if kind == "call.started" or not step.calls else step.calls[-1]
    model = text(data, "model") or begun.model
    call = replace(
        begun,
        model=model,
        node=text(data, "node") or begun.node,
        rehearsed=bool(data.get("rehearsed")) or model.startswith("rehearsal/"),
    )
    if kind == "call.started":
        return replace(call, expected_s=number(data, "expected_s") or None)
    if kind == "call.tokens":
        return replace(
            call,
            tokens=call.earlier_tokens + whole(data, "tokens"),
            tokens_s=number(data, "tokens_s"),
            tail=text(data, "tail"),
        )
    seconds, first_s = number(data, "seconds"), number(data, "first_token_ms") / 1000
    tokens = whole(data, "completion_tokens")
    rate = tokens / (seconds - first_s) if seconds - first_s > _RATE_S_MIN else 0.0
    return replace(
        call,
        tokens=call.earlier_tokens + tokens,
        tokens_s=rate,
        seconds=call.earlier_s + seconds,
        first_token_s=first_s,
        tail="",
    )


def _begun(step: Step, data: Mapping[str, Any]) -> Call:
    """Return a call that begins: a new one, or the next turn of the one that the same persona is at."""
    last = step.calls[-1] if step.calls else None
    if last is None or last.persona != text(data, "persona") or last.seconds is None:
        return Call(persona=text(data, "persona"), began_s=number(data, "at_s"))
    return replace(
        last, turns=last.turns + 1, earlier_tokens=last.tokens, earlier_s=last.seconds, seconds=None, expected_s=None
    )


def _check(begun: Check | None, kind: str, data: Mapping[str, Any]) -> Check:
    check = begun or Check(began_s=number(data, "at_s"))
    if kind == "check.started":
        words = " ".join(map(str, items(data.get("command")))) or text(data, "command")
        return replace(check, what=text(data, "what"), command=words, node=text(data, "node"))
    if kind == "check.progress":
        return replace(check, progress=": ".join(filter(None, (text(data, "stage"), text(data, "message")))))
    return replace(
        check,
        what=text(data, "what") or check.what,
        progress="",
        verdict=text(data, "verdict"),
        reason=text(data, "reason"),
        passed=whole(data, "passed"),
        failed=whole(data, "failed"),
        seconds=number(data, "seconds"),
        sandbox=text(data, "sandbox"),
        failures=tuple((text(f, "id"), text(f, "message")) for f in objects(data.get("failures"))),
    )
