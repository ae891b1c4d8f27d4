"""Limits that the kernel holds at once: a bomb goes off, and this machine does not notice."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Generator
from pathlib import Path

import pytest

from tandem.types import Limits
from tests.support.needs import require
from tests.support.trees import known_rung
from tests.support.users import as_a_user
from worker import judge, sandbox
from worker.sandbox import bubblewrap, cgroups
from worker.sandbox.ladder import Rung
from worker.sandbox.spec import HOME, Mount, SandboxSpec
from worker.sandbox.toolchains import base_python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the rungs that run here are Linux's")
MIB = 1 << 20
RUNGS = ("bubblewrap", "landlock")
FORK_BOMB = """
import os, time
made = 0
try:
    for made in range(2000):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
except OSError as error:
    print("stopped after", made, type(error).__name__, flush=True)
time.sleep(60)
"""
THREAD_BOMB = """
import threading, time
try:
    for made in range(500):
        threading.Thread(target=time.sleep, args=(0.5,)).start()
except RuntimeError:
    print("stopped after", made)
"""
HUNGRY_CHILD = """
import os, time
for _ in range(3):
    if os.fork() == 0:
        x = bytearray(4 << 30)
        os._exit(0)
for _ in range(3):
    os.wait()
print("went on", flush=True)
"""


def grouped(name: str) -> Rung:
    found = known_rung(name)
    require("control groups", "" if found.groups else "no control group can be made here")
    return found


def bare(name: str) -> Rung:
    return dataclasses.replace(known_rung(name), groups=None)


def inside(tree: Path, on: Rung, code: str, limits: Limits) -> sandbox.SandboxResult:
    spec = SandboxSpec(
        argv=(base_python(), "-I", "-S", "-c", code),
        cwd="/tree",
        mounts=(Mount(source=tree, target="/tree", writable=True),),
        limits=limits,
        env={"PATH": "/usr/bin:/bin", "HOME": HOME, "TMPDIR": "/tmp"},
    )
    return asyncio.run(sandbox.run(on, spec))


@pytest.mark.parametrize("name", RUNGS)
def test_a_fork_bomb_is_held_by_the_kernel(tmp_path: Path, name: str) -> None:
    result = inside(tmp_path, grouped(name), FORK_BOMB, Limits(wall_s=30, processes=40))
    assert (result.breach, result.exit_code) == ("processes", None)
    assert "check.processes" in judge.breach_reason(result.breach, Limits())
    stopped = [line.split() for line in result.output.splitlines() if line.startswith("stopped")]
    assert not stopped or int(stopped[0][2]) < 160, "no more than four tasks for each process that was allowed"
    assert result.duration_s < 10


@pytest.mark.parametrize("name", RUNGS)
def test_without_a_control_group_a_fork_bomb_is_held_all_the_same(tmp_path: Path, name: str) -> None:
    result = inside(tmp_path, bare(name), FORK_BOMB, Limits(wall_s=30, processes=40))
    assert (result.breach, result.exit_code) == ("processes", None), result


@pytest.mark.parametrize("name", RUNGS)
def test_threads_are_no_processes(tmp_path: Path, name: str) -> None:
    code = (
        "import threading, time\n"
        "for _ in range(60): threading.Thread(target=time.sleep, args=(0.4,)).start()\n"
        "print('threads')"
    )
    result = inside(tmp_path, grouped(name), code, Limits(wall_s=30, processes=40))
    assert (result.breach, result.output) == ("", "threads\n")


@pytest.mark.parametrize("name", RUNGS)
def test_memory_that_is_taken_in_one_go_is_held_by_the_kernel(tmp_path: Path, name: str) -> None:
    limits = Limits(wall_s=30, memory_bytes=128 * MIB)
    result = inside(tmp_path, grouped(name), "x = b'x' * (4 << 30); print('had it')", limits)
    assert (result.breach, result.exit_code) == ("memory", None)
    assert "had it" not in result.output
    assert "check.memory_gib" in judge.breach_reason(result.breach, limits)


@pytest.mark.parametrize("name", RUNGS)
def test_a_test_that_survives_its_children_s_hunger_has_still_passed_a_limit(tmp_path: Path, name: str) -> None:
    limits = Limits(wall_s=30, memory_bytes=128 * MIB)
    assert inside(tmp_path, grouped(name), HUNGRY_CHILD, limits).breach == "memory"


@pytest.mark.parametrize("name", RUNGS)
def test_a_little_of_everything_is_no_breach(tmp_path: Path, name: str) -> None:
    code = "x = b'x' * (64 << 20); import subprocess; subprocess.run(['/bin/true']); print(len(x) >> 20)"
    result = inside(tmp_path, grouped(name), code, Limits(wall_s=30, memory_bytes=192 * MIB, processes=8))
    assert (result.breach, result.exit_code, result.output) == ("", 0, "64\n")


def test_temporary_files_in_memory_are_capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "TMP_BYTES", 64 * MIB)
    code = (
        "import sys\nfile = open('/tmp/big', 'wb')\n"
        "try:\n    for n in range(200): file.write(bytes(1 << 20)); file.flush()\n"
        "except OSError as error: print(n, error.strerror)"
    )
    result = inside(tmp_path, grouped("bubblewrap"), code, Limits(wall_s=30))
    assert (result.exit_code, result.output) == (0, "64 No space left on device\n")


def test_what_fills_temporary_files_counts_as_memory(tmp_path: Path) -> None:
    code = "file = open('/tmp/big', 'wb')\nfor n in range(400): file.write(bytes(1 << 20)); file.flush()"
    limits = Limits(wall_s=30, memory_bytes=128 * MIB)
    assert inside(tmp_path, grouped("bubblewrap"), code, limits).breach == "memory"


@contextlib.contextmanager
def of_its_own(name: str) -> Generator[Rung]:
    """Yield a rung whose groups stand in a place of this test's, where no other run's are."""
    on = grouped(name)
    assert on.groups is not None
    apart = f"tandem-test-{uuid.uuid4().hex[:12]}"
    folders = {controller: folder / apart for controller, folder in on.groups.folders.items()}
    for place in set(folders.values()):
        place.mkdir()
        if on.groups.version == 2:
            (place / "cgroup.subtree_control").write_text("+memory +pids")
    try:
        yield dataclasses.replace(on, groups=cgroups.Hierarchy(version=on.groups.version, folders=folders))
    finally:
        for place in set(folders.values()):
            place.rmdir()


@pytest.mark.parametrize("name", RUNGS)
def test_nothing_is_left_of_a_group(tmp_path: Path, name: str) -> None:
    daemon = "import os\nif os.fork() == 0:\n    os.setsid()\n    os.execv('/bin/sleep', ['sleep', '60'])"
    with of_its_own(name) as on:
        assert inside(tmp_path, on, daemon, Limits()).exit_code == 0
        assert boxes(on) == set()


KILLED = """
import asyncio, dataclasses, sys
from pathlib import Path
from tandem.types import Limits
from tests.support.trees import known_rung
from worker import sandbox
from worker.sandbox import cgroups
from worker.sandbox.spec import SandboxSpec
name, version, memory, pids = sys.argv[1:]
groups = cgroups.Hierarchy(version=int(version), folders={"memory": Path(memory), "pids": Path(pids)})
on = dataclasses.replace(known_rung(name), groups=groups)
spec = SandboxSpec(argv=("/bin/sh", "-c", "echo up; sleep 60"), cwd="/", mounts=(), limits=Limits())
asyncio.run(sandbox.run(on, spec, on_output=lambda piece: print("up", flush=True)))
"""


@pytest.mark.parametrize("name", RUNGS)
def test_what_a_killed_worker_leaves_is_swept_and_what_is_in_use_is_not(name: str) -> None:
    with of_its_own(name) as on:
        assert on.groups is not None
        folders = on.groups.folders
        about = [name, str(on.groups.version), str(folders["memory"]), str(folders["pids"])]
        worker = subprocess.Popen([sys.executable, "-c", KILLED, *about], stdout=subprocess.PIPE, text=True)
        assert worker.stdout is not None
        with contextlib.closing(worker.stdout) as said:
            assert said.readline() == "up\n"
            left = boxes(on)
            assert len(left) == len(set(folders.values()))
            assert cgroups.sweep(on.groups) == 0, "it is in use"
            assert boxes(on) == left
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        assert cgroups.sweep(on.groups) == len(left)
        assert boxes(on) == set()


def boxes(on: Rung) -> set[Path]:
    assert on.groups is not None
    return {place for folder in set(on.groups.folders.values()) for place in folder.glob(f"{cgroups.PREFIX}*")}


WITHOUT_ROOT = """
import asyncio, sys, tempfile
sys.path.insert(0, ".")
from pathlib import Path
from tandem.types import Limits
from worker.sandbox import ladder
from worker.sandbox.runner import run
from worker.sandbox.spec import SandboxSpec
spec = SandboxSpec(argv=("/usr/bin/python3", "-c", sys.argv[1]), cwd="/", mounts=(), limits=Limits(wall_s=30, processes=40))
found = ladder.select()
print(found.name, found.limits_by, asyncio.run(run(found, spec)), sep=" | ")
"""


def test_an_ordinary_user_s_tasks_in_a_namespace_are_counted_apart() -> None:
    known_rung("bubblewrap")
    name, limits_by, result = as_a_user(WITHOUT_ROOT, THREAD_BOMB).strip().split(" | ")
    assert name == "bubblewrap"
    if limits_by.startswith("control group"):
        pytest.skip("this user has control groups")
    assert limits_by == "processes by the user id, memory by the watchdog"
    stopped = re.search(r"stopped after (\d+)", result)
    assert stopped, result
    assert 100 < int(stopped[1]) < 160


def test_the_kernel_s_words_are_read() -> None:
    assert os.access("/proc/self/cgroup", os.R_OK)
    found = cgroups.find()
    assert found is None or set(found.folders) == {"memory", "pids"}
