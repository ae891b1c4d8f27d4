"""An Ollama server at the wire: what `ollama serve` answers, by what a test says. The client talking to it is the real one.

The behaviour is a function from the request's JSON to a `Say`. Every request is kept for the test to look at.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


@dataclass
class Say:
    """One answer. `fault`: "", cut, garbage, error, endless, hang, no-end; `status` other than 200 is an error page."""

    text: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    error: str = ""
    fault: str = ""
    pause_s: float = 0.0


Behaviour = Callable[[dict[str, Any]], Say]


class FakeOllama:
    """Serves on a loopback port of its own inside a `with` block; `url` says where."""

    def __init__(self, behaviour: Behaviour, models: tuple[str, ...] = ("small", "large")) -> None:
        self.behaviour = behaviour
        self.models = models
        self.resident: tuple[str, ...] | None = None  # None: a server that does not know the question
        self.asked: list[dict[str, Any]] = []
        self.stopped = threading.Event()  # set when a stream's client has gone away
        outer = self

        class Handler(_Handler):
            fake = outer

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FakeOllama:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that was killed."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    fake: FakeOllama
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/api/tags":
            names = [{"name": n, "model": n, "size": 1, "digest": "d"} for n in self.fake.models]
            self._json({"models": names})
        elif self.path == "/api/ps" and self.fake.resident is not None:
            self._json({"models": [{"name": n, "model": n, "size": 1, "size_vram": 1} for n in self.fake.resident]})
        else:
            self._json({"error": "not found"}, 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.fake.asked.append(body)
        if body["model"] not in self.fake.models:
            self._json({"error": f"model '{body['model']}' not found"}, 404)
            return
        say = self.fake.behaviour(body)
        if say.status != 200:
            self._json({"error": say.error}, say.status)
            return
        self.send_response(200)
        self.send_header("content-type", "application/x-ndjson")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            self._stream(body, say)
        except (BrokenPipeError, ConnectionResetError):
            self.fake.stopped.set()
            self.close_connection = True

    def _stream(self, body: Mapping[str, Any], say: Say) -> None:
        if say.fault == "hang":
            time.sleep(30)
        words = say.text.split(" ")
        pieces = [" " * (i > 0) + word for i, word in enumerate(words)]
        for number, piece in enumerate(pieces):
            if number == max(1, len(pieces) // 2) and say.fault in ("cut", "garbage", "error"):
                self._break(say.fault)
                return
            self._line({"model": body["model"], "message": {"role": "assistant", "content": piece}, "done": False})
            time.sleep(say.pause_s)
        while say.fault == "endless":
            self._line(
                {"model": body["model"], "message": {"role": "assistant", "content": "la " * 200}, "done": False}
            )
        if say.fault != "no-end":
            message = {"role": "assistant", "content": "", "tool_calls": say.tool_calls}
            counts = {"prompt_eval_count": 11, "eval_count": len(words)}
            self._line({"model": body["model"], "message": message, "done": True, "done_reason": "stop", **counts})
        self._chunk(b"")

    def _break(self, fault: str) -> None:
        if fault == "garbage":
            self._chunk(b"{not json\n")
            self._chunk(b"")
        elif fault == "error":
            self._line({"error": "an error was encountered while running the model"})
            self._chunk(b"")
        else:
            self.close_connection = True
            self.connection.close()

    def _line(self, value: Any) -> None:
        self._chunk(json.dumps(value).encode() + b"\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _json(self, value: Any, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


_TELLING = {"plan": "scenarios", "review": "verdict", "code": "dispute", "tests": "files"}  # the client drops titles


def persona_of(body: Mapping[str, Any]) -> str:
    """Return which persona a request is for, by the title of the reply's schema, as a test can tell."""
    if "format" in body:
        return str(body["format"]["title"]).lower()
    offered = {tool["function"]["name"]: tool["function"]["parameters"]["properties"] for tool in body["tools"]}
    return next(name for name, field in _TELLING.items() if field in offered["finish"])
