"""The tools that spoil things for other tests: each fault really happens, is counted, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import clockshim, smalldisk
from tests.support.clockshim import clock_shim
from tests.support.faultproxy import Address, Direction, FaultProxy
from tests.support.smalldisk import SmallDisk, small_disk

LOOPBACK = ("127.0.0.1", 0)
CLOCKS = """
import ctypes, datetime, json, time
coarse, libc, of_day = 5, ctypes.CDLL(None), (ctypes.c_long * 2)()
libc.gettimeofday(of_day, None)
walls = [time.time(), datetime.datetime.now().timestamp(), libc.time(None), of_day[0] + of_day[1] / 1e6]
print(json.dumps([*walls, time.clock_gettime(coarse), time.monotonic()]), flush=True)
"""


class _Echo(socketserver.BaseRequestHandler):
    """Answers each piece with "<" piece ">"."""

    def handle(self) -> None:
        assert isinstance(self.server, (_Unix, _Tcp))
        self.server.opened += 1
        try:
            while piece := self.request.recv(1 << 16):
                self.server.heard += piece
                self.request.sendall(b"<" + piece + b">")
        except OSError as error:
            self.server.troubles.append(error.errno or 0)
        self.server.closed += 1


class _Served:
    daemon_threads = True

    def begin(self) -> None:
        self.heard = b""
        self.opened = self.closed = 0
        self.troubles: list[int] = []


class _Unix(_Served, socketserver.ThreadingUnixStreamServer):
    pass


class _Tcp(_Served, socketserver.ThreadingTCPServer):
    pass


Server = _Unix | _Tcp


@contextmanager
def echo(folder: Path, kind: str) -> Generator[tuple[Server, Address]]:
    server = _Unix(str(folder / "echo.sock"), _Echo) if kind == "unix" else _Tcp(LOOPBACK, _Echo)
    server.begin()
    server.daemon_threads = False  # so that closing it proves that every connection to it has ended
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server, folder / "echo.sock" if kind == "unix" else server.socket.getsockname()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def nothing_left() -> Generator[None]:
    before = (threading.active_count(), _open_files())
    yield
    left = (threading.active_count(), _open_files())
    assert all(now <= then for now, then in zip(left, before, strict=True)), (before, left)  # other tests' may end


def _open_files() -> int:
    here = Path("/proc/self/fd") if sys.platform == "linux" else Path("/dev/fd")
    return len(list(here.iterdir()))


class Case:
    """An echo server behind a proxy."""

    def __init__(self, server: Server, proxy: FaultProxy) -> None:
        self.server = server
        self.proxy = proxy

    def client(self, timeout_s: float = 3.0) -> socket.socket:
        return connected(self.proxy.address, timeout_s)

    @contextmanager
    def talking(self, timeout_s: float = 3.0) -> Generator[socket.socket]:
        """Yield a client that has been answered once already, and from now on waits no longer than `timeout_s`."""
        with self.client() as client:
            assert asked(client, b"hello") == b"<hello>"
            client.settimeout(timeout_s)
            yield client


def connected(address: Address, timeout_s: float = 3.0) -> socket.socket:
    made = socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX)
    made.settimeout(timeout_s)
    try:
        made.connect(address if isinstance(address, tuple) else str(address))
    except BaseException:
        made.close()
        raise
    return made


def asked(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    return heard(client, len(data) + 2)


def heard(client: socket.socket, count: int) -> bytes:
    """Return `count` bytes, or fewer where the stream ends."""
    got = b""
    while len(got) < count and (piece := client.recv(count - len(got))):
        got += piece
    return got


@pytest.fixture(params=["unix", "tcp"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Case]:
    listen = tmp_path / "proxy.sock" if request.param == "unix" else LOOPBACK
    with nothing_left(), echo(tmp_path, request.param) as (server, target):
        with FaultProxy(listen=listen, target=target) as proxy:
            yield Case(server, proxy)
        assert not (tmp_path / "proxy.sock").exists()


def timed(work: Callable[[], object]) -> float:
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def soon(true: Callable[[], object]) -> None:
    end = time.monotonic() + 3
    while not true():
        assert time.monotonic() < end, "it did not become true within 3 s"
        time.sleep(0.005)


# the proxy


def test_passes_bytes_and_their_end_unspoiled(case: Case) -> None:
    with case.client() as client:
        data = os.urandom(300_000)
        sending = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
        sending.start()
        got = b"".join(iter(lambda: client.recv(1 << 16), b""))
        sending.join()
    assert case.server.heard == data
    assert len(got) > len(data)
    counts = case.proxy.counts
    assert (counts["bytes_up"], counts["bytes_down"], counts["connections"]) == (len(data), len(got), 1)
    assert not any(counts[name] for name in ("cut", "reset", "delayed", "slowed", "held", "black_holed", "refused"))
    soon(lambda: case.proxy.live() == 0)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_delays_each_chunk_in_one_direction(case: Case, direction: Direction) -> None:
    with case.talking() as client:
        case.proxy.delay(0.1, direction)
        assert timed(lambda: asked(client, b"x")) >= 0.1
        assert case.proxy.counts["delayed"] == 1
        case.proxy.delay(0)
        asked(client, b"x")
        assert case.proxy.counts["delayed"] == 1


def test_passes_no_more_than_the_bytes_per_second(case: Case) -> None:
    with case.talking() as client:
        case.proxy.slow(10_000, "up")
        assert timed(lambda: asked(client, bytes(2_000))) >= 0.15
        assert case.proxy.counts["slowed"] >= 10


def test_a_black_hole_swallows_bytes_and_connections_stay_open(case: Case) -> None:
    with case.talking(0.1) as client:
        case.proxy.black_hole()
        with pytest.raises(TimeoutError):
            asked(client, b"lost")
        with case.client(0.1) as new, pytest.raises(TimeoutError):  # connected, and never answered
            asked(new, b"lost")
        case.proxy.wait_for("black_holed", 3)  # two chunks, and the connection
        case.proxy.black_hole(False)
        with case.talking():
            pass
        with pytest.raises(TimeoutError):  # a stream that lost bytes has no gap: it stays dead
            asked(client, b"late")
    assert case.server.heard == b"hellohello"


def test_a_hole_towards_the_client_loses_only_the_answer(case: Case) -> None:
    with case.talking(0.1) as client:
        case.proxy.black_hole(direction="down")
        with pytest.raises(TimeoutError):
            asked(client, b"done")
    soon(lambda: case.server.heard == b"hellodone")
    assert case.proxy.counts["black_holed"] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere connect() returns at once")
def test_connecting_hangs_until_a_hole_that_does_not_listen_is_gone(case: Case) -> None:
    case.proxy.black_hole(listening=False)
    with pytest.raises((TimeoutError, BlockingIOError)):
        case.client(0.2)
    case.proxy.black_hole(False)
    with case.talking():
        pass
    soon(lambda: case.proxy.counts["connections"] == case.server.opened)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_cuts_at_the_byte_it_was_told(case: Case, direction: Direction) -> None:
    case.proxy.cut_at(4, direction, times=1)
    with case.client() as client:
        client.sendall(b"abcdefgh")
        got = heard(client, 100)
    soon(lambda: case.server.closed == 1)
    assert (case.server.heard, got)[direction == "down"] == (b"abcd", b"<abc")[direction == "down"]
    assert case.proxy.counts["cut"] == 1
    assert case.proxy.counts[f"bytes_{direction}"] == 4
    with case.talking():  # only one was to be cut
        pass


def test_a_cut_at_byte_0_lets_the_question_through_and_no_answer(case: Case) -> None:
    case.proxy.cut_at(0)
    with case.client() as client:
        assert asked(client, b"done") == b""
    assert (case.server.heard, case.proxy.counts["cut"]) == (b"done", 1)


def test_a_connection_past_the_byte_is_spared(case: Case) -> None:
    with case.talking() as client:
        case.proxy.cut_at(3)
        assert asked(client, b"more") == b"<more>"
    assert case.proxy.counts["cut"] == 0


def test_resets_where_there_is_tcp_and_says_where_there_is_none(case: Case) -> None:
    if isinstance(case.server, _Unix):
        with pytest.raises(ValueError, match="TCP"):
            case.proxy.cut_now(reset=True)
        return
    with case.talking() as client:
        case.proxy.cut_at(10, reset=True)
        client.sendall(b"reset")
        with pytest.raises(ConnectionResetError):
            heard(client, 8)
    soon(lambda: case.server.troubles == [errno.ECONNRESET])
    assert (case.proxy.counts["reset"], case.proxy.counts["cut"]) == (1, 0)


def test_cuts_all_live_connections_now(case: Case) -> None:
    with case.talking() as one, case.talking() as two:
        assert case.proxy.cut_now() == 2
        assert (one.recv(1), two.recv(1)) == (b"", b"")
    assert (case.proxy.counts["cut"], case.proxy.live()) == (2, 0)


def test_refuses_and_counts_while_old_connections_go_on(case: Case) -> None:
    with case.talking() as old:
        case.proxy.refuse()
        answer = b""
        with contextlib.suppress(ConnectionError), case.client() as new:
            answer = asked(new, b"x")
        assert (answer, case.proxy.counts["refused"]) == (b"", 1)
        case.proxy.refuse(listening=False)
        with pytest.raises(ConnectionRefusedError):
            case.client()
        assert asked(old, b"old") == b"<old>"
        case.proxy.refuse(False)
        with case.talking():
            pass


def test_a_held_answer_comes_late_and_whole(case: Case) -> None:
    with case.talking(0.1) as client:
        case.proxy.hold()
        with pytest.raises(TimeoutError):
            asked(client, b"first")
        client.sendall(b"second")
        case.proxy.wait_for("held", 2)
        assert case.server.heard == b"hellofirstsecond"
        client.settimeout(3)
        case.proxy.release()
        assert heard(client, 15) == b"<first><second>"


def test_holds_more_than_the_kernel_would_keep(case: Case) -> None:
    big = bytes(4 << 20)
    with case.talking() as client:
        case.proxy.hold("up")
        client.sendall(big)
        case.proxy.wait_for("held", len(big) >> 16)  # all of it, in chunks of 64 KiB at most
        case.proxy.release("up")
        seen = len(b"hello")
        while seen < len(big):  # the echo's brackets come on top
            seen += len(client.recv(1 << 20))


def test_sends_a_recorded_question_once_more(case: Case) -> None:
    with case.talking() as client:
        asked(client, b"pay")
    assert case.proxy.recorded() == b"hellopay"
    assert case.proxy.replay(quiet_s=0.05) == b"<hellopay>"
    assert case.proxy.replay(0, upto=5, quiet_s=0.05) == b"<hello>"
    assert case.server.heard == b"hellopay" * 2 + b"hello"
    assert (case.proxy.counts["duplicated"], case.proxy.counts["connections"]) == (2, 1)


def test_flaps(case: Case) -> None:
    with case.talking() as client:
        flapping = case.proxy.flap(0.05, 2)
        assert client.recv(1) == b""
    flapping.result(3)
    assert (case.proxy.counts["flapped"], case.proxy.counts["cut"]) == (2, 1)
    with case.talking():
        pass


def test_heals_everything_at_once(case: Case) -> None:
    case.proxy.delay(5)
    case.proxy.slow(1)
    case.proxy.hold(None)
    case.proxy.cut_at(1)
    case.proxy.black_hole(listening=False)
    case.proxy.refuse(listening=False)
    case.proxy.heal()
    with case.talking():
        pass


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_ends_with_faults_still_running(tmp_path: Path, kind: str) -> None:
    listen = tmp_path / "proxy.sock" if kind == "unix" else LOOPBACK
    with nothing_left(), echo(tmp_path, kind) as (_, target):
        with FaultProxy(listen=listen, target=target) as proxy:
            client = connected(proxy.address)
            proxy.hold(None)
            client.sendall(b"never passed on")
            proxy.wait_for("held")
            proxy.black_hole(listening=False)
            flapping = proxy.flap(60, 9)
            proxy.wait_for("flapped")
        with client:
            assert client.recv(1) == b""
        assert flapping.cancelled()


def test_says_when_a_fault_was_never_reached(case: Case) -> None:
    with pytest.raises(AssertionError, match="cut is 0"):
        case.proxy.wait_for("cut", timeout_s=0.02)


def test_counts_a_target_that_is_not_there(tmp_path: Path) -> None:
    with nothing_left(), FaultProxy(listen=LOOPBACK, target=tmp_path / "nobody") as proxy:
        with pytest.raises(ConnectionResetError), connected(proxy.address) as client:
            client.recv(1)
        assert proxy.counts["unreachable"] == 1


def test_an_address_that_is_taken_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with nothing_left():
        with pytest.raises(OSError, match="in use"):
            FaultProxy(listen=tmp_path / "taken", target=tmp_path / "x").__enter__()
        assert (tmp_path / "taken").exists()


# the clock


def clocks(env: dict[str, str], program: str = CLOCKS) -> list[float]:
    """Return five readings of a child's wall clock and one of its monotonic clock."""
    argv = [sys.executable, "-S", "-c", program]
    done = subprocess.run(argv, env={**os.environ, **env}, capture_output=True, text=True, timeout=20, check=True)
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture
def shim(tmp_path: Path) -> Generator[clockshim.ClockShim]:
    if reason := clockshim.available():
        (pytest.fail if sys.platform == "linux" else pytest.skip)(reason)
    with nothing_left(), clock_shim(tmp_path) as made:
        yield made


