"""What a command in the sandbox cannot reach, and that no limit leaves a process behind. Real processes, no model."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tandem.types import Limits
from tests.support.trees import known_rung, rung
from worker import sandbox
from worker.sandbox import ladder, processes, toolchains
from worker.sandbox.output import Output
from worker.sandbox.spec import HOME, Mount, SandboxSpec, placed
from worker.sandbox.toolchains import base_python, toolchain_roots

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the rungs that run here are Linux's")


def inside(
    tree: Path, code: str, *, limits: Limits | None = None, on: sandbox.Rung | None = None
) -> sandbox.SandboxResult:
    spec = SandboxSpec(
        argv=(base_python(), "-I", "-S", "-c", code),
        cwd="/tree",
        mounts=(Mount(source=tree, target="/tree", writable=True),),
        limits=limits or Limits(wall_s=30),
        env={"PATH": "/usr/bin:/bin", "HOME": HOME},
    )
    return asyncio.run(sandbox.run(on or rung(), spec))


def tried(tree: Path, statement: str) -> str:
    """Return "did it", or the class of the error that stopped it."""
    code = (
        f"import os, socket\ntry:\n    {statement}\n    print('did it')\nexcept OSError as e: print(type(e).__name__)"
    )
    return inside(tree, code).output.strip()


def test_a_command_runs_in_its_tree_and_may_write_there(tmp_path: Path) -> None:
    result = inside(tmp_path, "open('made', 'w').write('x'); import os; print(os.getcwd())")
    assert (result.exit_code, result.breach, result.output) == (0, "", "/tree\n")
    assert (tmp_path / "made").read_text() == "x"


def test_the_network_of_this_machine_is_out_of_reach(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert tried(tmp_path, f"socket.create_connection(('127.0.0.1', {port}), 3)") == "ConnectionRefusedError"
    assert tried(tmp_path, "socket.create_connection(('192.0.2.1', 80), 3)") == "OSError"
    assert tried(tmp_path, "socket.getaddrinfo('example.invalid', 80)") == "gaierror"


def test_a_local_server_inside_works(tmp_path: Path) -> None:
    code = (
        "import socket; s = socket.create_server(('127.0.0.1', 0));"
        "c = socket.create_connection(s.getsockname(), 3); print('local')"
    )
    assert inside(tmp_path, code).output == "local\n"


def test_no_socket_of_this_machine_can_be_reached_by_its_abstract_name(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0tandem-test-{os.getpid()}")
        server.listen()
        name = f"tandem-test-{os.getpid()}"
        statement = f"socket.socket(socket.AF_UNIX).connect('\\0{name}')"
        assert tried(tmp_path, statement) == "ConnectionRefusedError"


def test_no_variable_of_the_worker_is_seen_not_even_in_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "canary-7351")
    code = (
        "import os, pathlib\nprint(dict(os.environ))\n"
        "for p in pathlib.Path('/proc').glob('[0-9]*/environ'): print(p, p.read_bytes())\n"
        "for p in pathlib.Path('/proc').glob('[0-9]*/cmdline'): print(p, p.read_bytes())"
    )
    result = inside(tmp_path, code)
    assert result.exit_code == 0
    assert "/proc/1/environ" in result.output
    assert "canary-7351" not in result.output
    assert str(tmp_path) not in result.output, "the launcher's arguments tell this machine's paths"


def test_a_registry_password_shows_in_no_list_of_processes(tmp_path: Path) -> None:
    async def look() -> bytes:
        spec = SandboxSpec(
            argv=("/bin/sleep", "30"), cwd="/", mounts=(), limits=Limits(), env={"PIP_INDEX_URL": "canary-8811"}
        )
        running = asyncio.create_task(sandbox.run(rung(), spec))
        await asyncio.sleep(0.5)
        tree = processes.tree(os.getpid())
        lines = [Path(f"/proc/{one.pid}/cmdline").read_bytes() for one in tree if not one.zombie]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return b"\n".join(lines)

    seen = asyncio.run(look())
    assert b"sleep" in seen
    assert b"canary-8811" not in seen


def test_home_is_private_and_empty(tmp_path: Path) -> None:
    code = "import os; print(sorted(os.listdir(os.environ['HOME']))); open(os.environ['HOME'] + '/x', 'w')"
    result = inside(tmp_path, code)
    assert (result.exit_code, result.output) == (0, "[]\n")


@pytest.mark.parametrize("path", ["neighbour/secret", "secret"])
def test_what_lies_beside_the_tree_cannot_be_read(tmp_path: Path, path: str) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    secret = tmp_path / path
    secret.parent.mkdir(exist_ok=True)
    secret.write_text("canary")
    assert tried(tree, f"open({str(secret)!r})") == "FileNotFoundError"
    assert tried(tree, "open('../secret')") == "FileNotFoundError"
    (tree / "link").symlink_to(secret)
    assert tried(tree, "open('link')") == "FileNotFoundError"


@pytest.mark.parametrize("path", ["/etc/shadow", "/etc/ssl/private", "/root", "/home/check/../other", "/var", "/sys"])
def test_this_machine_s_own_files_are_not_there(tmp_path: Path, path: str) -> None:
    only_toolchains = any(root.is_relative_to(path) for root in toolchain_roots())
    if only_toolchains:
        code = f"import os; print([n for n in os.listdir({path!r}) if n.startswith('.ssh') or n == '.bashrc'])"
        assert inside(tmp_path, code).output == "[]\n"
    else:
        assert tried(tmp_path, f"os.stat({path!r})") == "FileNotFoundError"


@pytest.mark.parametrize("path", ["/usr/x", "/etc/x", "/x", "/dev/x", "/bin/x"])
def test_the_system_cannot_be_written(tmp_path: Path, path: str) -> None:
    assert tried(tmp_path, f"open({path!r}, 'w')") == "OSError"


def test_no_process_of_this_machine_is_seen_or_can_be_killed(tmp_path: Path) -> None:
    assert tried(tmp_path, f"os.kill({os.getpid()}, 0)") == "ProcessLookupError"


def test_no_mount_and_no_further_namespace_can_be_made(tmp_path: Path) -> None:
    code = (
        "import ctypes; libc = ctypes.CDLL(None)\n"
        "print(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None), libc.unshare(0x10000000))"
    )
    assert inside(tmp_path, code).output == "-1 -1\n"


def test_nothing_but_the_three_standard_streams_is_inherited(tmp_path: Path) -> None:
    code = (
        "import os; print(sorted(int(n) for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}')))"
    )
    assert inside(tmp_path, code).output == "[0, 1, 2]\n"


FORK = "import subprocess\nkids = [subprocess.Popen(['/bin/sleep', '77']) for _ in range(%d)]\n"
DAEMON = """
import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: os.execv('/bin/sleep', ['sleep', '78'])
    os._exit(0)
