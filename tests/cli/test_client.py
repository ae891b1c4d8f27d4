import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.client import Client, Event, NoRouter, StreamCut, parse_event
from cli.follow import Pump
from tandem.errors import BadReply, BadTask, DeadlineExceeded, StaleApproval, TandemError, Unavailable
from tandem.paths import socket_path
from tests.cli.little_router import DIFF, Play, a_whole_run, little_router


def _client(tmp_path: Path) -> Client:
    return Client(socket_path(tmp_path, "router"))


@contextmanager
def _raw_server(path: Path, answer: bytes, *, hold_s: float = 0.0) -> Iterator[None]:
    """Answer one connection with bytes of the test's own."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(2)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)
                time.sleep(hold_s)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        thread.join(5)


def test_an_object_and_bytes_come_back_as_they_were_sent(tmp_path: Path) -> None:
    with little_router(tmp_path, Play(phases=a_whole_run(), title="한국어 작업")):
        assert _client(tmp_path).get("/v1/runs/latest")["title"] == "한국어 작업"
        assert _client(tmp_path).get_bytes("/v1/runs/latest/diff") == DIFF


@pytest.mark.parametrize(
    ("status", "kind", "code"), [(400, BadTask, 2), (409, StaleApproval, 5), (503, Unavailable, 4)]
)
def test_an_error_comes_back_as_its_own_class(tmp_path: Path, status: int, kind: type[TandemError], code: int) -> None:
    error = {"class": kind.__name__, "message": "what failed; what to do", "exit_code": code}
    with little_router(tmp_path, Play(phases=[], refuse={"/v1/runs": (status, error)})):
        with pytest.raises(kind, match="what failed; what to do") as caught:
            _client(tmp_path).post("/v1/runs", {"text": "x"})
        assert caught.value.exit_code == code


def test_an_error_class_of_a_newer_router_keeps_its_exit_code(tmp_path: Path) -> None:
    error = {"class": "OfTomorrow", "message": "new trouble", "exit_code": 42}
    with little_router(tmp_path, Play(phases=[], refuse={"/v1/runs": (418, error)})):
        with pytest.raises(TandemError, match="new trouble") as caught:
            _client(tmp_path).get("/v1/runs")
        assert caught.value.exit_code == 42
    assert TandemError.exit_code == 1


def test_nobody_at_the_socket_is_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(NoRouter, match="tandem up"):
        _client(tmp_path).get("/v1/status")


def test_a_socket_file_left_behind_is_nobody(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(socket_path(tmp_path, "router")))
    with pytest.raises(NoRouter, match="refused"):
        _client(tmp_path).get("/v1/status")


def test_an_answer_that_never_comes_ends_at_its_deadline(tmp_path: Path) -> None:
    with _raw_server(socket_path(tmp_path, "router"), b"", hold_s=0.8):
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="did not answer /v1/status"):
            _client(tmp_path).get("/v1/status", read_s=0.2)
        assert time.monotonic() - began < 0.7


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nno {js", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]",
     b"HTTP/1.1 500 Oh\r\ncontent-length: 5\r\n\r\nwrong"],
)  # fmt: skip
def test_an_answer_that_is_no_object_is_refused(tmp_path: Path, answer: bytes) -> None:
    with _raw_server(socket_path(tmp_path, "router"), answer), pytest.raises(BadReply, match="router answered"):
        _client(tmp_path).get("/v1/status")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", b"what is this\r\n\r\n"])
def test_an_answer_that_breaks_off_is_unavailable(tmp_path: Path, answer: bytes) -> None:
    with _raw_server(socket_path(tmp_path, "router"), answer), pytest.raises(Unavailable, match="broke off"):
        _client(tmp_path).get("/v1/status")


def test_a_stream_yields_every_event_in_order_and_ends(tmp_path: Path) -> None:
    play = Play(phases=a_whole_run())
    with little_router(tmp_path, play):
        stream = _client(tmp_path).open_stream("/v1/runs/latest/events?after=0")
        events = list(stream)
        stream.close()
        stream.release()
    assert [event.seq for event in events] == list(range(1, len(play.events()) + 1))
    assert [event.kind for event in events] == [kind for kind, _ in play.events()]


def test_a_stream_that_breaks_off_says_so_after_what_came(tmp_path: Path) -> None:
    with little_router(tmp_path, Play(phases=a_whole_run(), cut_after=3)):
        stream = _client(tmp_path).open_stream("/v1/runs/latest/events?after=0")
        seen: list[Event] = []
        with pytest.raises(StreamCut):
            seen.extend(stream)
        stream.close()
        stream.release()
    assert len(seen) <= 3


def test_silence_longer_than_the_heartbeat_ends_a_stream(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\n: hello\n\n\r\n"
    with _raw_server(socket_path(tmp_path, "router"), head, hold_s=0.6):
        stream = _client(tmp_path).open_stream("/v1/x", read_s=0.2)
        with pytest.raises(StreamCut, match="timed out"):
            list(stream)
        stream.close()
        stream.release()


def test_closing_wakes_whoever_reads(tmp_path: Path) -> None:
    with little_router(tmp_path, Play(phases=[[]], hang_after=True)):
        with Pump(_client(tmp_path).open_stream("/v1/runs/latest/events?after=0")) as pump:
            assert pump.next(0.2) is None
            began = time.monotonic()
        assert time.monotonic() - began < 1.0


def test_comments_and_blocks_without_data_are_no_events() -> None:
    assert parse_event([": still here"]) is None
    assert parse_event(["event: x", "id: 4"]) is None
    assert parse_event(["id: 4", "event: note", 'data: {"a":', "data: 1}"]) == Event(4, "note", {"a": 1})


def test_an_event_that_is_no_json_is_refused() -> None:
    with pytest.raises(BadReply, match="not JSON"):
        parse_event(["event: note", "data: {"])
