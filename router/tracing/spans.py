"""A run's events as a tree of spans, and what is counted of them.

Decides which event begins a span and which one ends it, and what becomes of those that nothing ends. What is told of
them is `attributes`' decision. Its memory is bounded and may be lost: an end whose beginning nobody here saw gets a span
of the seconds it says it took, and what is still open when the router leaves ends there and says so.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from router.tracing import attributes
from router.tracing.attributes import Key, Kind, Value
from router.tracing.otlp import Sdk, nanoseconds
from tandem.events import EventKind, RunEvent
from tandem.types import ENDED, Json, RunId

if TYPE_CHECKING:
    from opentelemetry.trace import Span

RUNS = 512  # runs followed at a time, more than may be queued and active together
OPEN = 64  # steps, calls and checks of one run under way at a time

log = logging.getLogger(__name__)
_IGNORED: frozenset[EventKind] = frozenset(("call.tokens", "check.progress", "note", "question", "answer"))


class Observer:
    """Turns the events of all runs into spans and metrics. Never raises and never waits for the collector."""

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk
        self._runs: OrderedDict[RunId, _Run] = OrderedDict()
        self._over: deque[RunId] = deque(maxlen=RUNS)  # what still comes of these begins no trace of its own
        self._lock = threading.Lock()
        self._closed = False
        self._complained = False

    def __call__(self, event: RunEvent) -> None:
        """Take note of an event."""
        if event.kind in _IGNORED:
            return
        try:
            with self._lock:
                if not self._closed:
                    self._take(event)
        except Exception as error:  # a run must not end because nobody could watch it
            if not self._complained:
                self._complained = True
                log.warning("event was not traced", extra={"kind": event.kind, "why": type(error).__name__})

    def close(self) -> None:
        """Send what there is, for 2 s at most. Spans under way end here and say so."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with contextlib.suppress(Exception):
                for run in self._runs.values():
                    self._leave(run, time.time())
            self._runs.clear()
        self._sdk.close()

    def _take(self, event: RunEvent) -> None:
        match event.kind:
            case "state":
                self._state(event)
            case "step.started":
                self._begin("step", event)
            case "call.started":
                self._begin("call", event)
            case "check.started":
                self._begin("check", event)
            case "step.finished":
                self._finish("step", event)
            case "call.finished":
                self._finish("call", event)
            case "check.finished":
                self._finish("check", event)
            case "call.tool":
                self._tool(event)
            case "hold":
                self._hold(event)
            case _:  # one that this version does not know
                pass

    def _state(self, event: RunEvent) -> None:
        state, verdict = attributes.state_of(event.data.get("state")), event.data.get("verdict")
        if state not in ENDED:
            if event.run_id in self._over:  # it is resumed
                self._over.remove(event.run_id)
            run = self._run(event)
            if run and run.state != state:
                run.state = state
                run.root.add_event("tandem.state", {"tandem.run.state": state}, nanoseconds(event.at_s))
            return
        run = self._runs.pop(event.run_id, None)
        if run is None:  # somebody looks at a run that ended before this router began
            return
        self._over.append(event.run_id)
        run.state = state
        if verdict:
            run.root.set_attribute("tandem.run.verdict", attributes.verdict_of(verdict))
        self._leave(run, event.at_s)
        self._sdk.runs.add(1, {"tandem.run.state": state})

    def _run(self, event: RunEvent, ago_s: float = 0.0) -> _Run | None:
        """Return the run an event belongs to, begun `ago_s` before it where it is not known; None where it is over."""
        if event.run_id in self._runs:
            self._runs.move_to_end(event.run_id)
            return self._runs[event.run_id]
        if event.run_id in self._over:
            return None
        about = {"tandem.run.id": attributes.name_of(event.run_id)}
        root = self._sdk.start("tandem.run", about, event.at_s - ago_s, None)
        run = self._runs[event.run_id] = _Run(about=about, root=root)
        while len(self._runs) > RUNS:
            self._leave(self._runs.popitem(last=False)[1], event.at_s)
        return run

    def _begin(self, kind: Kind, event: RunEvent) -> None:
        run, key = self._run(event), attributes.key_of(kind, event.data)
        if run is None:
            return
        if key in run.open:  # asked again, because the first try led to nothing
            self._abandon(run.open.pop(key), event.at_s)
        run.open[key] = self._open(run, kind, event.data, event.at_s)
        while len(run.open) > OPEN:
            self._abandon(run.open.popitem(last=False)[1], event.at_s)

    def _open(self, run: _Run, kind: Kind, data: Mapping[str, Json], at_s: float) -> _Open:
        about = attributes.of(kind, data)
        step = run.open.get(("step", attributes.name_of(data.get("step")))) if kind != "step" else None
        name = f"chat {about['gen_ai.request.model']}" if kind == "call" else f"tandem.{kind}"
        parent = step.span if step else run.root
        span = self._sdk.start(name, {**run.about, **about}, at_s, parent, outward=kind == "call")
        return _Open(kind=kind, span=span, began_s=at_s, about=about)

    def _finish(self, kind: Kind, event: RunEvent) -> None:
        seconds = max(attributes.number_of(event.data.get("seconds")) or 0.0, 0.0)
        run, key = self._run(event, seconds), attributes.key_of(kind, event.data)
        if run is None:
            return
        work = run.open.pop(key, None) or self._open(run, kind, event.data, event.at_s - seconds)
        if kind == "step":
            for inner in [inner for inner in run.open if inner[1] == key[1]]:
                self._abandon(run.open.pop(inner), event.at_s)
        about = attributes.of(kind, event.data)
        work.span.set_attributes(about)
        work.span.end(nanoseconds(max(event.at_s, work.began_s)))
        if kind == "call":
            self._sdk.count_call(about, seconds)
        elif kind == "check":
            self._sdk.checks.add(1, {"tandem.check.verdict": about.get("tandem.check.verdict", "other")})

    def _tool(self, event: RunEvent) -> None:
        """Note that a tool was used; the event says when and not how long, so the span has no length."""
        run = self._run(event)
        if run is None:
            return
        about = attributes.of_tool(event.data)
        step = run.open.get(("step", attributes.name_of(event.data.get("step"))))
        name = f"execute_tool {about['gen_ai.tool.name']}"
        span = self._sdk.start(name, {**run.about, **about}, event.at_s, step.span if step else run.root)
        if "error.type" in about:
            self._sdk.fail(span)
        span.end(nanoseconds(event.at_s))

    def _hold(self, event: RunEvent) -> None:
        run, what = self._runs.get(event.run_id), event.data.get("what")
        if run:
            hold = attributes.hold_of(what)
            run.root.add_event("tandem.hold", {"tandem.hold": hold}, nanoseconds(event.at_s))

    def _abandon(self, work: _Open, at_s: float) -> None:
        """End what nothing was heard of again; a call like that has failed."""
        work.span.set_attribute("tandem.unfinished", True)
        if work.kind == "call":
            failed = {**work.about, "error.type": "unfinished"}
            work.span.set_attribute("error.type", "unfinished")
            self._sdk.fail(work.span)
            self._sdk.count_call(failed, max(at_s - work.began_s, 0.0))
        work.span.end(nanoseconds(max(at_s, work.began_s)))

    def _leave(self, run: _Run, at_s: float) -> None:
        """End a run's trace, and everything of it that is still open."""
        while run.open:
            self._abandon(run.open.popitem()[1], at_s)
        if run.state:
            run.root.set_attribute("tandem.run.state", run.state)
        if run.state not in ENDED:
            run.root.set_attribute("tandem.unfinished", True)
        if run.state == "failed":
            run.root.set_attribute("error.type", "failed")
            self._sdk.fail(run.root)
        run.root.end(nanoseconds(at_s))


@dataclass(slots=True, kw_only=True)
class _Open:
    kind: Kind
    span: Span
    began_s: float
    about: Mapping[str, Value]


@dataclass(slots=True, kw_only=True)
class _Run:
    about: Mapping[str, Value]
    root: Span
    state: str = ""
    open: OrderedDict[Key, _Open] = field(default_factory=OrderedDict[Key, _Open])
