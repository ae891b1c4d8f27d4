"""The flight recorder's file: what is kept, once, without secrets, and read back whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from router import flight
from router.flight import FlightLog, calls
from tandem.types import CompleteRequest, Message, Reply, RequestId, RunId, ToolCall

RUN = RunId("1120-abcdefg")


def request(*messages: Message, turn: int = 1) -> CompleteRequest:
    name = RequestId(f"{RUN}/code.1/coder.{turn}")
    return CompleteRequest(request_id=name, run_id=RUN, persona="coder", turn=turn, model="m", messages=messages)


SYSTEM, TASK = Message(role="system", content="You code."), Message(role="user", content="Mend it. 고쳐 주세요")
USED = Message(role="assistant", content="", tool_calls=(ToolCall(id="1", name="read_file", arguments={"path": "a"}),))
ANSWER = Message(role="tool", content="1| x", tool_call_id="1")


def test_calls_come_back_whole_though_each_message_is_kept_once(tmp_path: Path) -> None:
    log = FlightLog(tmp_path, RUN)
    log.note(request(SYSTEM, TASK), Reply(text="", tool_calls=USED.tool_calls, finish="tool_calls"), "")
    log.note(request(SYSTEM, TASK, USED, ANSWER, turn=2), Reply(text="done"), "")
    first, second = calls(tmp_path, RUN)
    assert [message["content"] for message in second["messages"]] == ["You code.", TASK.content, "", "1| x"]  # type: ignore[index, union-attr, call-overload]
    assert (first["step"], first["turn"], second["turn"]) == ("code.1", 1, 2)
    assert (tmp_path / "flight" / f"{RUN}.jsonl").read_text("utf-8").count("You code.") == 1


def test_a_router_that_was_restarted_goes_on_in_the_same_file(tmp_path: Path) -> None:
    FlightLog(tmp_path, RUN).note(request(SYSTEM, TASK), Reply(text="a"), "")
    FlightLog(tmp_path, RUN).note(request(SYSTEM, TASK), None, "the model server does not answer")
    assert [call["error"] for call in calls(tmp_path, RUN)] == ["", "the model server does not answer"]
    assert (tmp_path / "flight" / f"{RUN}.jsonl").read_text("utf-8").count("You code.") == 1


def test_the_file_is_the_owner_s_and_credentials_are_struck_out(tmp_path: Path) -> None:
    secret = "sk-" + "a1B2" * 8
    FlightLog(tmp_path, RUN).note(request(Message(role="user", content=f"key {secret}")), Reply(text=secret), "")
    file = tmp_path / "flight" / f"{RUN}.jsonl"
    assert file.stat().st_mode & 0o077 == 0
    assert secret not in file.read_text("utf-8")
    assert next(calls(tmp_path, RUN))["reply"]["text"] == "[redacted]"  # type: ignore[index, call-overload]


def test_a_torn_last_line_loses_that_call_alone(tmp_path: Path) -> None:
    log = FlightLog(tmp_path, RUN)
    log.note(request(SYSTEM, TASK), Reply(text="a"), "")
    log.note(request(SYSTEM, TASK, turn=2), Reply(text="b"), "")
    file = tmp_path / "flight" / f"{RUN}.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    assert [call["turn"] for call in calls(tmp_path, RUN)] == [1]


def test_the_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight, "FILE_BYTES_MAX", 2000)
    log = FlightLog(tmp_path, RUN)
    for turn in range(1, 40):
        log.note(request(Message(role="user", content=f"{turn}" * 100), turn=turn), Reply(text="x"), "")
    assert (tmp_path / "flight" / f"{RUN}.jsonl").stat().st_size <= 2000


def test_a_full_disk_or_a_link_in_the_way_ends_no_run(tmp_path: Path) -> None:
    (tmp_path / "flight").mkdir()
    (tmp_path / "flight" / f"{RUN}.jsonl").symlink_to("/etc/passwd")
    FlightLog(tmp_path, RUN).note(request(SYSTEM), Reply(text="a"), "")


def test_a_run_without_a_record_has_no_calls(tmp_path: Path) -> None:
    assert list(calls(tmp_path, RUN)) == []


def test_after_a_full_disk_what_was_not_written_is_written_with_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = FlightLog(tmp_path, RUN)
    with monkeypatch.context() as full:
        full.setattr("os.open", _no_space)
        log.note(request(SYSTEM, TASK), Reply(text="a"), "")
    log.note(request(SYSTEM, TASK, turn=2), Reply(text="b"), "")
    (call,) = calls(tmp_path, RUN)
    assert [message["content"] for message in call["messages"]] == ["You code.", TASK.content]  # type: ignore[index, union-attr, call-overload]


def _no_space(*_: object) -> int:
    raise OSError(28, "No space left on device")


def test_a_file_that_is_full_says_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight, "FILE_BYTES_MAX", 2_000)
    log = FlightLog(tmp_path, RUN)
    for turn in range(1, 9):
        log.note(request(SYSTEM, TASK, turn=turn), Reply(text="x" * 500), "")
    text = (tmp_path / "flight" / f"{RUN}.jsonl").read_text("utf-8")
    assert text.count("are not kept") == 1
    assert "are not kept" in text.splitlines()[-1]
    assert 1 <= len(list(calls(tmp_path, RUN))) < 8


def test_text_like_an_address_before_a_decorator_is_left_alone(tmp_path: Path) -> None:
    text = 'URL = "http://localhost:8080"\n@app.route("/")'
    FlightLog(tmp_path, RUN).note(request(Message(role="user", content=text)), Reply(text=text), "")
    (call,) = calls(tmp_path, RUN)
    assert call["reply"]["text"] == text  # type: ignore[index, call-overload]
