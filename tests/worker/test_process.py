import asyncio
import json
import os
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine import Machine, dispatcher, ended, question

REPLIES = [{"persona": "coder", "text": "x"}, {"persona": "stuck", "fault": "hang"}]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path, REPLIES)
    yield made
    made.__exit__()


def refused(machine: Machine, *more: str) -> tuple[int, str]:
    status, errors = ended(machine.spawn(*more))
    assert "Traceback" not in errors
    return status, errors


def test_the_socket_is_its_owners_alone_and_goes_with_the_worker(machine: Machine) -> None:
    machine.start()
    assert stat.S_IMODE(machine.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(machine.state.stat().st_mode) == 0o700
    started = time.monotonic()
    assert machine.stop(signal.SIGTERM) == 0
    assert time.monotonic() - started < 5
    assert not machine.socket.exists()


def test_a_call_under_way_does_not_keep_it(machine: Machine) -> None:
    async def scenario() -> None:
        async with dispatcher(machine.socket) as made:
            call = asyncio.create_task(made.complete(question("stuck", "stuck"), lambda chunk: None))
            await asyncio.sleep(0.5)
            started = time.monotonic()
            assert await asyncio.to_thread(machine.stop, signal.SIGTERM) == 0
            assert time.monotonic() - started < 3
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)

    machine.start()
    asyncio.run(scenario())
    assert not machine.socket.exists()


def test_a_second_worker_is_refused_and_the_first_stays(machine: Machine, tmp_path: Path) -> None:
    machine.start()
    assert machine.process is not None
    for more in ((), ("--socket", str(tmp_path / "other.sock")), ("--service",)):
        status, errors = refused(machine, *more)
        assert status == 5
        assert f"a worker (process {machine.process.pid}) has {machine.state} already" in errors
    status, errors = refused(machine, "--state", str(tmp_path / "other"))
    assert status == 5
    assert "a worker listens on" in errors
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(machine.socket))


def test_one_that_was_replaced_ends_and_says_so(machine: Machine) -> None:
    machine.start()
    assert machine.process is not None
    with machine.spawn("--lifeline") as later:
        status, errors = ended(machine.process)
        assert (status, errors) == (
            75,
            f"error: another worker was started over {machine.state}, or the folder is gone: this one does nothing more,"
            " and ends\n",
        )
        assert later.poll() is None
        later.kill()


def test_a_socket_left_behind_is_taken_over(machine: Machine) -> None:
    machine.start()
    machine.stop(signal.SIGKILL)
    assert machine.socket.is_socket()
    machine.start()
    assert machine.stop() == 0


def test_a_file_where_the_socket_should_be_is_left_alone(machine: Machine) -> None:
    machine.socket.write_text("mine")
    status, errors = refused(machine)
    assert status == 2
    assert "is not a socket" in errors
    assert machine.socket.read_text() == "mine"


def test_with_a_lifeline_it_leaves_when_its_input_ends(machine: Machine) -> None:
    machine.start("--lifeline")
    process = machine.process
    assert process is not None
    assert process.stdin is not None
    process.stdin.write(b"words change nothing")
    process.stdin.flush()
    time.sleep(0.2)
    assert process.poll() is None
    process.stdin.close()
    process.stdin = None
    assert process.wait(10) == 0
    assert not machine.socket.exists()


def test_without_a_lifeline_it_stays_when_its_input_ends(machine: Machine) -> None:
    machine.start()
    process = machine.process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None
    time.sleep(0.4)
    assert process.poll() is None


@pytest.mark.parametrize("address", ["127.0.0.1:7070", "0.0.0.0:0", "localhost", "[::]:7070"])
def test_it_listens_on_no_network_address(machine: Machine, address: str) -> None:
    status, errors = refused(machine, "--socket", address)
    assert status == 2
    assert f"'{address}' is no path" in errors


def test_a_socket_path_too_long_for_the_system_is_refused(machine: Machine, tmp_path: Path) -> None:
    status, errors = refused(machine, "--socket", str(tmp_path / ("s" * 120)))
    assert status == 2
    assert "a socket's path may have 103; name another with --socket" in errors


def test_the_folder_around_the_socket_is_left_as_it_is_and_made_private_where_missing(
    machine: Machine, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    for folder, mode in ((shared, 0o755), (tmp_path / "new" / "er", 0o700)):
        machine.socket = folder / "w.sock"
        machine.argv[1] = str(machine.socket)
        machine.start()
        assert stat.S_IMODE(folder.stat().st_mode) == mode
        assert stat.S_IMODE(machine.socket.stat().st_mode) == 0o600
        assert machine.stop() == 0


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_it_may_not_write_to_is_named(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    status, errors = refused(machine, "--socket", str(tmp_path / "closed" / "w.sock"))
    assert status == 2
    assert "cannot listen on" in errors


def test_a_script_that_does_not_fit_is_a_line_and_a_status(machine: Machine) -> None:
    script = Path(machine.env["TANDEM_REHEARSAL_SCRIPT"])
    script.write_text(json.dumps({"name": "play", "replies": [{"persona": "a"}, {"text": "b"}]}))
    status, errors = refused(machine)
    assert status == 2
    assert f"{script}: replies.1.persona: Field required" in errors


def test_a_state_folder_that_is_a_link_is_refused(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    machine.state.symlink_to(tmp_path / "elsewhere")
    status, errors = refused(machine)
    assert status == 2
    assert "is a link" in errors
    assert list((tmp_path / "elsewhere").iterdir()) == []
