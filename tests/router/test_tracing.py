"""Traces and metrics: what leaves, what never does, and that a collector in trouble is no trouble for a run."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import metrics as otel_metrics
from opentelemetry import trace as otel_trace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from router import tracing
from router.tracing import Observer, model_name, observer
from tandem.errors import BadConfig
from tandem.events import EventKind, RunEvent
from tandem.types import RunId

RUN = RunId("1120-abcdefg")
REPOSITORY = Path(__file__).parents[2]


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


@pytest.fixture(name="collector")
def _collector() -> Iterator[Collector]:
    server = Collector()
    yield server
    server.stop()


@pytest.fixture(name="other")
def _other() -> Iterator[Collector]:
    server = Collector()
    yield server
    server.stop()


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


def test_a_run_becomes_a_tree_of_spans(collector: Collector) -> None:
    a_run(Story(observer(collector.url))).close()
    spans = by_name(collector.spans())
    names = {span.span_id: name for name, span in spans.items()}
    assert {name: names.get(span.parent_span_id, "") for name, span in spans.items()} == {
        "tandem.run": "",
        "tandem.step": "tandem.run",
        "chat ollama/qwen2.5:7b": "tandem.step",
        "execute_tool read_file": "tandem.step",
        "tandem.check": "tandem.step",
    }
    assert len({span.trace_id for span in spans.values()}) == 1
    lengths = {n: round((s.end_time_unix_nano - s.start_time_unix_nano) / 1e9, 3) for n, s in spans.items()}
    assert lengths == {
        "tandem.run": 10,
        "tandem.step": 7,
        "chat ollama/qwen2.5:7b": 2,
        "execute_tool read_file": 0,
        "tandem.check": 1,
    }


def test_spans_carry_the_conventions_names(collector: Collector) -> None:
    a_run(Story(observer(collector.url))).close()
    spans = by_name(collector.spans())
    call, tool = spans["chat ollama/qwen2.5:7b"], spans["execute_tool read_file"]
    assert plain(call.attributes) == {
        "tandem.run.id": RUN,
        "tandem.step": "code.1",
        "tandem.node": "studio",
        "tandem.rehearsed": False,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "ollama",
        "gen_ai.request.model": "ollama/qwen2.5:7b",
        "gen_ai.response.model": "qwen2.5:7b-instruct",
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.input_tokens": 397,
        "gen_ai.usage.output_tokens": 30,
        "gen_ai.agent.name": "coder",
    }
    assert (call.kind, call.status.code) == (Span.SPAN_KIND_CLIENT, Status.STATUS_CODE_UNSET)
    assert plain(tool.attributes) == {
        "tandem.run.id": RUN,
        "tandem.step": "code.1",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "read_file",
        "gen_ai.tool.type": "function",
        "gen_ai.agent.name": "coder",
        "error.type": "tool_failed",
    }
    assert tool.status.code == Status.STATUS_CODE_ERROR
    assert plain(spans["tandem.check"].attributes) == {
        "tandem.run.id": RUN,
        "tandem.step": "code.1",
        "tandem.check.what": "head",
        "tandem.check.verdict": "failed",
        "tandem.check.sandbox": "bubblewrap",
        "tandem.check.passed": 3,
        "tandem.check.failed": 1,
        "tandem.check.seconds": 0.5,
    }
    root = spans["tandem.run"]
    told = {"tandem.run.id": RUN, "tandem.run.state": "merged", "tandem.run.verdict": "passed"}
    assert plain(root.attributes) == told
    assert [plain(event.attributes)["tandem.run.state"] for event in root.events] == ["queued", "running"]


def test_metrics_have_the_conventions_names_and_buckets(collector: Collector) -> None:
    a_run(Story(observer(collector.url))).close()
    found = collector.metrics()
    counted = {name: {tuple(plain(p.attributes).items()): p.as_int for p in found[name].sum.data_points} for name in
               ("tandem.runs", "tandem.checks")}  # fmt: skip
    assert counted == {
        "tandem.runs": {(("tandem.run.state", "merged"),): 1},
        "tandem.checks": {(("tandem.check.verdict", "failed"),): 1},
    }
    tokens = found["gen_ai.client.token.usage"]
    assert {plain(p.attributes)["gen_ai.token.type"]: p.sum for p in tokens.histogram.data_points} == {
        "input": 397,
        "output": 30,
    }
    (took,) = found["gen_ai.client.operation.duration"].histogram.data_points
    assert plain(took.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "ollama",
        "gen_ai.request.model": "ollama/qwen2.5:7b",
        "gen_ai.response.model": "qwen2.5:7b-instruct",
    }
    assert (took.count, took.sum, found["gen_ai.client.operation.duration"].unit, tokens.unit) == (
        1,
        0.75,
        "s",
        "{token}",
    )
    bounds = list(tokens.histogram.data_points[0].explicit_bounds)
    assert (bounds[0], bounds[-1], len(bounds)) == (1, 67108864, 14)
    assert all(right == 4 * left for left, right in pairwise(bounds))
    assert [round(bound, 2) for bound in took.explicit_bounds] == [
        0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
    ]  # fmt: skip


def test_a_failed_run_is_an_error_without_its_words(collector: Collector) -> None:
    told = Story(observer(collector.url))("state", state="running")("step.started", step="code.1")
    told("call.started", **CALL)("state", state="failed", message="no /home/me/secret").close()
    spans = by_name(collector.spans())
    assert {name: span.status.code for name, span in spans.items()} == {
        "tandem.run": Status.STATUS_CODE_ERROR,
        "tandem.step": Status.STATUS_CODE_UNSET,
        "chat ollama/qwen2.5:7b": Status.STATUS_CODE_ERROR,
    }
    assert {span.status.message for span in spans.values()} == {""}
    assert plain(spans["chat ollama/qwen2.5:7b"].attributes)["error.type"] == "unfinished"
    (took,) = collector.metrics()["gen_ai.client.operation.duration"].histogram.data_points
    assert (plain(took.attributes)["error.type"], took.sum) == ("unfinished", 1)


def test_a_call_that_is_asked_again_is_two_calls(collector: Collector) -> None:
    told = Story(observer(collector.url))("state", state="running")("step.started", step="code.1")
    told("call.started", **CALL)("call.started", **CALL)("call.finished", **ANSWER).close()
    calls = [span for span in collector.spans() if span.name.startswith("chat")]
    assert sorted(span.status.code for span in calls) == [Status.STATUS_CODE_UNSET, Status.STATUS_CODE_ERROR]


def test_a_step_that_ends_ends_what_was_left_open_in_it(collector: Collector) -> None:
    told = Story(observer(collector.url))("state", state="running")("step.started", step="code.1")
    told("step.started", step="code.2")("call.started", **CALL)("check.started", **{**CHECK, "step": "code.2"})
    told("step.finished", step="code.1", seconds=3.0)("check.finished", **{**REPORT, "step": "code.2"})
    told("state", state="merged").close()
    left = [span.name for span in collector.spans() if "tandem.unfinished" in plain(span.attributes)]
    assert left == ["chat ollama/qwen2.5:7b", "tandem.step"]  # the second step was never finished either
    (call,) = [span for span in collector.spans() if span.name.startswith("chat")]
    assert round((call.end_time_unix_nano - call.start_time_unix_nano) / 1e9, 3) == 2


def test_a_span_of_somebody_else_is_no_parent(collector: Collector) -> None:
    foreign = otel_trace.NonRecordingSpan(otel_trace.SpanContext(1, 2, is_remote=True))
    with otel_trace.use_span(foreign):
        a_run(Story(observer(collector.url))).close()
    assert by_name(collector.spans())["tandem.run"].parent_span_id == b""


def test_what_began_before_the_router_gets_a_span_of_the_seconds_it_took(collector: Collector) -> None:
    told = Story(observer(collector.url))
    told("call.finished", **ANSWER)("check.finished", **REPORT)("step.finished", step="code.1", seconds=90.0)
    told("state", state="delivered", verdict="unproven").close()
    spans = by_name(collector.spans())
    lengths = {n: round((s.end_time_unix_nano - s.start_time_unix_nano) / 1e9, 3) for n, s in spans.items()}
    assert lengths.pop("tandem.run") == 3.75
    assert lengths == {"chat ollama/qwen2.5:7b": 0.75, "tandem.check": 0.5, "tandem.step": 90.0}
    root = spans.pop("tandem.run")
    assert {span.parent_span_id for span in spans.values()} == {root.span_id}
    assert plain(root.attributes)["tandem.run.state"] == "delivered"


def test_looking_at_an_old_run_traces_and_counts_nothing(collector: Collector) -> None:
    told = Story(observer(collector.url))("state", state="merged", verdict="passed")
    told.close()
    assert collector.spans() == []
    assert collector.metrics() == {}


def test_what_comes_after_the_end_is_dropped_until_the_run_is_resumed(collector: Collector) -> None:
    told = Story(observer(collector.url))("state", state="running")("state", state="cancelled")
    told("state", state="cancelled")("call.finished", **ANSWER)("step.started", step="late.1")
    told("state", state="queued")("state", state="rejected").close()
    assert [plain(span.attributes)["tandem.run.state"] for span in collector.spans()] == ["cancelled", "rejected"]
    points = collector.metrics()["tandem.runs"].sum.data_points
    assert {plain(p.attributes)["tandem.run.state"]: p.as_int for p in points} == {"cancelled": 1, "rejected": 1}


def test_closing_ends_what_is_under_way_and_says_so(collector: Collector) -> None:
    told = Story(observer(collector.url))("state", state="running")("step.started", step="code.1")
    told.close()
    told("state", state="merged").close()  # too late, and told twice
    spans = by_name(collector.spans())
    assert {plain(span.attributes)["tandem.unfinished"] for span in spans.values()} == {True}
    assert plain(spans["tandem.run"].attributes)["tandem.run.state"] == "running"


def test_memory_stays_bounded_when_nothing_ever_ends(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "RUNS", 3)
    monkeypatch.setattr(tracing, "OPEN", 5)
    watch = observer(collector.url)
    assert watch is not None
    for number in range(10):
        told = Story(watch, RunId(f"1120-run{number}"))
        for step in range(20):
            told("step.started", step=f"code.{step}")("call.started", **{**CALL, "step": f"code.{step}"})
    assert len(watch._runs) == 3
    assert max(len(run.open) for run in watch._runs.values()) == 5
    watch.close()
    assert len(collector.spans()) == 10 * (1 + 20 + 20)


CANARY = "CANARY"
_TEXT = f"{CANARY} /home/{CANARY}/repo/{CANARY}.py"
_FULL = {
    "message": _TEXT, "title": _TEXT, "summary": _TEXT, "tail": _TEXT, "command": [_TEXT], "reason": _TEXT, "text": _TEXT,
    "failures": [{"id": _TEXT, "message": _TEXT}], "about": _TEXT, "said": _TEXT, "question": {"text": _TEXT},
    "choice": _TEXT, "by": _TEXT, "stage": _TEXT, "repo": _TEXT, "path": _TEXT, "prompt": _TEXT, "commit": _TEXT,
    CANARY: CANARY, "expected_s": _TEXT,
}  # fmt: skip
_NAMES = ("step", "persona", "node", "backend", "sandbox", "what", "verdict", "tool", "seconds", "passed", "state")
_STORY: tuple[tuple[EventKind, dict[str, Any]], ...] = (
    ("state", {"state": "running"}),
    ("step.started", {"step": "code.1"}),
    ("call.started", CALL),
    ("call.tokens", CALL),
    ("call.finished", ANSWER),
    ("call.tool", {**CALL, "tool": "read_file"}),
    ("check.started", CHECK),
    ("check.progress", CHECK),
    ("check.finished", REPORT),
    ("hold", {"what": "retrying"}),
    ("note", {"level": "info"}),
    ("question", {}),
    ("answer", {}),
    ("step.finished", {"step": "code.1", "seconds": 1.0}),
    ("state", {"state": "failed", "verdict": "failed"}),
)


@pytest.mark.parametrize("odd", ["", *_NAMES])
def test_no_words_of_the_person_or_a_model_leave(collector: Collector, odd: str) -> None:
    told = Story(observer(collector.url))
    for kind, data in _STORY:
        replaced = {odd: _TEXT} if odd and (odd != "state" or kind != "state") else {}
        told(kind, **{**_FULL, **data, **replaced})
    told.close()
    assert len(collector.spans()) >= 5
    assert collector.metrics()
    assert not [path for path, _, body in collector.requests if CANARY.encode() in body]


def test_a_tool_that_a_model_made_up_has_no_name(collector: Collector) -> None:
    told = Story(observer(collector.url))("state", state="running")("call.tool", step="code.1", tool=CANARY)
    told.close()
    assert "execute_tool other" in by_name(collector.spans())


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("qwen2.5:7b", "qwen2.5:7b"),
        ("openai/Qwen/Qwen3-8B", "openai/Qwen/Qwen3-8B"),
        ("openai//home/me/models/q.gguf", "openai/q.gguf"),
        ("openai/../models/q", "openai/q"),
        ("openai/models/7B/q.gguf", "openai/q.gguf"),
        ("openai/~/models/q", "openai/q"),
        ("/home/me/models/q", "q"),
        ("C:\\models\\me\\q.gguf", "q.gguf"),
        ("openai/C:\\models\\q.gguf", "openai/q.gguf"),
        ("a name with spaces", "other"),
        ("", "other"),
    ],
)
def test_a_model_named_by_its_file_is_left_with_the_last_part(model: str, told: str) -> None:
    assert model_name(model) == told


def test_odd_values_do_no_harm(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    told = Story(observer(collector.url))
    odd: list[Any] = [None, -1, 1e12, 1e308, float("nan"), True, "x" * 10_000, [], {}, "\ud800", 2**70, 10**400]
    keys = ("step", "persona", "model", "seconds", "passed", "prompt_tokens", "first_token_ms", "state", "what", "tool")
    for value in odd:
        for kind in ("step.started", "call.finished", "check.finished", "call.tool", "step.finished", "state", "new"):
            told(kind, **dict.fromkeys(keys, value))  # type: ignore[arg-type]
    a_run(told).close()
    assert "chat ollama/qwen2.5:7b" in {span.name for span in collector.spans()}
    assert caplog.records == []


def test_an_event_that_cannot_be_traced_is_told_once(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    told = Story(observer(collector.url))
    told.at_s = float("inf")
    told("step.started", step="a.1")("step.started", step="a.2")
    told.at_s = 1_795_000_000.0
    a_run(told).close()
    assert len(collector.spans()) == 5
    assert [record.message for record in caplog.records] == ["event was not traced"]


def test_a_collector_that_is_down_costs_nothing_and_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracing, "CLOSE_S", 0.4)
    with socket.socket() as taken:  # bound and not listening: whoever connects is refused
        taken.bind(("127.0.0.1", 0))
        told = Story(observer(f"http://127.0.0.1:{taken.getsockname()[1]}"))
        began_s = time.monotonic()
        for _ in range(300):
            a_run(told)
        assert time.monotonic() - began_s < 3  # 0.15 s where it was measured
        began_s = time.monotonic()
        told.close()
    assert time.monotonic() - began_s < 1.5
    assert [record.message for record in caplog.records] == ["collector did not take traces or metrics"]


def test_a_collector_that_hangs_keeps_nobody(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracing, "CLOSE_S", 0.4)
    monkeypatch.setattr(tracing, "BATCH_S", 0.01)
    collector.hangs = True
    told = a_run(Story(observer(collector.url)))
    collector.wait_for("/v1/traces")  # the exporter hangs from here on
    began_s = time.monotonic()
    for _ in range(1000):  # more spans than may wait
        a_run(told)
    assert (
        time.monotonic() - began_s < 5
    )  # 0.3 s where it was measured; one wait for the collector takes 2 s, and there would be many
    began_s = time.monotonic()
    told.close()
    assert time.monotonic() - began_s < 1.5
    sent = len(collector.requests)
    collector.leaving.set()
    _until_gone("Otel")
    assert len(collector.requests) == sent
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) <= 1


def _until_gone(prefix: str) -> None:
    deadline_s = time.monotonic() + 10
    while any(thread.name.startswith(prefix) for thread in threading.enumerate()):
        assert time.monotonic() < deadline_s, "its threads are still there"
        time.sleep(0.01)


def test_a_collector_in_trouble_is_told_once_and_so_is_its_recovery(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "router")
    monkeypatch.setattr(tracing, "BATCH_S", 0.01)
    collector.status = 500
    told = a_run(Story(observer(collector.url)))
    collector.wait_for("/v1/traces")
    a_run(told)
    collector.wait_for("/v1/traces", 2)
    collector.status = 200
    refused = len(collector.requests)
    told("state", state="running")
    a_run(told).close()
    assert len(collector.requests) > refused
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "collector did not take traces or metrics"),
        ("INFO", "collector took traces or metrics again"),
    ]
    assert [vars(record).get("why") for record in caplog.records] == ["status 500", None]


def test_nothing_follows_a_redirection(collector: Collector, other: Collector) -> None:
    collector.status, collector.elsewhere = 307, f"{other.url}/v1/traces"
    a_run(Story(observer(collector.url))).close()
    assert collector.requests
    assert other.requests == []


def test_no_variable_redirects_the_data_adds_to_it_or_switches_it_off(
    collector: Collector, other: Collector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    away, headers = f"{other.url}/{CANARY}", f"x-canary={CANARY},authorization=Bearer {CANARY},user-agent={CANARY}"
    for signal in ("", "TRACES_", "METRICS_"):
        for name, value in {
            "ENDPOINT": away,
            "HEADERS": headers,
            "COMPRESSION": "gzip",
            "TIMEOUT": "0.000001",
            "CERTIFICATE": str(tmp_path / "none.pem"),
            "CLIENT_KEY": str(tmp_path / "none.key"),
            "CLIENT_CERTIFICATE": str(tmp_path / "none.pem"),
        }.items():
            monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{signal}{name}", value)
    for name, value in {
        "OTEL_SDK_DISABLED": "true",
        "OTEL_SERVICE_NAME": CANARY,
        "OTEL_RESOURCE_ATTRIBUTES": f"canary={CANARY},host.name={CANARY}",
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process,host,os",
        "OTEL_TRACES_SAMPLER": "always_off",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "0",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "1",
        "OTEL_BSP_MAX_QUEUE_SIZE": "1",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1",
        "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "DELTA",
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram",
        "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER": CANARY,
        "HTTP_PROXY": other.url,
        "http_proxy": other.url,
        "ALL_PROXY": other.url,
        "REQUESTS_CA_BUNDLE": str(tmp_path / "none.pem"),
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    a_run(Story(observer(collector.url))).close()
    assert dict(os.environ) == before
    assert other.requests == []
    assert {path for path, _, _ in collector.requests} == {"/v1/traces", "/v1/metrics"}
    for _, given, body in collector.requests:
        assert {key.lower() for key in given} == {
            "host", "accept-encoding", "content-type", "content-length", "user-agent",
        }  # fmt: skip
        assert given["Content-Type"] == "application/x-protobuf"
        assert CANARY not in json.dumps(given)
        assert CANARY.encode() not in body
    assert len(collector.spans()) == 5
    assert set(collector.metrics()) == {
        "tandem.runs", "tandem.checks", "gen_ai.client.token.usage", "gen_ai.client.operation.duration",
    }  # fmt: skip
    assert collector.metrics()["tandem.runs"].sum.aggregation_temporality == 2  # cumulative


def test_the_resource_is_the_service_and_its_version_alone(collector: Collector) -> None:
    a_run(Story(observer(collector.url, service="mine"))).close()
    for path, _, body in collector.requests:
        if path == "/v1/traces":
            (resource,) = [r.resource for r in ExportTraceServiceRequest.FromString(body).resource_spans]
        else:
            (resource,) = [r.resource for r in ExportMetricsServiceRequest.FromString(body).resource_metrics]
        assert set(plain(resource.attributes)) == {"service.name", "service.version"}
        assert plain(resource.attributes)["service.name"] == "mine"


def test_the_global_providers_are_left_alone(collector: Collector) -> None:
    before = otel_trace.get_tracer_provider(), otel_metrics.get_meter_provider()
    a_run(Story(observer(collector.url))).close()
    assert (otel_trace.get_tracer_provider(), otel_metrics.get_meter_provider()) == before


def test_a_path_before_the_usual_ones_is_kept(collector: Collector) -> None:
    a_run(Story(observer(f"{collector.url}/tenant/"))).close()
    assert {path for path, _, _ in collector.requests} == {"/tenant/v1/traces", "/tenant/v1/metrics"}


@pytest.mark.parametrize(
    "endpoint",
    ["localhost:4318", "ftp://localhost", "http://", "http://h:x", "http://h?a=b", "http://h#a", "file:///a"],
)
def test_an_address_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(BadConfig, match="is no http"):
        observer(endpoint)


@pytest.mark.parametrize("endpoint", ["http://me:hunter2@localhost", "http://me:hunter2@localhost:x"])
def test_an_address_with_a_password_is_refused_and_not_shown(endpoint: str) -> None:
    with pytest.raises(BadConfig, match="carries a name or password") as caught:
        observer(endpoint)
    assert "hunter2" not in caught.value.message


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(BadConfig, match=r"pip install 'tandem\[otel\]'"):
        observer("http://127.0.0.1:4318")


def test_without_an_address_nothing_of_it_is_imported() -> None:
    program = (
        "import sys; from router.tracing import observer; assert observer('') is None; "
        "print([name for name in sys.modules if name.split('.')[0] in ('opentelemetry', 'requests')])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_recorded_run_becomes_one_trace(collector: Collector) -> None:
    told = Story(observer(collector.url))
    lines = (REPOSITORY / "docs" / "live-view.jsonl").read_text("utf-8").splitlines()
    events = [json.loads(line) for line in lines if "event" in json.loads(line)]
    for seq, data in enumerate(events, 1):
        kind, run, at_s = data.pop("event"), data.pop("run"), data.pop("at_s")
        told.watch(RunEvent(seq=seq, run_id=run, kind=kind, at_s=at_s, data=data))
    told.close()
    spans = collector.spans()
    roots = [span for span in spans if not span.parent_span_id]
    assert [span.name for span in roots] == ["tandem.run"]
    answered = [span for span in spans if "gen_ai.usage.output_tokens" in plain(span.attributes)]
    assert len(answered) == sum("completion_tokens" in data for data in events) > 3
    assert {span.name for span in answered} == {"chat rehearsal/demo"}
    tokens = collector.metrics()["gen_ai.client.token.usage"].histogram.data_points
    assert sum(p.sum for p in tokens) == sum(
        data.get("prompt_tokens", 0) + data.get("completion_tokens", 0) for data in events
    )