"""


def confined_by(how: str) -> sandbox.Rung:
    """Return a rung; "watched" is one where no control group can be made."""
    if how == "bare":
        return ladder.UNSANDBOXED
    name, _, watched = how.partition(" ")
    return dataclasses.replace(known_rung(name), groups=None) if watched else known_rung(name)


@pytest.mark.parametrize(
    ("breach", "code", "limits"),
    [
        ("time", FORK % 3 + DAEMON + "kids[0].wait()", Limits(wall_s=1)),
        ("processes", FORK % 60 + DAEMON + "kids[0].wait()", Limits(wall_s=30, processes=40)),
        ("memory", FORK % 3 + "x = b'x' * (300 << 20); kids[0].wait()", Limits(wall_s=30, memory_bytes=200 << 20)),
        ("output", FORK % 3 + "while True: print('x' * 1000)", Limits(wall_s=30, output_bytes=1 << 20)),
    ],
)
@pytest.mark.parametrize("how", ["bubblewrap", "bubblewrap watched", "landlock", "landlock watched", "bare"])
def test_each_limit_kills_the_whole_tree(tmp_path: Path, breach: str, code: str, limits: Limits, how: str) -> None:
    on = confined_by(how)  # before the clock starts
    started = time.monotonic()
    result = inside(tmp_path, code, limits=limits, on=on)
    assert (result.breach, result.exit_code) == (breach, None)
    assert time.monotonic() - started < 10
    assert left() == []


@pytest.mark.parametrize("how", ["bubblewrap", "bubblewrap watched", "landlock", "landlock watched", "bare"])
def test_what_a_command_leaves_running_dies_with_it(tmp_path: Path, how: str) -> None:
    code = FORK % 2 + DAEMON + "import time; time.sleep(0.5)"
    result = inside(tmp_path, code, on=confined_by(how))
    assert (result.breach, result.exit_code) == ("", 0)
    assert left() == []


def cancelled_runs() -> tuple[list[str], list[str]]:
    """Return the descriptors of this process before and after eight cancelled runs: `number -> what it names`."""

    async def cancel(after_s: float) -> None:
        spec = SandboxSpec(argv=("/bin/sleep", "77"), cwd="/", mounts=(), limits=Limits())
        running = asyncio.create_task(sandbox.run(rung(), spec))
        await asyncio.sleep(after_s)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancel(0.3))  # whatever the first run opens for good
    gc.collect()
    before = descriptors()
    for step in range(8):
        asyncio.run(cancel(0.005 * step))
    gc.collect()
    return before, descriptors()


def descriptors() -> list[str]:
    found: list[str] = []
    for place in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that listed the folder
            found.append(f"{place.name} -> {place.readlink()}")
    return sorted(found)


def test_cancelling_leaves_no_process_and_no_descriptor() -> None:
    # In a process of its own: here, what other tests left open may close at any moment and be counted.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        before, after = pool.submit(cancelled_runs).result(timeout=60)
    assert left() == []
    assert len(before) > 2
    assert after == before


def left() -> list[int]:
    """Return which sleepers outlive their sandbox; the kernel kills them when it gets to it."""
    end = time.monotonic() + 10
    while (found := sleepers()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def sleepers() -> list[int]:
    found: list[int] = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if (place / "cmdline").read_bytes() in (b"/bin/sleep\x0077\0", b"sleep\x0078\0"):
                found.append(int(place.name))
        except OSError:
            continue
    return found


def test_output_keeps_both_ends_and_says_what_is_cut() -> None:
    async def take() -> str:
        output = Output(1 << 30)
        for number in range(100):
            output.take(f"{number:02d}".encode() * 5000)
        return output.text()

    text = asyncio.run(take())
    assert text.startswith("0000")
    assert text.endswith("9999")
    assert f"[{100 * 10000 - 2 * (64 << 10)} bytes of output cut here]" in text


def test_a_rung_without_mounts_translates_whole_paths_only(tmp_path: Path) -> None:
    spec = SandboxSpec(argv=(), cwd="/tree", limits=Limits(), mounts=(Mount(source=Path("/real/e"), target="/env"),))
    assert placed("/env/bin:/home/env/bin:/envs:/env", spec) == "/real/e/bin:/home/env/bin:/envs:/real/e"
    assert placed("--out=/env/r.xml", spec) == "--out=/real/e/r.xml"


# Makes the kernel one without Landlock: the call that asks for its version is not there.
NO_LANDLOCK = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (6, 0, 0, 0x00050026), (6, 0, 0, 0x7FFF0000)]
program = b"".join(struct.pack("HBBI", *step) for step in steps)
code = ctypes.create_string_buffer(program, len(program))
about = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, about, 0, 0) == 0
from worker import sandbox
found = sandbox.select()
print(repr(found.name), found.remedy)
"""


