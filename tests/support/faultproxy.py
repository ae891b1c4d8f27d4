"""A proxy for byte streams that spoils them as a test says, and counts what it really spoiled.

It listens on a Unix socket or a TCP port and leads each connection to a target. It runs in a thread of its own; every
method may be called from any other, and what it sets holds when it returns. "up" is towards the target, "down" to the
client.

A stream never has a gap: a connection that lost bytes in a black hole gets nothing more in that direction, as a network
would have it. Closing is passed on like bytes are: held back, or lost in the hole.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

Direction = Literal["up", "down"]
Address = Path | str | tuple[str, int]  # a Unix socket's path, or a host and a port

CHUNK_BYTES = 1 << 16
HELD_BYTES_MAX = 64 << 20  # of one direction of one connection; beyond it the sender has to wait
RECORDED_BYTES_MAX = 4 << 20  # of one connection
SLICES_PER_S = 50  # how finely a slow stream is cut
_DEADLINE_S = 10
_RESET = struct.pack("ii", 1, 0)
_COUNTED = (
    *("connections", "unreachable", "refused", "duplicated", "flapped"),  # connections; times that it was down
    *("cut", "reset"),  # connections that were closed on purpose, and those that were reset instead
    *("delayed", "slowed", "held", "black_holed"),  # chunks; a connection made in a black hole counts there once, too
    *("bytes_up", "bytes_down"),  # what was passed on
)
T = TypeVar("T")


@dataclass(slots=True)
class _Lane:
    """What is wrong with one direction."""

    delay_s: float = 0.0
    bytes_per_s: float = 0.0  # 0: as fast as it goes
    black: bool = False
    hold: bool = False
    cut_at: int | None = None
    cuts_left: int | None = None  # None: every connection
    cut_resets: bool = False


@dataclass(slots=True)
class _Record:
    data: bytearray = field(default_factory=bytearray)
    whole: bool = True


class _Cut(Exception):
    """Ends one connection on purpose."""


class FaultProxy:
    """A proxy inside a `with` block. `address` says where it listens; a port of 0 is replaced by the one that was given.

    A `direction` of None means both. Faults stay until they are set otherwise or healed. Connections made before a fault
    was set suffer from it too, except where said otherwise.
    """

    def __init__(self, *, listen: Address, target: Address) -> None:
        self.address = listen
        self._target = target
        self._lanes: dict[Direction, _Lane] = {"up": _Lane(), "down": _Lane()}
        self._counts = dict.fromkeys(_COUNTED, 0)
        self._refusing = False
        self._records: list[_Record] = []
        self._live: dict[asyncio.Task[None], _Connection] = {}
        self._flaps: set[asyncio.Task[None]] = set()
        self._troubles: list[BaseException] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="fault-proxy", daemon=True)
        self._started: Future[None] = Future()

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        try:
            self._started.result(_DEADLINE_S)
        except BaseException:
            self._thread.join(_DEADLINE_S)
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_DEADLINE_S)
        assert not self._thread.is_alive(), "the proxy's thread did not end"
        if self._troubles and raised[0] is None:
            raise self._troubles[0]

    # what happened

    @property
    def counts(self) -> dict[str, int]:
        """Return what was really done so far, by the names in `_COUNTED`, which also says what each one counts."""
        return dict(self._counts)

    def live(self) -> int:
        """Return how many connections are open."""
        return self._do(lambda: len(self._live))

    def wait_for(self, what: str, count: int = 1, timeout_s: float = 5.0) -> None:
        """Return once `what` was counted `count` times.

        Raises:
            AssertionError: It was not, within `timeout_s`: the fault was not reached.
        """
        end = time.monotonic() + timeout_s
        while self._counts[what] < count:
            assert time.monotonic() < end, (
                f"{what} is {self._counts[what]} after {timeout_s} s, not {count}: {self.counts}"
            )
            time.sleep(0.005)

    # faults

    def delay(self, seconds: float, direction: Direction | None = None) -> None:
        """Let every chunk wait `seconds` before it goes on, one after another; 0 ends it."""
        self._set(direction, delay_s=seconds)

    def slow(self, bytes_per_s: float, direction: Direction | None = None) -> None:
        """Let each connection pass no more than `bytes_per_s`; 0 ends it."""
        self._set(direction, bytes_per_s=bytes_per_s)

    def black_hole(self, on: bool = True, direction: Direction | None = None, *, listening: bool = True) -> None:
        """Swallow every byte and leave connections open.

        With a hole in both directions, new connections are accepted, counted, and never get an answer, not even when the
        hole is gone; without `listening` it is connect() itself that hangs until the hole is gone, and such a connection
        is not counted, because nobody but the kernel sees it. That is Linux's way: elsewhere connect() returns and nothing
        answers, and a non-blocking connect() to a Unix socket, as gRPC makes, fails at once with EAGAIN.
        """
        self._set(direction, black=on)
        self._do(lambda: self._door.set(clogged=on and not listening))

    def hold(self, direction: Direction | None = "down") -> None:
        """Keep what comes, up to HELD_BYTES_MAX a connection, until `release`: an answer that comes late."""
        self._set(direction, hold=True)

    def release(self, direction: Direction | None = "down") -> None:
        """Pass on, in order, what was held."""
        self._set(direction, hold=False)

    def cut_at(
        self,
        count: int | None,
        direction: Direction = "down",
        *,
        times: int | None = None,
        reset: bool = False,
    ) -> None:
        """Cut a connection when `count` bytes of it have passed in that direction, for 0 when the first byte comes.

        Only the next `times` connections that get so far are cut, or each for None. Both ends are closed, or reset
        where they are TCP. A connection that is past `count` already is spared. A `count` of None ends it.

        Raises:
            ValueError: A reset was asked for and neither end is TCP.
        """
        self._check_reset(reset)
        self._set(direction, cut_at=count, cuts_left=times, cut_resets=reset)

    def cut_now(self, *, reset: bool = False) -> int:
        """Cut all open connections, reset them where they are TCP if so told, and return how many there were.

        Raises:
            ValueError: A reset was asked for and neither end is TCP.
        """
        self._check_reset(reset)
        return self._wait(self._cut_all(reset))

    def refuse(self, on: bool = True, *, listening: bool = True) -> None:
        """Refuse new connections: each is accepted, counted, and reset (closed on a Unix socket) before a byte passes.

        The client learns of it from its first read or write, or, when it is slow, from connect().
        Without `listening` nobody listens, so connect() itself fails with ECONNREFUSED, and nobody can count it.
        """
        self._do(lambda: self._refuse(on, listening))

    def flap(self, period_s: float, times: int) -> Future[None]:
        """Be down for `period_s` and then up as long, `times` times; down means: all cut, and new connections refused.

        Returns at once. The future is done when it is over; the end of the proxy ends it, too.
        """
        return asyncio.run_coroutine_threadsafe(self._flap(period_s, times), self._loop)

    def heal(self) -> None:
        """End every fault except a running flap; what was held is passed on."""
        self._set(None, **{one.name: one.default for one in fields(_Lane)})
        self.black_hole(False)
        self.refuse(False)

    def recorded(self, connection: int = -1) -> bytes:
        """Return what the client of one connection has sent; connections are numbered from 0 as they came.

        Raises:
            ValueError: More was sent than RECORDED_BYTES_MAX, so the record is not whole.
        """
        record = self._records[connection]
        if not record.whole:
            raise ValueError(f"connection {connection} sent more than the {RECORDED_BYTES_MAX} bytes that are recorded")
        return bytes(record.data)

    def replay(
        self, connection: int = -1, *, upto: int | None = None, quiet_s: float = 0.3, deadline_s: float = 5
    ) -> bytes:
        """Send what an earlier connection's client sent to the target once more, on a connection of its own.

        Returns what the target answered until it closed, or said nothing for `quiet_s` after its first byte, or
        `deadline_s` had passed. Only the first `upto` bytes are sent if given, to leave out how the client ended.
        No fault applies to it.
        """
        data = self.recorded(connection)[:upto]
        return self._wait(self._replay(data, quiet_s, deadline_s), deadline_s + _DEADLINE_S)

    # in the loop's thread

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._door = _Door(self.address, self._connected)
        try:
            self._door.set()
        except BaseException as error:
            self._started.set_exception(error)
            return
        self.address = self._door.address
        self._started.set_result(None)
        await self._stop.wait()
        self._door.leave()
        for task in (*self._live, *self._flaps):
            task.cancel()
        await asyncio.gather(*self._live, *self._flaps, return_exceptions=True)

    def _connected(self, client: socket.socket) -> None:
        self._counts["connections"] += 1
        record = _Record()
        self._records.append(record)
        if self._refusing:
            self._counts["refused"] += 1
            _close(client, reset=True)
            return
        connection = _Connection(self._lanes, self._counts, record, client)
        task = self._loop.create_task(connection.run(self._target))
        self._live[task] = connection
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._live.pop(task).close()
        if not task.cancelled() and (error := task.exception()):
            self._troubles.append(error)

    async def _cut_all(self, reset: bool) -> int:
        live = dict(self._live)
        for task, connection in live.items():
            connection.mark_cut(reset)
            task.cancel()
        await asyncio.gather(*live, return_exceptions=True)
        return len(live)

    def _refuse(self, on: bool, listening: bool) -> None:
        self._refusing = on
        self._door.set(closed=on and not listening)

    async def _flap(self, period_s: float, times: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._flaps.add(task)
        try:
            for _ in range(times):
                self._refusing = True
                await self._cut_all(reset=False)
                self._counts["flapped"] += 1
                await asyncio.sleep(period_s)
                self._refusing = False
                await asyncio.sleep(period_s)
        finally:
            self._refusing = False
            self._flaps.discard(task)

    async def _replay(self, data: bytes, quiet_s: float, deadline_s: float) -> bytes:
        answer = bytearray()
        with _socket(self._target) as target:
            await self._loop.sock_connect(target, _plain(self._target))
            self._counts["duplicated"] += 1
            sending = self._loop.create_task(self._loop.sock_sendall(target, data))
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(deadline_s):
                    while piece := await asyncio.wait_for(
                        self._loop.sock_recv(target, CHUNK_BYTES), quiet_s if answer else None
                    ):
                        answer += piece
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        return bytes(answer)

    def _set(self, direction: Direction | None, **what: Any) -> None:
        def change() -> None:
            for name in ("up", "down") if direction is None else (direction,):
                for key, value in what.items():
                    setattr(self._lanes[name], key, value)
            for connection in self._live.values():
                connection.news()

        self._do(change)

    def _check_reset(self, reset: bool) -> None:
        if reset and not any(isinstance(end, tuple) for end in (self.address, self._target)):
            raise ValueError("a reset needs a TCP end; a Unix socket can only be closed")

    # from other threads

    def _do(self, work: Callable[[], T]) -> T:
        async def doing() -> T:
            return work()

        return self._wait(doing())

    def _wait(self, work: Coroutine[Any, Any, T], timeout_s: float = _DEADLINE_S) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)


class _Connection:
    """One client, and the target's end that was opened for it."""

    def __init__(
        self, lanes: dict[Direction, _Lane], counts: dict[str, int], record: _Record, client: socket.socket
    ) -> None:
        self._lanes = lanes
        self._counts = counts
        self._record = record
        self._client = client
        self._target: socket.socket | None = None
        self._pipes: list[_Pipe] = []
        self._reset = False

    async def run(self, address: Address) -> None:
        """Pass bytes both ways until both ends have closed, one fails, or a cut."""
        loop = asyncio.get_running_loop()
        if all(lane.black for lane in self._lanes.values()):
            await self._lose()
            return
        self._target = _socket(address)
        try:
            await loop.sock_connect(self._target, _plain(address))
        except OSError:
            self._counts["unreachable"] += 1
            self._reset = True
            return
        up = _Pipe("up", self._lanes["up"], self._counts, self._client, self._target, self._keep)
        down = _Pipe("down", self._lanes["down"], self._counts, self._target, self._client, lambda data: None)
        self._pipes = [up, down]
        try:
            async with asyncio.TaskGroup() as group:
                for work in (up.fill, up.drain, down.fill, down.drain):
                    group.create_task(work())
        except* OSError:
            self._reset = True  # one end was torn down, and the other learns of it in the same way
        except* _Cut as cut:
            self.mark_cut(cut.exceptions[0].args[0])

    def news(self) -> None:
        """Let everything that waits look at the faults again."""
        for pipe in self._pipes:
            pipe.news()

    def mark_cut(self, reset: bool) -> None:
        """Count the cut that is about to be made."""
        self._reset = reset
        self._counts["reset" if reset else "cut"] += 1

    def close(self) -> None:
        """Close both ends."""
        for end in filter(None, (self._client, self._target)):
            _close(end, reset=self._reset)

    async def _lose(self) -> None:
        self._counts["black_holed"] += 1
        with contextlib.suppress(OSError):
            while data := await asyncio.get_running_loop().sock_recv(self._client, CHUNK_BYTES):
                self._keep(data)
                self._counts["black_holed"] += 1

    def _keep(self, data: bytes) -> None:
        room = RECORDED_BYTES_MAX - len(self._record.data)
        self._record.data += data[:room]
        self._record.whole = self._record.whole and len(data) <= room


