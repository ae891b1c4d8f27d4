"""An OpenAI-compatible server at the wire, by what a test says. The client talking to it is the real one.

The behaviour is a function from the request's JSON to a `Say`. Requests and their headers are kept for the test to see.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

Event = Mapping[str, Any] | str  # an object, or the raw text of a `data:` line


@dataclass
class Say:
    """One answer: `text` in words, then the events of `more`, then the end. `status` other than 200 is an error page.

    `fault`: "", cut (the connection breaks in the middle), close (it closes politely in the middle), hang, endless,
    late (the reply begins, then nothing), no-done, open (nothing after the end, but the connection stays).
    """

    text: str = ""
    more: Sequence[Event] = ()
    finish: str | None = "stop"
    status: int = 200
    error: Any = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    fault: str = ""
    pause_s: float = 0.0
    usage: Mapping[str, Any] | None = field(default_factory=lambda: {"prompt_tokens": 11, "completion_tokens": 3})
    whole: Mapping[str, Any] | None = None  # answered without streaming, whatever was asked


Behaviour = Callable[[dict[str, Any]], Say]


def delta(**said: Any) -> dict[str, Any]:
    """Return one event of a stream."""
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": said, "finish_reason": None}]}


def call(arguments: Any, *, name: str | None = None, index: int | None = 0, id: str | None = None) -> dict[str, Any]:
    """Return an event that holds one piece of a tool call."""
    function = {"arguments": arguments, **({"name": name} if name is not None else {})}
    piece: dict[str, Any] = {"type": "function", "function": function}
    piece |= {"index": index} if index is not None else {}
    piece |= {"id": id} if id is not None else {}
    return delta(tool_calls=[piece])


class FakeOpenAI:
    """Serves on a loopback port of its own inside a `with` block; `url` says where."""

    def __init__(self, behaviour: Behaviour, models: Any = None, key: str = "") -> None:
        self.behaviour = behaviour
        self.models = {"object": "list", "data": [{"id": "small"}, {"id": "large"}]} if models is None else models
        self.key = key
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.heard = threading.Event()  # set when a question has come
        self.stopped = threading.Event()  # set when a stream's client has gone away
        outer = self

        class Handler(_Handler):
            fake = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> FakeOpenAI:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    fake: FakeOpenAI
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _allowed(self) -> bool:
        self.fake.paths.append(self.path)
        self.fake.headers.append({name.lower(): value for name, value in self.headers.items()})
        if not self.fake.key or self.headers.get("authorization") == f"Bearer {self.fake.key}":
            return True
        said = f"Incorrect API key provided: {self.headers.get('authorization')}"
        self._json({"error": {"message": said, "code": "invalid_api_key"}}, 401)
        return False

    def do_GET(self) -> None:
        if not self._allowed():
            return
        if self.path == "/v1/models" and self.fake.models == "drop":
            self.close_connection = True
            self.connection.close()
        elif self.path == "/v1/models":
            self._json(self.fake.models)
        else:
            self._json({"error": {"message": "not found"}}, 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self._allowed():
            return
        self.fake.asked.append(body)
        self.fake.heard.set()
        say = self.fake.behaviour(body)
        if say.fault == "hang":
            time.sleep(20)
        if say.status != 200:
            self._json(say.error, say.status, say.headers)
        elif say.whole is not None:
            self._json(say.whole)
        else:
            self._streamed(say)

    def _streamed(self, say: Say) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        chunked = say.fault != "close"  # else the reply ends where the connection does, as with the simplest servers
        self.send_header(*(("transfer-encoding", "chunked") if chunked else ("connection", "close")))
        self.end_headers()
        try:
            self._stream(say, chunked)
        except (BrokenPipeError, ConnectionResetError):
            self.fake.stopped.set()
            self.close_connection = True

    def _stream(self, say: Say, chunked: bool) -> None:
        self._event(delta(role="assistant", content=""), chunked)
        words = say.text.split(" ") if say.text else []
        for number, word in enumerate(words):
            if number == max(1, len(words) // 2) and say.fault in ("cut", "close", "late"):
                time.sleep(20 if say.fault == "late" else 0)
                self.close_connection = True
                self.connection.close()
                return
            self._event(delta(content=" " * (number > 0) + word), chunked)
            time.sleep(say.pause_s)
        for event in say.more:
            self._event(event, chunked)
        while say.fault == "endless":
            self._event(delta(content="la " * 200), chunked)
        if say.finish is not None:
            self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": say.finish}]}, chunked)
        if say.fault == "open":
            time.sleep(20)
        if say.usage is not None:
            self._event({"choices": [], "usage": say.usage}, chunked)
        if say.fault != "no-done":
            self._event("[DONE]", chunked)
        self._chunk(b"")

    def _event(self, event: Event, chunked: bool) -> None:
        line = b"data: " + (event if isinstance(event, str) else json.dumps(event)).encode() + b"\n\n"
        self._chunk(line) if chunked else self.wfile.write(line)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _json(self, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        for name, held in (headers or {}).items():
            self.send_header(name, held)
        self.end_headers()
        self.wfile.write(data)
