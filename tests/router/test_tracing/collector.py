"""A collector of traces and metrics on localhost, which keeps what it was sent, and a run told to an observer."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from router.tracing.spans import Observer
from tandem.events import EventKind, RunEvent
from tandem.types import RunId

RUN = RunId("1120-abcdefg")


class Collector(ThreadingHTTPServer):
    """Receives OTLP over HTTP; answers `status`, or nothing at all while `hangs`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.hangs, self.elsewhere = 200, False, ""
        self.requests: list[tuple[str, Mapping[str, str], bytes]] = []
        self.arrived, self.leaving = threading.Condition(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def wait_for(self, path: str, count: int = 1) -> None:
        with self.arrived:
            found = self.arrived.wait_for(lambda: sum(p == path for p, _, _ in self.requests) >= count, timeout=10)
        assert found, f"no {count} requests for {path}"

    def stop(self) -> None:
        self.leaving.set()
        self.shutdown()
        self.server_close()

    def spans(self) -> list[Span]:
        sent = [ExportTraceServiceRequest.FromString(body) for path, _, body in self.requests if path == "/v1/traces"]
        return [s for one in sent for r in one.resource_spans for scope in r.scope_spans for s in scope.spans]

    def metrics(self) -> dict[str, Any]:
        """Return the newest state of each metric, by name."""
        sent = [ExportMetricsServiceRequest.FromString(b) for path, _, b in self.requests if path == "/v1/metrics"]
        return {m.name: m for one in sent for r in one.resource_metrics for s in r.scope_metrics for m in s.metrics}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.arrived:
            self.server.requests.append((self.path, dict(self.headers.items()), body))
            self.server.arrived.notify_all()
        if self.server.hangs:
            self.server.leaving.wait(10)
        self.send_response(self.server.status)
        if self.server.elsewhere:
            self.send_header("Location", self.server.elsewhere)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Story:
    """Tells an observer of a run, one second of its clock an event."""

    def __init__(self, watch: Observer | None, run: RunId = RUN) -> None:
        assert watch is not None
        self.watch, self.run, self.at_s, self.seq = watch, run, 1_795_000_000.0, 0

    def __call__(self, kind: EventKind, **data: Any) -> Story:
        self.seq, self.at_s = self.seq + 1, self.at_s + 1
        self.watch(RunEvent(seq=self.seq, run_id=self.run, kind=kind, at_s=self.at_s, data=data))
        return self

    def close(self) -> None:
        self.watch.close()


CALL = {"step": "code.1", "persona": "coder", "model": "ollama/qwen2.5:7b"}
ANSWER = {
    **CALL,
    "node": "studio",
    "backend": "ollama",
    "rehearsed": False,
    "seconds": 0.75,
    "first_token_ms": 250.0,
    "prompt_tokens": 397,
    "completion_tokens": 30,
    "response_model": "qwen2.5:7b-instruct",
}
CHECK = {"step": "code.1", "what": "head.0123abcd"}
REPORT = {**CHECK, "verdict": "failed", "passed": 3, "failed": 1, "seconds": 0.5, "sandbox": "bubblewrap"}


def a_run(told: Story) -> Story:
    """Tell of a whole run: one step with a call, a tool that failed and a check."""
    told("state", state="queued")("state", state="running")("step.started", step="code.1", title="code")
    told("call.started", **CALL)("call.tokens", **CALL, tokens=2, tail="x")("call.finished", **ANSWER)
    told("call.tool", step="code.1", persona="coder", number=1, tool="read_file", about="a.py", failed=True, said="no")
    told("check.started", **CHECK, command=["pytest"])("check.finished", **REPORT)
    told("step.finished", step="code.1", summary="coded", seconds=6.0)
    return told("state", state="merged", message="m", commit="c" * 40, verdict="passed")


def plain(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}


def by_name(spans: list[Span]) -> dict[str, Span]:
    assert len({span.name for span in spans}) == len(spans), [span.name for span in spans]
    return {span.name: span for span in spans}
