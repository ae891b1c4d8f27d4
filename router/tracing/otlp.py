"""OpenTelemetry's parts, built for one collector: providers, exporters and the session that reaches it.

Knows nothing of runs. Whatever the environment says, the data goes to the one address that was given, with no header,
resource or measurement but ours; the global providers are left alone. Imported for real only where an address is set.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from router.tracing.attributes import Value
from tandem import __version__
from tandem.errors import BadConfig

if TYPE_CHECKING:
    import requests
    from opentelemetry.metrics import Counter, Histogram, Meter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

EXPORT_S = 2.0  # longest wait for the collector to take a batch
CLOSE_S = 2.0  # longest wait for what is left when the router leaves
BATCH_S = 2.0  # how long finished spans gather
METRICS_S = 30.0
QUEUE = 2048  # finished spans that may wait; a further one pushes out the oldest
TOKEN_BUCKETS = [float(4**power) for power in range(14)]
DURATION_BUCKETS = [0.01 * 2**power for power in range(14)]

log = logging.getLogger(__name__)
_SCOPE = "tandem.router"


def base_of(endpoint: str) -> str:
    """Return a collector's address, to which each kind of data adds its path.

    Raises:
        BadConfig: It is no plain http(s) address; one with a password in it is not shown.
    """
    if "@" in endpoint:
        raise BadConfig("telemetry.endpoint carries a name or password; leave them out of it")
    try:
        parts = urlsplit(endpoint)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or "?" in endpoint or "#" in endpoint:
        raise BadConfig(f"telemetry.endpoint {endpoint!r} is no http(s) address; write it like http://127.0.0.1:4318")
    return endpoint.rstrip("/")


@contextlib.contextmanager
def own_settings() -> Generator[None]:
    """Hide OpenTelemetry's variables while its parts are built, the only time they read them.

    They could send the data elsewhere, add headers, resources and measurements, or switch it off, as `router/__init__`
    does for the libraries of others. Arguments cannot overrule all of them: headers are merged, and the switch has none.
    """
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("OTEL_")}
    try:
        yield
    finally:
        os.environ.update(hidden)


class Sdk:
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
        return self._tracer.start_span(name, context, kind, attributes=about, start_time=nanoseconds(at_s))

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

    def close(self) -> None:
        """Send what is left, for `CLOSE_S` at most; what is not gone by then is lost."""

        def flush(shutdown: Callable[[], object]) -> None:
            with contextlib.suppress(Exception):
                shutdown()

        until = time.monotonic() + CLOSE_S
        ends: list[Callable[[], object]] = [self._traces.shutdown, self._metrics.shutdown]
        threads = [threading.Thread(target=flush, args=(end,), daemon=True) for end in ends]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(until - time.monotonic(), 0.0))
        self._collector.given_up = True


def nanoseconds(at_s: float) -> int:
    """Return a wall time as OpenTelemetry counts it."""
    return max(int(at_s * 1e9), 0)


def build(base: str, service: str) -> Sdk:
    """Return the parts for the collector at `base`; begins their threads."""
    from opentelemetry.sdk.resources import Resource

    # Their loggers tell of every batch that fails; `_Collector` says the same once.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    resource = Resource({"service.name": service, "service.version": __version__})  # `create` would ask detectors
    collector = _Collector()
    traces = _traces(base, resource, _session(collector))
    return Sdk(traces, _metrics(base, resource, _session(collector)), collector)


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