@pytest.mark.parametrize("seconds", [7200.5, -86_400.0])
def test_shifts_the_wall_clock_and_not_the_monotonic_one(shim: clockshim.ClockShim, seconds: float) -> None:
    shim.set(seconds)
    begin = (time.time(), time.monotonic())
    *walls, monotonic = clocks(shim.env)
    for wall in walls:
        assert begin[0] - 1.1 <= wall - seconds <= time.time()  # one gives whole seconds, one lags by a tick
    assert begin[1] <= monotonic <= time.monotonic()
    assert shim.calls() >= len(walls)


def test_counts_nothing_while_nothing_is_shifted(shim: clockshim.ClockShim) -> None:
    assert abs(clocks(shim.env)[0] - time.time()) < 5
    assert shim.calls() == 0


def test_a_running_child_sees_a_jump(shim: clockshim.ClockShim) -> None:
    program = f"import sys\nfor line in sys.stdin:\n    exec({CLOCKS!r})"
    with subprocess.Popen(
        [sys.executable, "-S", "-c", program],
        env={**os.environ, **shim.env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        seen: list[float] = []
        for seconds in (0, 3600, -3600, 0):
            shim.set(seconds)
            child.stdin.write("\n")
            child.stdin.flush()
            seen.append(round((json.loads(child.stdout.readline())[0] - time.time()) / 3600))
    assert seen == [0, 1, -1, 0]


def test_reaches_what_a_child_starts(shim: clockshim.ClockShim) -> None:
    shim.set(1_000_000)
    program = f"import subprocess, sys\nsubprocess.run([sys.executable, '-S', '-c', {CLOCKS!r}], check=True)"
    assert clocks(shim.env, program)[0] - time.time() > 999_000
    begun = shim.calls()
    done = subprocess.run(["date", "+%s"], env={**os.environ, **shim.env}, capture_output=True, text=True, check=True)
    assert int(done.stdout) - time.time() > 999_000
    assert shim.calls() > begun


# the disk


@pytest.fixture(params=["shared", "private"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[SmallDisk]:
    private = request.param == "private"
    if not private and os.geteuid() != 0:
        pytest.skip("a disk that everybody sees is root's")
    smalldisk.require(private=private)
    with nothing_left():
        with small_disk(tmp_path, 1 << 20, private=private) as made:
            yield made
        assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
        assert list(tmp_path.iterdir()) == []


def shell(disk: SmallDisk, text: str) -> str:
    """Return what a command on the disk complained of, or ""."""
    argv = disk.wrap(["sh", "-c", f'cd "{disk.path}" && {text}'])
    return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False).stderr


def test_is_full_when_it_is_filled_and_free_again(disk: SmallDisk) -> None:
    assert disk.fill(64 << 10) == 64 << 10
    assert shell(disk, "head -c 32768 /dev/zero > some") == ""
    assert disk.fill() == 0
    assert "No space left" in shell(disk, "head -c 1 /dev/zero > more")
    with pytest.raises(OSError) as raised:
        (disk.seen / "here").write_bytes(b"x")
    assert raised.value.errno == errno.ENOSPC
    disk.free()
    assert disk.left() == (1 << 20) - 32768
    assert shell(disk, "head -c 100000 /dev/zero > more") == ""


def test_is_read_only_and_writable_again(disk: SmallDisk) -> None:
    assert disk.remount_read_only() == "whole"
    assert "Read-only" in shell(disk, "echo > a")
    disk.writable()
    assert shell(disk, "echo > a") == ""


def test_an_open_file_stays_writable_on_a_disk_that_became_read_only(disk: SmallDisk) -> None:
    with (disk.seen / "open").open("wb", buffering=0) as file:
        assert disk.remount_read_only() == "new"
        assert "Read-only" in shell(disk, "echo > a")
        file.write(b"still")
        disk.writable()
        assert shell(disk, "echo > a && test $(cat open) = still") == ""
        disk.remount_read_only()  # and is left so


def test_goes_even_while_a_process_stands_on_it(tmp_path: Path) -> None:
    smalldisk.require()
    with small_disk(tmp_path, 1 << 20) as disk:
        argv = disk.wrap(["sh", "-c", f'cd "{disk.path}" && echo there && exec sleep 60'])
        child = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"there\n"
    try:
        assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    finally:
        child.kill()
        child.communicate(timeout=10)


def test_goes_when_the_test_fails(tmp_path: Path) -> None:
    smalldisk.require()
    with pytest.raises(KeyError), small_disk(tmp_path, 1 << 20):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_says_why_it_can_not_be_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smalldisk.available.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        assert "install util-linux" in smalldisk.available()
        outcome = pytest.fail.Exception if os.geteuid() == 0 else pytest.skip.Exception
        with pytest.raises(outcome, match="util-linux"):
            smalldisk.require()
        with pytest.raises(RuntimeError, match="util-linux"), small_disk(tmp_path, 1 << 20):
            pass
    finally:
        smalldisk.available.cache_clear()