def chosen(code: str, path: Path) -> str:
    env = {**os.environ, "PATH": str(path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_where_no_rung_holds_the_remedy_is_named(tmp_path: Path) -> None:
    said = chosen(NO_LANDLOCK, tmp_path)  # no bwrap to be found
    assert said.startswith("'' ")
    assert "bubblewrap: bwrap is not installed; install it: apt install bubblewrap" in said
    assert "landlock: no Landlock; use a kernel from 6.2 on" in said


def test_where_bubblewrap_is_not_to_be_had_landlock_is_taken(tmp_path: Path) -> None:
    known_rung("landlock")
    said = chosen("from worker import sandbox; found = sandbox.select(); print(found.name, found.limits_by)", tmp_path)
    assert said.startswith("landlock ")
    assert len(said.split()) > 1, "what holds the limits is said"


def test_an_interpreter_in_a_home_folder_shows_its_own_parts_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("bin/python3", "lib/python3.12/os.py", ".ssh/id"):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / part).touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    parts = toolchains.installation(tmp_path, tmp_path / "bin" / "python3", Path("lib/python3.12"))
    assert parts == [tmp_path / "bin" / "python3", tmp_path / "lib" / "python3.12"]
    own = tmp_path / ".pyenv" / "versions" / "3.12"
    assert toolchains.installation(own, own / "bin" / "python3", Path("lib/python3.12")) == [own]
