"""Traces and metrics of runs, sent by OpenTelemetry to a collector of the person's own; off unless an address is set.

Watches a run's events and decides nothing: which span an event begins or ends, and which of its values may leave. What
leaves is names, numbers and fixed words. Prompts, replies, titles, paths, messages and test output are never read here;
a value that should be a word and is none becomes "other". The names are those of OpenTelemetry's semantic conventions
for generative AI (gen_ai.*), as they stood in release 1.42, buckets included; what they lack is called tandem.*.

Knows no engine and no journal. After a restart a run goes on in a new trace; `tandem.run.id`, on every span, joins them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import urlsplit

from agents.tools.catalogue import FINISH, TOOLS
from tandem import __version__
from tandem.errors import BadConfig
from tandem.events import EventKind, RunEvent
from tandem.types import ENDED, CheckVerdict, Json, RunId, RunState

if TYPE_CHECKING:  # what is imported for real is imported in `_build`, and only where an address is set
    import requests
    from opentelemetry.metrics import Counter, Histogram, Meter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

__all__ = ["Observer", "model_name", "observer"]

EXPORT_S = 2.0  # longest wait for the collector to take a batch
CLOSE_S = 2.0  # longest wait for what is left when the router leaves
BATCH_S = 2.0  # how long finished spans gather
METRICS_S = 30.0
QUEUE = 2048  # finished spans that may wait; a further one pushes out the oldest
RUNS = 512  # runs followed at a time, more than may be queued and active together
OPEN = 64  # steps, calls and checks of one run under way at a time
TOKEN_BUCKETS = [float(4**power) for power in range(14)]
DURATION_BUCKETS = [0.01 * 2**power for power in range(14)]

Kind = Literal["step", "call", "check"]
Value = str | int | float | bool
Key = tuple[str, ...]
log = logging.getLogger(__name__)
_SCOPE = "tandem.router"
_IGNORED: frozenset[EventKind] = frozenset(("call.tokens", "check.progress", "note", "question", "answer"))
_STATES = frozenset(get_args(RunState))
_CHECKED = frozenset(get_args(CheckVerdict))
_HOLDS = frozenset(("waiting-for-worker", "paused-disk-full", "retrying"))
_NAME = re.compile(r"\w[\w.:@+-]{0,79}")
_MODEL = re.compile(r"\w[\w.:@+/-]{0,159}")
_NUMBER_MAX = 2**53  # what a batch can carry without being refused as a whole
_WEIGHTS = (".gguf", ".safetensors", ".bin")


def observer(endpoint: str, *, service: str = "tandem-router") -> Observer | None:
    """Return who sends a router's traces and metrics to `endpoint` by OTLP over HTTP; None where it is empty.

    To be called at the start, before other threads run: see `_own_settings`.

    Raises:
        BadConfig: It is no http(s) address, or OpenTelemetry is not installed.
    """
    if not endpoint:
        return None
    base = _base(endpoint)
    try:
        with _own_settings():
            return Observer(_build(base, service))
    except ImportError as error:
        raise BadConfig(
            f"traces need OpenTelemetry, which is not installed ({error.name}); pip install 'tandem[otel]', or leave "
            "the collector's address empty"
        ) from error


class Observer:
    """Turns the events of all runs into spans and metrics. Never raises and never waits for the collector."""

    def __init__(self, sdk: _Sdk) -> None:
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
        self._sdk.close(CLOSE_S)

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
        state, verdict = _word(event.data.get("state"), _STATES), event.data.get("verdict")
        if state not in ENDED:
            if event.run_id in self._over:  # it is resumed
                self._over.remove(event.run_id)
            run = self._run(event)
            if run and run.state != state:
                run.state = state
                run.root.add_event("tandem.state", {"tandem.run.state": state}, _ns(event.at_s))
            return
        run = self._runs.pop(event.run_id, None)
        if run is None:  # somebody looks at a run that ended before this router began
            return
        self._over.append(event.run_id)
        run.state = state
        if verdict:
            run.root.set_attribute("tandem.run.verdict", _word(verdict, _CHECKED | {"unproven"}))
        self._leave(run, event.at_s)
        self._sdk.runs.add(1, {"tandem.run.state": state})

    def _run(self, event: RunEvent, ago_s: float = 0.0) -> _Run | None:
        """Return the run an event belongs to, begun `ago_s` before it where it is not known; None where it is over."""
        if event.run_id in self._runs:
            self._runs.move_to_end(event.run_id)
            return self._runs[event.run_id]
        if event.run_id in self._over:
            return None
        about = {"tandem.run.id": _name(event.run_id)}
        root = self._sdk.start("tandem.run", about, event.at_s - ago_s, None)
        run = self._runs[event.run_id] = _Run(about=about, root=root)
        while len(self._runs) > RUNS:
            self._leave(self._runs.popitem(last=False)[1], event.at_s)
        return run

    def _begin(self, kind: Kind, event: RunEvent) -> None:
        run, key = self._run(event), _key(kind, event.data)
        if run is None:
            return
        if key in run.open:  # asked again, because the first try led to nothing
            self._abandon(run.open.pop(key), event.at_s)
        run.open[key] = self._open(run, kind, event.data, event.at_s)
        while len(run.open) > OPEN:
            self._abandon(run.open.popitem(last=False)[1], event.at_s)

    def _open(self, run: _Run, kind: Kind, data: Mapping[str, Json], at_s: float) -> _Open:
        about = _ABOUT[kind](data)
        step = run.open.get(("step", _name(data.get("step")))) if kind != "step" else None
        name = f"chat {about['gen_ai.request.model']}" if kind == "call" else f"tandem.{kind}"
        parent = step.span if step else run.root
        span = self._sdk.start(name, {**run.about, **about}, at_s, parent, outward=kind == "call")
        return _Open(kind=kind, span=span, began_s=at_s, about=about)

    def _finish(self, kind: Kind, event: RunEvent) -> None:
        seconds = max(_number(event.data.get("seconds")) or 0.0, 0.0)
        run, key = self._run(event, seconds), _key(kind, event.data)
        if run is None:
            return
        work = run.open.pop(key, None) or self._open(run, kind, event.data, event.at_s - seconds)
        if kind == "step":
            for inner in [inner for inner in run.open if inner[1] == key[1]]:
                self._abandon(run.open.pop(inner), event.at_s)
        about = _ABOUT[kind](event.data)
        work.span.set_attributes(about)
        work.span.end(_ns(max(event.at_s, work.began_s)))
        if kind == "call":
            self._sdk.count_call(about, seconds)
        elif kind == "check":
            self._sdk.checks.add(1, {"tandem.check.verdict": about.get("tandem.check.verdict", "other")})

    def _tool(self, event: RunEvent) -> None:
        """Note that a tool was used; the event says when and not how long, so the span has no length."""
        run = self._run(event)
        if run is None:
            return
        about = _tool_about(event.data)
        step = run.open.get(("step", _name(event.data.get("step"))))
        name = f"execute_tool {about['gen_ai.tool.name']}"
        span = self._sdk.start(name, {**run.about, **about}, event.at_s, step.span if step else run.root)
        if "error.type" in about:
            self._sdk.fail(span)
        span.end(_ns(event.at_s))

    def _hold(self, event: RunEvent) -> None:
        run, what = self._runs.get(event.run_id), event.data.get("what")
        if run:
            hold = _word(what, _HOLDS) if what else "none"
            run.root.add_event("tandem.hold", {"tandem.hold": hold}, _ns(event.at_s))

    def _abandon(self, work: _Open, at_s: float) -> None:
        """End what nothing was heard of again; a call like that has failed."""
        work.span.set_attribute("tandem.unfinished", True)
        if work.kind == "call":
            failed = {**work.about, "error.type": "unfinished"}
            work.span.set_attribute("error.type", "unfinished")
            self._sdk.fail(work.span)
            self._sdk.count_call(failed, max(at_s - work.began_s, 0.0))
        work.span.end(_ns(max(at_s, work.began_s)))

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
        run.root.end(_ns(at_s))


def model_name(model: str) -> str:
    """Return a model's name as it may leave; servers that name a model by its file are left with the last part of it."""
    backend, _, rest = model.partition("/")
    if model.startswith(("/", "~", ".")) or (not rest and "\\" in model):
        backend, rest = "", model
    if rest.startswith(("/", "~", ".")) or "\\" in rest or rest.lower().endswith(_WEIGHTS):
        last = re.split(r"[\\/]", rest.rstrip("\\/"))[-1]
        model = f"{backend}/{last}" if backend else last
    return model if _MODEL.fullmatch(model) else "other"


