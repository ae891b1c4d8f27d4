"""A small server that speaks docs/api.md over a Unix socket with the standard library alone: the other side of the CLI.

It plays one prepared run: `phases` of events, with an open question between two of them. What it was asked is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from tandem import __version__
from tandem.paths import socket_path

DIFF = b"""diff --git a/words.py b/words.py
index 1111111..2222222 100644
--- a/words.py
+++ b/words.py
@@ -1,3 +1,4 @@
 def shout(text):
-    return text
+    \"\"\"Say it aloud.\"\"\"
+    return text.upper()
 # end
"""
DIGEST = hashlib.sha256(DIFF).hexdigest()
QUESTION: dict[str, Any] = {
    "id": f"approve.1.{DIGEST[:8]}",
    "kind": "approve",
    "text": "Red on the base, green on the head. Merge this change into main?",
    "choices": ["approve", "change", "reject"],
    "digest": DIGEST,
    "details": {
        "commit": "c0ffee00" * 5, "base": "ba5eba11" * 5, "branch": "main", "command": ["pytest"], "red": 2,
        "red_tests": ["t::one", "t::two"], "passed": 7, "sandbox": "bubblewrap", "rounds": 1, "findings": [],
        "proven": True,
    },
}  # fmt: skip
Events = list[tuple[str, dict[str, Any]]]


@dataclass
class Play:
    """What the little router does, and what it heard."""

    phases: list[Events]
    question: dict[str, Any] | None = None  # asked after the first phase
    end: dict[str, Any] = field(default_factory=lambda: {"state": "merged", "commit": "c0ffee00" * 5})
    rehearsed: bool = False
    hang_after: bool = False  # the last phase never ends by itself; only a cancel ends it
    cut_after: int = 0  # break the first stream off after so many events
    version: str = __version__
    verify: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refuse: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    heard: list[tuple[str, str, Any]] = field(default_factory=list)
    decision: dict[str, Any] | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    repo: str = "/somewhere/words"
    title: str = "Make shout shout"
    artefacts: list[dict[str, Any]] = field(default_factory=list)
    packed: dict[str, bytes] = field(default_factory=dict)  # what a kind of check left, as a ZIP

    def summary(self) -> dict[str, Any]:
        state: dict[str, Any] = {"state": "running", "commit": None}
        if self.cancelled.is_set():
            state = {"state": "cancelled", "commit": None, "message": "cancelled by a person"}
        elif self.asking:
            state = {"state": "waiting", "commit": None}
        elif not self.hang_after:
            state = self.end
        return {
            "run": "1120-abcdefg", "repo": self.repo, "verdict": "passed", "title": self.title, "branch": "main",
            "question": self.question if state["state"] == "waiting" else None, "message": "", "kind": "code",
            "difficulty": "low", "round": 1, "rehearsed": self.rehearsed, "created_s": time.time() - 3, "ended_s": None,
            **state,
        }  # fmt: skip

    @property
    def asking(self) -> bool:
        return self.question is not None and self.decision is None and not self.cancelled.is_set()

    def events(self) -> Events:
        """Return the events told so far: those after a question only once it is answered."""
        told = [event for phase in (self.phases[:1] if self.asking else self.phases) for event in phase]
        return [*told, ("question", {"question": self.question})] if self.asking else told


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    play: ClassVar[Play]

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.play.heard.append(("GET", self.path, None))
        if self._refused(url.path):
            return
        match url.path.removeprefix("/v1/").split("/"):
            case ["status"]:
                runs = {"active": 1, "queued": 0, "waiting": 0}
                about = {"version": self.play.version, "pid": os.getpid(), "state_dir": "/s", "uptime_s": 1.0}
                self._json({**about, "ready": True, "runs": runs, "models": {}, "nodes": []})
            case ["runs"]:
                self._json({"runs": [self.play.summary()]})
            case ["runs", _]:
                told = {"task": {"text": self.play.title}, "plan": None, "calls": [], "artefacts": self.play.artefacts}
                self._json({**self.play.summary(), **told})
            case ["runs", _, "artefacts", kind] if kind in self.play.packed:
                self._send(self.play.packed[kind], "application/zip")
            case ["runs", _, "diff"]:
                self._send(DIFF, "text/x-diff")
            case ["runs", _, "events"]:
                self._stream(int(parse_qs(url.query)["after"][0]))
            case _:
                self._json({"error": {"class": "NotFound", "message": f"no {url.path}", "exit_code": 2}}, 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        self.play.heard.append(("POST", self.path, body))
        if self._refused(self.path):
            return
        match self.path.removeprefix("/v1/").split("/"):
            case ["runs"]:
                self._json({**self.play.summary(), "notes": ["the checkout is dirty"]}, 201)
            case ["runs", _, "decision"]:
                self.play.decision = body
                self._json(self.play.summary())
            case ["runs", _, "cancel"]:
                self.play.cancelled.set()
                self._json(self.play.summary())
            case ["runs", _, "resume"]:
                self._json(self.play.summary())
            case ["verify"]:
                self._begin_stream()
                for kind, data in self.play.verify:
                    self._event(0, kind, data)
                self._chunk(b"")
            case _:
                self._json({"error": {"class": "NotFound", "message": f"no {self.path}", "exit_code": 2}}, 404)

    def _refused(self, path: str) -> bool:
        if path not in self.play.refuse:
            return False
        status, error = self.play.refuse[path]
        self._json({"error": error}, status)
        return True

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(json.dumps(value).encode(), "application/json", status)

    def _send(self, body: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, after: int) -> None:
        self._begin_stream()
        self._chunk(b": tandem\n\n")
        for seq, (kind, data) in enumerate(self.play.events(), start=1):
            if seq <= after:
                continue
            self._event(seq, kind, {"run": "1120-abcdefg", "at_s": time.time(), **data})
            if seq == self.play.cut_after:
                self.play.cut_after = 0
                self.connection.shutdown(2)
                return
        if self.play.hang_after and not self.play.asking:
            self.play.cancelled.wait(20)
        self._chunk(b"")

    def _begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def _event(self, seq: int, kind: str, data: dict[str, Any]) -> None:
        block = f"id: {seq}\nevent: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
        self._chunk(block[:7])  # an event may arrive in pieces
        self._chunk(block[7:])

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that leaves in the middle of a stream is part of the play


@contextmanager
def little_router(state: Path, play: Play) -> Iterator[Play]:
    """Serve `play` at the socket a command with TANDEM_STATE=`state` looks for."""
    path = socket_path(state, "router")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = type("Handler", (_Handler,), {"play": play})
    with _Server(str(path), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield play
        finally:
            play.cancelled.set()
            server.shutdown()
            thread.join(5)
            path.unlink(missing_ok=True)


def step(name: str, *inner: tuple[str, dict[str, Any]], title: str = "", summary: str = "") -> Events:
    """Return a step's events with others inside it."""
    about = [(kind, {"step": name, **data}) for kind, data in inner]
    begin = ("step.started", {"step": name, "title": title or name.partition(".")[0]})
    return [begin, *about, ("step.finished", {"step": name, "summary": summary, "seconds": 0.5})]


