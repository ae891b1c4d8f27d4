"""Kept replies: the very same request gets them back, another does not, and a broken file is none."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tandem.types import CompleteRequest, Message, Reply, RequestId, RunId, Tool, ToolCall
from worker import replies
from worker.replies import Replies

ASKED = CompleteRequest(
    request_id=RequestId("1121-abc/plan/0"),
    run_id=RunId("1121-abc"),
    persona="planner",
    turn=1,
    model="qwen",
    messages=(Message(role="user", content="why?"),),
)
SAID = Reply(
    text="because ✓",
    model="qwen",
    node="mini",
    backend="ollama",
    tool_calls=(ToolCall(id="1", name="look", arguments={"path": "a"}),),
    prompt_tokens=3,
    completion_tokens=2,
)


def test_the_same_request_gets_its_reply_back_from_another_process_s_folder(tmp_path: Path) -> None:
    Replies(tmp_path / "kept").put(ASKED, SAID)
    again = Replies(tmp_path / "kept")
    assert again.find(ASKED) == SAID
    assert again.find(replace(ASKED, deadline_s=1.0, priority=5)) == SAID  # how long one would wait is no question
    (file,) = (tmp_path / "kept").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "change",
    [
        {"request_id": RequestId("1121-abc/plan/1")},
        {"attempt": 2},
        {"model": "other"},
        {"messages": (Message(role="user", content="why? "),)},
        {"tools": (Tool(name="look", description="", parameters={}),)},
        {"schema": {"type": "object"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_request_gets_none(tmp_path: Path, change: dict[str, Any]) -> None:
    kept = Replies(tmp_path)
    kept.put(ASKED, SAID)
    assert kept.find(replace(ASKED, **change)) is None


def test_a_broken_file_is_none(tmp_path: Path) -> None:
    kept = Replies(tmp_path)
    kept.put(ASKED, SAID)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for at in range(len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert kept.find(ASKED) is None
        file.write_bytes(whole[:at])
        assert kept.find(ASKED) is None
    file.write_bytes(whole)
    assert kept.find(ASKED) == SAID


def test_old_ones_and_too_many_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "KEPT_MAX", 3)
    kept = Replies(tmp_path)
    asked = [replace(ASKED, turn=turn) for turn in range(1, 6)]
    for age_s, request in enumerate(reversed(asked)):
        kept.put(request, SAID)
        newest = max(tmp_path.iterdir(), key=lambda file: file.stat().st_ctime_ns)
        os.utime(newest, times=(time.time() - 100 + age_s,) * 2)
    Replies(tmp_path)
    assert [kept.find(request) is not None for request in asked] == [True, True, True, False, False]
    for file in tmp_path.iterdir():
        os.utime(file, times=(time.time() - replies.KEPT_S - 5,) * 2)
    Replies(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_reply_that_cannot_be_kept_is_no_trouble(tmp_path: Path) -> None:
    kept = Replies(tmp_path / "kept")
    (tmp_path / "kept").rmdir()
    kept.put(ASKED, SAID)
    assert kept.find(ASKED) is None