def _step_about(data: Mapping[str, Json]) -> dict[str, Value]:
    return {"tandem.step": _name(data.get("step"))}


def _call_about(data: Mapping[str, Json]) -> dict[str, Value]:
    """Return what may be told of a model call; a name without a backend means Ollama (`worker/backends/base.py`)."""
    model = str(data.get("model") or "")
    backend = data.get("backend") or (model.partition("/")[0] if "/" in model else "ollama")
    about: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _name(backend),
        "gen_ai.request.model": model_name(model),
        "gen_ai.agent.name": _name(data.get("persona")),
        "tandem.step": _name(data.get("step")),
    }
    if data.get("response_model"):
        about["gen_ai.response.model"] = model_name(str(data["response_model"]))
    if data.get("node"):
        about["tandem.node"] = _name(data["node"])
    if isinstance(data.get("rehearsed"), bool):
        about["tandem.rehearsed"] = bool(data["rehearsed"])
    counts = {"gen_ai.usage.input_tokens": "prompt_tokens", "gen_ai.usage.output_tokens": "completion_tokens"}
    for attribute, key in counts.items():
        if count := _number(data.get(key)):  # 0 is a server that does not count
            about[attribute] = int(count)
    if first_ms := _number(data.get("first_token_ms")):
        about["gen_ai.response.time_to_first_chunk"] = first_ms / 1000
    return about


