"""Speak the router's local API (docs/api.md) over its Unix socket, with the standard library alone.

Knows HTTP and the shape of an error; what the answers mean is the commands' business. Every wait has a deadline: a
connection 3 s, an answer `read_s`, a stream `STREAM_READ_S` of silence (the router speaks at least every 10 s).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from tandem.errors import BadReply, DeadlineExceeded, Unavailable, revive

CONNECT_S = 3.0
READ_S = 90.0  # the router itself gives up after 60 s of getting ready, with better words
STREAM_READ_S = 35.0


class Event(NamedTuple):
    """One server-sent event; `seq` is 0 where the server gave no number."""

    seq: int
    kind: str
    data: dict[str, Any]


class NoRouter(Unavailable):
    """Nobody listens on the socket."""


class StreamCut(Unavailable):
    """A stream that ended before its end, or fell silent; what came before it was good."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, read_s: float) -> None:
        super().__init__("localhost")
        self._path, self._read_s = path, read_s
        self.wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)  # `sock` is dropped once an answer says "close"

    def connect(self) -> None:
        self.sock = self.wire
        self.wire.settimeout(CONNECT_S)
        self.wire.connect(str(self._path))
        self.wire.settimeout(self._read_s)

    def close(self) -> None:
        super().close()
        self.wire.close()


class Client:
    """The router behind one socket. Holds no connection between calls."""

    def __init__(self, socket_file: Path) -> None:
        self.socket_file = socket_file

    def get(self, path: str, *, read_s: float = READ_S) -> dict[str, Any]:
        """Return the JSON object at `path`."""
        return self._json("GET", path, None, read_s)

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, read_s: float = READ_S) -> dict[str, Any]:
        """Send `body` to `path` and return the JSON object it answers with."""
        return self._json("POST", path, body or {}, read_s)

    def get_bytes(self, path: str) -> bytes:
        """Return the bytes at `path`."""
        return self._exchange("GET", path, None, READ_S)

    def open_stream(
        self, path: str, *, body: Mapping[str, Any] | None = None, read_s: float = STREAM_READ_S
    ) -> EventStream:
        """Open a stream of server-sent events: a GET, or a POST where there is a `body`."""
        connection = _UnixConnection(self.socket_file, read_s)
        try:
            response = self._request(connection, "GET" if body is None else "POST", path, body, read_s)
            if response.status >= 400:
                raise _error_in(response.status, response.read(1 << 20))
        except BaseException:
            connection.close()
            raise
        return EventStream(connection, response)

    def _json(self, method: str, path: str, body: Mapping[str, Any] | None, read_s: float) -> dict[str, Any]:
        raw = self._exchange(method, path, body, read_s)
        try:
            value = json.loads(raw)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise BadReply(f"the router answered {path} with {raw[:80]!r} instead of a JSON object; upgrade both alike")
        return cast("dict[str, Any]", value)

    def _exchange(self, method: str, path: str, body: Mapping[str, Any] | None, read_s: float) -> bytes:
        connection = _UnixConnection(self.socket_file, read_s)
        try:
            response = self._request(connection, method, path, body, read_s)
            try:
                raw = response.read()  # with a size given, it would not notice that something is missing
            except (OSError, http.client.HTTPException) as error:
                raise _lost(error, path, read_s) from error
        finally:
            connection.close()
        if response.status >= 400:
            raise _error_in(response.status, raw)
        return raw

    def _request(
        self, connection: _UnixConnection, method: str, path: str, body: Mapping[str, Any] | None, read_s: float
    ) -> http.client.HTTPResponse:
        try:
            connection.connect()
        except OSError as error:
            why = error.strerror or str(error) or "timed out"
            raise NoRouter(f"no router answers at {self.socket_file}: {why}; `tandem up` starts one") from error
        payload = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, payload, {"Content-Type": "application/json"} if payload else {})
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise _lost(error, path, read_s) from error


class EventStream:
    """An open stream of events. Iterating ends with the stream; `close` may come from another thread."""

    def __init__(self, connection: _UnixConnection, response: http.client.HTTPResponse) -> None:
        self._connection, self._response = connection, response
        self._closed = False

    def __iter__(self) -> Iterator[Event]:
        """Yield events as they come.

        Raises:
            StreamCut: The connection broke, or nothing came for the read time-out.
        """
        block: list[str] = []
        for line in self._lines():
            if line:
                block.append(line)
                continue
            event = parse_event(block)
            block = []
            if event is not None:
                yield event

    def _lines(self) -> Iterator[str]:
        rest = b""
        while True:
            try:
                piece = self._response.read1(1 << 16)
            except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
                if self._closed:
                    return
                raise StreamCut(f"the router's stream broke off ({error}); `tandem watch` picks it up") from error
            if not piece:
                return
            *lines, rest = (rest + piece).split(b"\n")
            yield from (line.rstrip(b"\r").decode("utf-8", "replace") for line in lines)

    def close(self) -> None:
        """End the stream, also while another thread waits for it."""
        self._closed = True
        with contextlib.suppress(OSError):  # gone already, which is what was wanted
            self._connection.wire.shutdown(socket.SHUT_RDWR)  # closing alone does not wake a thread that reads
        self._connection.close()

    def release(self) -> None:
        """Free the answer's buffer; only for the thread that iterates, once it has stopped."""
        self._response.close()


def parse_event(lines: list[str]) -> Event | None:
    """Return the event a block of lines describes, or None for a comment or an empty block."""
    seq, kind, data = 0, "message", list[str]()
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id" and value.isdigit():
            seq = int(value)
        elif name == "event":
            kind = value
        elif name == "data":
            data.append(value)
    if not data:
        return None
    try:
        loaded = json.loads("\n".join(data))
    except ValueError:
        raise BadReply(f"the router sent an event {kind!r} that is not JSON: {data[0][:80]!r}") from None
    return Event(seq, kind, cast("dict[str, Any]", loaded) if isinstance(loaded, dict) else {"value": loaded})


def _error_in(status: int, raw: bytes) -> Exception:
    try:
        told = json.loads(raw)["error"]
        error = revive(str(told["class"]), str(told["message"]))
        if "exit_code" in told:
            error.exit_code = int(told["exit_code"])  # type: ignore[misc]  # this instance only; a class we may not know
        return error
    except (ValueError, KeyError, TypeError):
        text = raw[:200].decode("utf-8", "replace").strip()
        return BadReply(f"the router answered with status {status}: {text or 'nothing'}")


def _lost(error: Exception, path: str, read_s: float) -> Exception:
    if isinstance(error, TimeoutError):
        return DeadlineExceeded(f"the router did not answer {path} within {read_s:.0f} s; see `tandem doctor`")
    return Unavailable(f"the router broke off while answering {path}; ask again, or see `tandem doctor`")