def call(persona: str, model: str = "qwen2.5:7b", *, rehearsed: bool = False) -> Events:
    """Return the events of one call."""
    return [
        ("call.started", {"persona": persona, "model": model, "expected_s": 4.0}),
        ("call.tokens", {"persona": persona, "tokens": 40, "tokens_s": 20.0, "tail": "the last words"}),
        ("call.finished", {
            "persona": persona, "model": model, "node": "studio", "backend": "ollama", "rehearsed": rehearsed,
            "seconds": 2.0, "first_token_ms": 300.0, "prompt_tokens": 900, "completion_tokens": 51}),
    ]  # fmt: skip


def check(what: str, verdict: str, passed: int, failed: int) -> Events:
    """Return the events of one run of the tests."""
    failures = [{"id": f"tests/test_words.py::test_{n}", "message": "AssertionError"} for n in range(failed)]
    return [
        ("check.started", {"command": ["pytest", "-q"], "commit": "c0ffee", "what": what}),
        ("check.progress", {"stage": "run", "message": "pytest"}),
        ("check.finished", {
            "what": what, "verdict": verdict, "reason": "", "passed": passed, "failed": failed, "seconds": 0.8,
            "sandbox": "bubblewrap", "failures": failures}),
    ]  # fmt: skip


def a_whole_run(*, rehearsed: bool = False) -> list[Events]:
    """Return the phases of a run that asks for approval and merges."""
    model = "rehearsal/demo" if rehearsed else "qwen2.5:7b"
    before = [
        ("state", {"state": "running"}),
        *step("plan.1", *call("planner", model, rehearsed=rehearsed), summary="2 scenarios"),
        *step("specify.1", *call("tester", model, rehearsed=rehearsed), *check("red.c0ffee", "failed", 5, 2)),
        ("note", {"level": "warning", "text": "the checkout has moved"}),
        *step("code.1", *call("coder", model, rehearsed=rehearsed), *check("draft", "failed", 6, 1)),
        *step("code.2", *call("coder", model, rehearsed=rehearsed), *check("draft", "passed", 7, 0)),
        ("step.started", {"step": "approve.1", "title": "approve"}),
        ("state", {"state": "waiting"}),
    ]
    after = [
        ("answer", {"question": QUESTION["id"], "choice": "approve", "by": "me"}),
        *step("merge.1", summary="merged"),
        ("state", {"state": "merged", "commit": "c0ffee00" * 5, "verdict": "passed"}),
    ]
    return [before, after]