def _check_about(data: Mapping[str, Json]) -> dict[str, Value]:
    about: dict[str, Value] = {"tandem.step": _name(data.get("step")), "tandem.check.what": _what(data)}
    if "verdict" in data:
        about["tandem.check.verdict"] = _word(data["verdict"], _CHECKED)
        about["tandem.check.sandbox"] = _name(data.get("sandbox"))
    for key in ("passed", "failed", "seconds"):
        if (number := _number(data.get(key))) is not None:
            about[f"tandem.check.{key}"] = number if key == "seconds" else int(number)
    return about


def _tool_about(data: Mapping[str, Json]) -> dict[str, Value]:
    about: dict[str, Value] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": _word(data.get("tool"), {*TOOLS, FINISH}),  # the model says it, and may say anything
        "gen_ai.tool.type": "function",
        "gen_ai.agent.name": _name(data.get("persona")),
        "tandem.step": _name(data.get("step")),
    }
    return {**about, "error.type": "tool_failed"} if data.get("failed") else about


_ABOUT: Mapping[Kind, Callable[[Mapping[str, Json]], dict[str, Value]]] = {
    "step": _step_about,
    "call": _call_about,
    "check": _check_about,
}


def _key(kind: Kind, data: Mapping[str, Json]) -> Key:
    inner = {"step": "", "call": str(data.get("persona")), "check": str(data.get("what"))}[kind]
    return (kind, _name(data.get("step")), inner) if inner else (kind, _name(data.get("step")))


def _what(data: Mapping[str, Json]) -> str:
    return _name(str(data.get("what") or "").partition(".")[0])  # after the dot comes the commit


def _name(value: object) -> str:
    return value if isinstance(value, str) and _NAME.fullmatch(value) else "other"


def _word(value: object, known: frozenset[str] | set[str]) -> str:
    return value if isinstance(value, str) and value in known else "other"


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -_NUMBER_MAX < value < _NUMBER_MAX else None  # False for NaN, too


def _ns(at_s: float) -> int:
    return max(int(at_s * 1e9), 0)


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


def _base(endpoint: str) -> str:
    """Return a collector's address, to which each kind of data adds its path.

    Raises:
        BadConfig: It is no plain http(s) address; one with a password in it is not shown.
    """
    if "@" in endpoint:
        raise BadConfig("the collector's address carries a name or password; leave them out of it")
    try:
        parts = urlsplit(endpoint)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or "?" in endpoint or "#" in endpoint:
        raise BadConfig(
            f"the collector's address {endpoint!r} is no http(s) address; write it like http://127.0.0.1:4318"
        )
    return endpoint.rstrip("/")


@contextlib.contextmanager
def _own_settings() -> Generator[None]:
    """Hide OpenTelemetry's variables while its parts are built, the only time they read them.

    They could send the data elsewhere, add headers, resources and measurements, or switch it off, as `router/__init__`
    does for the libraries of others. Arguments cannot overrule all of them: headers are merged, and the switch has none.
    """
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("OTEL_")}
    try:
        yield
    finally:
        os.environ.update(hidden)


class _Collector:
    """Whether the collector takes what is sent, said once each time that changes."""

    def __init__(self) -> None:
        self.given_up = False  # nothing is sent any more
        self._answers = True
        self._lock = threading.Lock()

    def told(self, why: str) -> None:
        """Take note of one attempt; `why` is empty where it went well."""
        with self._lock:
            changed, self._answers = self._answers is bool(why), not why
        if changed and why:
            log.warning("collector did not take traces or metrics", extra={"why": why})
        elif changed:
            log.info("collector took traces or metrics again")