class _Pipe:
    """One direction of a connection: `fill` reads into a queue, `drain` applies the faults and passes on."""

    def __init__(
        self,
        name: Direction,
        lane: _Lane,
        counts: dict[str, int],
        source: socket.socket,
        sink: socket.socket,
        keep: Callable[[bytes], None],
    ) -> None:
        self._name: Direction = name
        self._lane = lane
        self._counts = counts
        self._source = source
        self._sink = sink
        self._keep = keep
        self._queue: deque[bytes] = deque()  # b"" at its end says that the source has closed
        self._queued_bytes = 0
        self._passed = 0
        self._lost = False
        self._news = asyncio.Event()

    def news(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _until(self, true: Callable[[], object]) -> None:
        while not true():
            await self._news.wait()

    async def fill(self) -> None:
        loop, data = asyncio.get_running_loop(), b"-"
        while data:
            try:
                data = await loop.sock_recv(self._source, CHUNK_BYTES)
            except ConnectionError:
                if not self._lane.black:
                    raise
                data = b""  # a hole swallows a reset, too
            self._keep(data)
            self._queue.append(data)
            self._queued_bytes += len(data)
            self._counts["held"] += self._lane.hold and bool(data)
            self.news()
            await self._until(lambda: self._queued_bytes < (HELD_BYTES_MAX if self._lane.hold else CHUNK_BYTES))

    async def drain(self) -> None:
        data = b"-"
        while data:
            await self._until(lambda: self._queue)
            await self._until(lambda: not self._lane.hold)
            data = self._queue.popleft()
            self._queued_bytes -= len(data)
            self.news()
            await self._pass(data)

    async def _pass(self, data: bytes) -> None:
        if data and self._lane.delay_s:
            self._counts["delayed"] += 1
            await asyncio.sleep(self._lane.delay_s)
        rest = memoryview(data)
        while rest or not data:
            await self._until(lambda: not self._lane.hold)
            if self._lane.black or self._lost:
                self._lost = True
                self._counts["black_holed"] += bool(data)
                return
            if not data:
                with contextlib.suppress(OSError):  # it may be closed already
                    self._sink.shutdown(socket.SHUT_WR)
                return
            rest = rest[await self._send(rest) :]

    async def _send(self, rest: memoryview) -> int:
        """Send as much as the faults allow at once, and return how much that was."""
        rate, room = self._lane.bytes_per_s, self._room()
        piece = rest if not rate else rest[: max(1, int(rate / SLICES_PER_S))]
        piece = piece if room is None else piece[:room]
        if piece:
            await asyncio.get_running_loop().sock_sendall(self._sink, piece)
        self._passed += len(piece)
        self._counts[f"bytes_{self._name}"] += len(piece)
        if self._room() == 0:
            if self._lane.cuts_left is not None:
                self._lane.cuts_left -= 1
            raise _Cut(self._lane.cut_resets)
        if rate:
            self._counts["slowed"] += 1
            await asyncio.sleep(len(piece) / rate)
        return len(piece)

    def _room(self) -> int | None:
        """Return how many bytes may pass before a cut, or None when none is to come."""
        at = self._lane.cut_at
        return None if at is None or self._passed > at or self._lane.cuts_left == 0 else at - self._passed


class _Door:
    """The listening socket: open, clogged (connect() hangs) or closed (connect() is refused)."""

    _numbers = itertools.count()

    def __init__(self, address: Address, connected: Callable[[socket.socket], None]) -> None:
        self.address = address
        self._connected = connected
        self._closed = self._clogged = False
        self._listener: socket.socket | None = None
        self._plugs: dict[Any, socket.socket] = {}  # our own connections in the queue, by the name the other end sees
        self._made = False

    def set(self, *, closed: bool | None = None, clogged: bool | None = None) -> None:
        """Change what is given and keep the rest."""
        before = (self._closed, self._clogged)
        self._closed = self._closed if closed is None else closed
        self._clogged = self._clogged if clogged is None else clogged
        if self._made and before == (self._closed, self._clogged):
            return
        if self._closed:
            self._close()
            return
        self._open()
        if self._clogged:
            self._clog()

    def leave(self) -> None:
        """Stop listening, and remove the path."""
        self._close()
        if self._made and not isinstance(self.address, tuple):
            Path(self.address).unlink(missing_ok=True)

    def _open(self) -> None:
        if self._listener is None:
            self._listener = self._listening()
        self._listener.listen(128)
        asyncio.get_running_loop().add_reader(self._listener, self._accept)
        for plug in self._plugs.values():
            plug.close()  # `_accept` meets what is left of it, and knows it by its name

    def _close(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
        self._listener = None
        for plug in self._plugs.values():
            plug.close()
        self._plugs.clear()

    def _clog(self) -> None:
        """Fill the queue of connections nobody has accepted, so that the kernel lets the next one wait."""
        assert self._listener is not None
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.listen(0)
        while sys.platform == "linux" and self._plug():
            pass

    def _plug(self) -> bool:
        plug = _socket(self.address)
        if plug.family == socket.AF_UNIX:
            plug.bind(f"\0fault-proxy-{os.getpid()}-{next(self._numbers)}")
        plug.connect_ex(_plain(self.address))
        time.sleep(0.01)  # a handshake on one machine takes microseconds; what is not done by now is not answered
        try:
            plug.getpeername()
        except OSError:
            plug.close()
            return False
        self._plugs[plug.getsockname()] = plug
        return True

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            client, peer = self._listener.accept()
        except OSError:
            return  # it went away again
        if self._plugs.pop(peer, None) is not None:
            client.close()
            return
        client.setblocking(False)
        _nodelay(client)
        self._connected(client)

    def _listening(self) -> socket.socket:
        if self._made and not isinstance(self.address, tuple):
            Path(self.address).unlink(missing_ok=True)  # it is ours, from before the door was closed
        listener = _socket(self.address)
        try:
            if isinstance(self.address, tuple):
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(_plain(self.address))
        except BaseException:
            listener.close()
            raise
        self._made = True
        if isinstance(self.address, tuple):
            port: int = listener.getsockname()[1]
            self.address = (self.address[0], port)
        return listener


def _plain(address: Address) -> str | tuple[str, int]:
    return address if isinstance(address, tuple) else str(address)


def _socket(address: Address) -> socket.socket:
    if isinstance(address, tuple):
        made = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    else:
        made = socket.socket(socket.AF_UNIX)
    made.setblocking(False)
    _nodelay(made)
    return made


def _nodelay(end: socket.socket) -> None:
    if end.family != socket.AF_UNIX:
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _close(end: socket.socket, *, reset: bool) -> None:
    with contextlib.suppress(OSError):
        if reset and end.family != socket.AF_UNIX:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        else:
            for _ in range(64):  # what is unread when an end is closed would turn the close into a reset
                if not end.recv(CHUNK_BYTES):
                    break
    end.close()
