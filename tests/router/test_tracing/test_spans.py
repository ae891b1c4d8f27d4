"""Which spans and counts a run's events become."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from opentelemetry import trace as otel_trace
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from router.tracing import observer
from tandem.events import RunEvent
from tandem.types import RunId
from tests.router.test_tracing.collector import (
    ANSWER,
    CALL,
    CHECK,
    REPORT,
    RUN,
    Collector,
    Story,
    a_run,
    by_name,
    plain,
)

REPOSITORY = Path(__file__).parents[3]


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
    monkeypatch.setattr("router.tracing.spans.RUNS", 3)
    monkeypatch.setattr("router.tracing.spans.OPEN", 5)
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


def test_an_event_that_cannot_be_traced_is_told_once(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    told = Story(observer(collector.url))
    told.at_s = float("inf")
    told("step.started", step="a.1")("step.started", step="a.2")
    told.at_s = 1_795_000_000.0
    a_run(told).close()
    assert len(collector.spans()) == 5
    assert [record.message for record in caplog.records] == ["event was not traced"]


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