class _Sdk:
    """The parts of OpenTelemetry that are used, built for one collector and known to nobody else."""

    def __init__(self, traces: TracerProvider, metrics: MeterProvider, collector: _Collector) -> None:
        self._traces, self._metrics, self._collector = traces, metrics, collector
        self._tracer: Tracer = traces.get_tracer(_SCOPE, __version__)
        meter: Meter = metrics.get_meter(_SCOPE, __version__)
        self.runs: Counter = meter.create_counter("tandem.runs", "{run}", "Runs that ended.")
        self.checks: Counter = meter.create_counter("tandem.checks", "{check}", "Checks that were made.")
        self._tokens: Histogram = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Tokens that went into a call and came out of it.",
            explicit_bucket_boundaries_advisory=TOKEN_BUCKETS,
        )
        self._durations: Histogram = meter.create_histogram(
            "gen_ai.client.operation.duration",
            "s",
            "How long a call took.",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS,
        )

    def start(
        self, name: str, about: Mapping[str, Value], at_s: float, parent: Span | None, *, outward: bool = False
    ) -> Span:
        """Begin a span; `outward` where it is a call of another program."""
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind, set_span_in_context

        context = set_span_in_context(parent, Context()) if parent else Context()  # never the thread's own context
        kind = SpanKind.CLIENT if outward else SpanKind.INTERNAL
        return self._tracer.start_span(name, context, kind, attributes=about, start_time=_ns(at_s))

    def fail(self, span: Span) -> None:
        """Mark a span as failed, without words: a message may quote anything."""
        from opentelemetry.trace import Status, StatusCode

        span.set_status(Status(StatusCode.ERROR))

    def count_call(self, about: Mapping[str, Value], seconds: float) -> None:
        """Measure a call that ended."""
        kept = ("operation.name", "provider.name", "request.model", "response.model")
        labels = {name: about[name] for name in (f"gen_ai.{part}" for part in kept) if name in about}
        for which in ("input", "output"):
            count = about.get(f"gen_ai.usage.{which}_tokens")
            if isinstance(count, int):
                self._tokens.record(count, {**labels, "gen_ai.token.type": which})
        if "error.type" in about:
            labels["error.type"] = about["error.type"]
        self._durations.record(seconds, labels)

    def close(self, limit_s: float) -> None:
        """Send what is left, for `limit_s` at most; what is not gone by then is lost."""

        def flush(shutdown: Callable[[], object]) -> None:
            with contextlib.suppress(Exception):
                shutdown()

        until = time.monotonic() + limit_s
        ends: list[Callable[[], object]] = [self._traces.shutdown, self._metrics.shutdown]
        threads = [threading.Thread(target=flush, args=(end,), daemon=True) for end in ends]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(until - time.monotonic(), 0.0))
        self._collector.given_up = True


def _build(base: str, service: str) -> _Sdk:
    from opentelemetry.sdk.resources import Resource

    # Their loggers tell of every batch that fails; `_Collector` says the same once.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    resource = Resource({"service.name": service, "service.version": __version__})  # `create` would ask detectors
    collector = _Collector()
    traces = _traces(base, resource, _session(collector))
    return _Sdk(traces, _metrics(base, resource, _session(collector)), collector)


def _session(collector: _Collector) -> requests.Session:
    """Return a session that goes straight to the collector: no proxy, no redirection, no header but those it needs."""
    import requests
    from requests.structures import CaseInsensitiveDict

    class Straight(requests.Session):
        def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
            if collector.given_up:
                raise requests.RequestException("the router leaves")  # no connection error, so that nobody tries again
            size = request.headers.get("Content-Length", "0")
            kind = {"Content-Type": "application/x-protobuf", "Content-Length": size}
            request.headers = CaseInsensitiveDict({**kind, "User-Agent": f"tandem/{__version__}"})
            try:
                response = super().send(request, **{**kwargs, "allow_redirects": False})
            except Exception as error:
                collector.told(type(error).__name__)
                raise
            collector.told("" if response.status_code < 300 else f"status {response.status_code}")
            return response

    session = Straight()
    session.trust_env = False  # else proxies, certificates and ~/.netrc come from the environment
    return session


def _traces(base: str, resource: Resource, session: requests.Session) -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    exporter = OTLPSpanExporter(
        f"{base}/v1/traces", timeout=EXPORT_S, compression=Compression.NoCompression, session=session
    )
    limits = SpanLimits(max_events=128)
    provider = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False, span_limits=limits)
    provider.add_span_processor(
        BatchSpanProcessor(
            exporter,
            max_queue_size=QUEUE,
            schedule_delay_millis=BATCH_S * 1000,
            max_export_batch_size=QUEUE // 4,
        )
    )
    return provider


def _metrics(base: str, resource: Resource, session: requests.Session) -> MeterProvider:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    exporter = OTLPMetricExporter(
        f"{base}/v1/metrics", timeout=EXPORT_S, compression=Compression.NoCompression, session=session
    )
    reader = PeriodicExportingMetricReader(exporter, METRICS_S * 1000, EXPORT_S * 1000)
    return MeterProvider([reader], resource, AlwaysOffExemplarFilter(), shutdown_on_exit=False)
