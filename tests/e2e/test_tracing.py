"""Traces and metrics of real runs: what a collector gets, that it gets no word of the work, and that it keeps nobody."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.router.test_tracing.collector import Collector, plain
from tests.support.faultproxy import FaultProxy
from tests.support.stack import TASK, Stack, git, rehearsal, sample

SECRET = "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB"
ENDPOINT = "TANDEM_TELEMETRY_ENDPOINT"
LIGHTHOUSE = f'''import unittest


class LighthouseTest(unittest.TestCase):
    def test_the_keeper_is_awake(self):
        self.assertEqual("{SECRET}", "", "the lighthouse keeper fell asleep")
'''
STEPS = ["guard", "assess", "plan", "prepare", "specify", "code", "review", "code", "review", "check", "approve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What two routers sent of one run, the first until it waited for a person and the second from there on."""

    run: str
    first: Collector
    second: Collector
    sent: str  # all of it, headers too, with the whitespace of texts made even
    told: list[dict[str, Any]]  # what the first told whoever watched
    calls: list[dict[str, Any]]  # what was said to models
    repo: Path
    stack: Stack


@pytest.fixture(name="collector")
def _collector() -> Iterator[Collector]:
    server = Collector()
    yield server
    server.stop()


@pytest.fixture(name="seen", scope="module")
def _seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder = tmp_path_factory.mktemp("tracing")
    repo, stack = _repository(folder), Stack(folder, {**rehearsal(), "LIGHTHOUSE_KEY": SECRET})
    first, second = Collector(), Collector()
    try:
        stack.start(**{ENDPOINT: first.url})
        run = stack.submit(repo, TASK)
        assert stack.wait(run)["state"] == "waiting"
        told = [data for _, data in stack.events(run)]
        stack.stop()
        stack.start(**{ENDPOINT: second.url})
        stack.answer(run, "approve")
        assert stack.wait(run, until=("merged",))["state"] == "merged"
        calls = json.loads(stack.cli("show", run, "--calls", "--json").stdout)["calls"]
    finally:
        stack.stop()
        for collector in (first, second):
            collector.stop()
    parts = [
        f"{path} {dict(head)} {body.decode('latin-1')}" for c in (first, second) for path, head, body in c.requests
    ]
    sent = " ".join(" ".join(parts).split())
    return Seen(run=run, first=first, second=second, sent=sent, told=told, calls=calls, repo=repo, stack=stack)


def _repository(folder: Path) -> Path:
    """Make a repository whose name, files, contents and failures are recognised wherever they turn up."""
    repo = sample(folder / "zanzibar")
    (repo / "tests" / "test_lighthouse.py").write_text(LIGHTHOUSE)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "A lighthouse")
    return repo


def _named(spans: Iterable[Span], name: str) -> list[Span]:
    found = [span for span in spans if span.name == name or span.name.startswith(f"{name} ")]
    return sorted(found, key=lambda span: span.start_time_unix_nano)


def _step(span: Span) -> str:
    return plain(span.attributes)["tandem.step"].partition(".")[0]


def _leaves(value: Any) -> list[str]:
    """Return every text in plain JSON."""
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _leaves(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _leaves(inner)]
    return [value] if isinstance(value, str) else []


def _phrases(texts: Iterable[str]) -> set[str]:
    """Return every three words that follow each other in a text."""
    words = [text.split() for text in texts]
    return {" ".join(three) for text in words for three in zip(text, text[1:], text[2:], strict=False)}


def test_a_run_of_real_processes_is_a_tree_of_its_steps_calls_and_checks(seen: Seen) -> None:
    spans = seen.first.spans()
    (root,) = [span for span in spans if not span.parent_span_id]
    steps = _named(spans, "tandem.step")
    assert [_step(span) for span in steps] == STEPS
    assert {span.parent_span_id for span in steps} == {root.span_id}
    inner = [*_named(spans, "chat"), *_named(spans, "tandem.check")]
    names = {span.span_id: _step(span) for span in steps}
    assert all(_step(span) == names[span.parent_span_id] for span in inner)
    assert {plain(span.attributes)["tandem.check.what"] for span in _named(spans, "tandem.check")} == {
        "base", "red", "draft", "head",
    }  # fmt: skip
    assert {span.name for span in _named(spans, "chat")} == {"chat rehearsal/demo"}
    assert len({span.trace_id for span in spans}) == 1
    assert {plain(span.attributes)["tandem.run.id"] for span in spans} == {seen.run}


