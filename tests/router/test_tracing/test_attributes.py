"""What of an event leaves, and what never does."""

from __future__ import annotations

from typing import Any

import pytest

from router.tracing import observer
from router.tracing.attributes import model_name
from tandem.events import EventKind
from tests.router.test_tracing.collector import ANSWER, CALL, CHECK, REPORT, Collector, Story, a_run, by_name

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
