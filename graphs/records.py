"""How questions, replies and reports stand in the journal and in events: plain JSON, words cut, outcomes whole."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, cast

from tandem.types import CheckReport, CompleteRequest, Json, Message, Reply, TestResult, ToolCall

_OUTPUT_KEPT = 4000  # characters of a check's output that stay in the journal
_MESSAGE_KEPT = 600  # characters of one failing test's message
_TOLD = 10  # failing tests an event names


def question_of(request: CompleteRequest) -> dict[str, Json]:
    """Return what makes a question to a model the same question: everything but its id and attempt."""
    return {
        "persona": request.persona,
        "turn": request.turn,
        "model": request.model,
        "messages": [message_out(message) for message in request.messages],
        "tools": [tool.name for tool in request.tools],
        "schema": cast("Json", request.schema),
        "sampling": cast("Json", asdict(request.sampling)),
        "context": request.context_tokens,
    }


def message_out(message: Message) -> Json:
    """Return a message as plain JSON, without its pictures."""
    calls: list[Json] = [call_out(call) for call in message.tool_calls]
    return [message.role, message.content, calls, message.tool_call_id]


def call_out(call: ToolCall) -> Json:
    """Return a tool call as plain JSON."""
    return {"id": call.id, "name": call.name, "arguments": dict(call.arguments)}


def reply_out(reply: Reply) -> Json:
    """Return a reply as the journal keeps it."""
    return cast("Json", {**asdict(reply), "tool_calls": [asdict(c) for c in reply.tool_calls]})


def reply_in(value: Json) -> Reply:
    """Return the reply the journal kept."""
    data: dict[str, Any] = dict(cast("Any", value))
    data["tool_calls"] = tuple(ToolCall(**c) for c in data["tool_calls"])
    return Reply(**data)


def report_out(report: CheckReport) -> Json:
    """Return a report as the journal keeps it: outcomes whole, words cut."""
    tests: list[Json] = [[t.id, t.outcome, t.file, t.message[:_MESSAGE_KEPT], t.cause] for t in report.tests]
    rest = {k: v for k, v in asdict(report).items() if k not in ("tests", "output")}
    return cast("Json", {**rest, "tests": tests, "output": report.output[-_OUTPUT_KEPT:]})


def report_in(value: Json) -> CheckReport:
    """Return the report the journal kept."""
    data: dict[str, Any] = dict(cast("Any", value))
    # a cause and what the judge missed are not in journals of before they were told
    rows: list[Any] = [[*row, ""][:5] for row in data["tests"]]
    data["tests"] = tuple(TestResult(id=t[0], outcome=t[1], file=t[2], message=t[3], cause=t[4]) for t in rows)
    data |= {name: tuple(data.get(name, ())) for name in ("missing", "unnoticed")}
    return CheckReport(**data)


def report_event(report: CheckReport) -> dict[str, Json]:
    """Return what whoever watches is told of a report."""
    failed = [t for t in report.tests if t.outcome in ("failed", "error")]
    return {
        "verdict": report.verdict,
        "reason": report.reason,
        "passed": sum(t.outcome == "passed" for t in report.tests),
        "failed": len(failed),
        "seconds": report.duration_s,
        "sandbox": report.sandbox,
        "failures": [{"id": t.id, "message": t.message[-300:]} for t in failed[:_TOLD]],
    }