def test_after_a_restart_it_goes_on_in_a_new_trace_and_nothing_is_counted_twice(seen: Seen) -> None:
    before, after = (_named(collector.spans(), "tandem.run") for collector in (seen.first, seen.second))
    ends = [plain(root.attributes) for root in (*before, *after)]
    assert ends == [
        {"tandem.run.id": seen.run, "tandem.run.state": "waiting", "tandem.unfinished": True},
        {"tandem.run.id": seen.run, "tandem.run.state": "merged", "tandem.run.verdict": "passed"},
    ]
    assert before[0].trace_id != after[0].trace_id
    assert [_step(span) for span in _named(seen.second.spans(), "tandem.step")] == [*STEPS, "merge", "document"]
    calls, runs = Counter[str](), Counter[str]()
    for collector in (seen.first, seen.second):
        metrics = collector.metrics()
        for point in metrics["gen_ai.client.operation.duration"].histogram.data_points:
            calls[plain(point.attributes)["gen_ai.request.model"]] += point.count
        for point in metrics["tandem.runs"].sum.data_points if "tandem.runs" in metrics else ():
            runs[plain(point.attributes)["tandem.run.state"]] += point.as_int
    assert calls == {"rehearsal/demo": len(seen.calls)}
    assert runs == {"merged": 1}


def test_no_word_of_the_work_reaches_the_collector(seen: Seen) -> None:
    texts = [*_leaves(seen.told), *_leaves(seen.calls), TASK]
    files = git(seen.repo, "ls-files").splitlines()
    texts += [(seen.repo / file).read_text("utf-8") for file in files]
    failures = " ".join(_leaves([data.get("failures") for data in seen.told]))
    assert "the lighthouse keeper fell asleep" in failures  # what is looked for was there to be sent
    assert "tandem.run.id" in seen.sent
    assert seen.run in seen.sent
    phrases = _phrases(texts)
    assert len(phrases) > 1000
    assert {phrase for phrase in phrases if phrase in seen.sent} == set()
    places = {str(seen.repo), str(seen.stack.state), str(seen.stack.home), "zanzibar", *files}
    places |= {Path(file).stem for file in files if Path(file).stem.startswith("test_")}
    words = set(re.findall(r"\w{6,}", f"{TASK} {LIGHTHOUSE} lighthouse"))
    assert {word for word in {*places, *words, SECRET} if word in seen.sent} == set()


def test_a_collector_that_is_gone_and_then_hangs_keeps_neither_the_run_nor_the_router(
    collector: Collector, tmp_path: Path
) -> None:
    repo, stack = sample(tmp_path / "repo"), Stack(tmp_path, rehearsal())
    with FaultProxy(listen=("127.0.0.1", 0), target=("127.0.0.1", collector.server_port)) as proxy:
        proxy.refuse()
        host, port = proxy.address
        stack.start(**{ENDPOINT: f"http://{host}:{port}"})
        router = stack.router
        try:
            run = stack.submit(repo, TASK)
            assert stack.wait(run)["state"] == "waiting"
            proxy.wait_for("refused", timeout_s=20)
            proxy.black_hole()
            proxy.refuse(False)
            stack.answer(run, "approve")
            assert stack.wait(run, until=("merged",))["state"] == "merged"
        finally:
            stack.stop()
        assert router is not None
        assert router.returncode == 0
        proxy.wait_for("black_holed")
    assert collector.requests == []
    lines = [json.loads(line) for line in (stack.state / "logs" / "router.log").read_text().splitlines()]
    warned = [line["event"] for line in lines if line["level"] != "info"]
    assert warned == ["collector did not take traces or metrics"]
