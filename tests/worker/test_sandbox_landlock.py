"""The rung without namespaces: what ordinary tests do works there, and what it cannot do it says."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
import sys
from pathlib import Path

import pytest

from tandem.types import Limits
from tests.support.trees import known_rung
from worker import sandbox
from worker.sandbox import landlock
from worker.sandbox.spec import HOME, Mount, SandboxSpec
from worker.sandbox.toolchains import base_python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Landlock is Linux's")


def inside(tree: Path, code: str, *, newest: int = 99) -> sandbox.SandboxResult:
    on = dataclasses.replace(known_rung("landlock"), wrap=functools.partial(landlock.wrap, newest=newest))
    spec = SandboxSpec(
        argv=(base_python(), "-I", "-S", "-c", code),
        cwd="/tree",
        mounts=(Mount(source=tree, target="/tree", writable=True),),
        limits=Limits(wall_s=30),
        env={"PATH": "/usr/bin:/bin", "HOME": HOME, "TMPDIR": "/tmp"},
    )
    return asyncio.run(sandbox.run(on, spec))


def said(tree: Path, code: str, *, newest: int = 99) -> str:
    result = inside(tree, code, newest=newest)
    assert (result.exit_code, result.breach) == (0, ""), result.output
    return result.output.strip()


def tried(tree: Path, statement: str, *, newest: int = 99) -> str:
    code = f"import os, socket\ntry:\n    {statement}\n    print('did it')\nexcept OSError as e: print(e.strerror)"
    return said(tree, code, newest=newest)


@pytest.mark.parametrize(
    ("change", "mode"),
    [
        ("os.chmod('file', 0o640)", 0o640),
        ("os.chmod(os.path.abspath('file'), 0o701)", 0o701),
        ("os.chmod('link', 0o600)", 0o600),
        ("os.fchmod(os.open('file', os.O_RDONLY), 0o611)", 0o611),
        ("os.chmod('file', 0o622, dir_fd=os.open('.', os.O_RDONLY))", 0o622),
        ("os.chdir('folder'); os.chmod('../file', 0o633)", 0o633),
    ],
)
def test_the_mode_of_a_file_in_the_tree_can_be_changed(tmp_path: Path, change: str, mode: int) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    said(tmp_path, f"import os; {change}")
    assert (tmp_path / "file").stat().st_mode & 0o7777 == mode


def test_the_date_of_a_file_in_the_tree_can_be_changed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "touched").write_text("x")
    os.utime(tmp_path / "touched", (1, 1))
    said(tmp_path, "import os; os.utime('file', ns=(123456789, 987654321)); os.utime('touched')")
    about = (tmp_path / "file").stat()
    assert (about.st_atime_ns, about.st_mtime_ns) == (123456789, 987654321)
    assert (tmp_path / "touched").stat().st_mtime > 1_000_000_000


@pytest.mark.parametrize(
    "change",
    [
        "os.chmod('way-out', 0o777)",
        "os.chmod('way-out/../outside', 0o777)",
        "os.utime('way-out')",
        "os.chmod('/dev/null', 0o777)",
        "os.fchmod(0, 0o777)",
        "os.chmod('/proc/self/cwd/../outside', 0o777)",
    ],
)
def test_no_way_leads_to_the_mode_or_date_of_a_file_outside(tmp_path: Path, change: str) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    tree.mkdir()
    outside.mkdir()
    os.utime(outside, (1, 1))
    (tree / "way-out").symlink_to(outside)
    before = outside.stat()
    assert tried(tree, change) == "Operation not permitted"
    assert (outside.stat().st_mode, outside.stat().st_mtime) == (before.st_mode, before.st_mtime)


def test_a_path_that_changes_under_the_broker_s_eyes_leads_nowhere(tmp_path: Path) -> None:
    """One thread swaps a link to and fro between a file of the tree and one outside while another changes the mode."""
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    tree.mkdir()
    outside.touch(mode=0o600)
    code = f"""
import os, threading
open("own", "w").close()
over = False
def swap():
    while not over:
        for target in ("own", {str(outside)!r}):
            os.symlink(target, "next")
            os.replace("next", "link")
os.symlink("own", "link")
thread = threading.Thread(target=swap)
thread.start()
done = refused = 0
for _ in range(1000):
    try:
        os.chmod("link", 0o666)
        done += 1
    except OSError:
        refused += 1
over = True
thread.join()
print(done > 0, refused > 0)
"""
    assert said(tree, code) == "True True", "both were met"
    assert outside.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("newest", [99, 5])
def test_signals_reach_its_own_processes(tmp_path: Path, newest: int) -> None:
    code = """
import os, signal, subprocess, threading
kid = subprocess.Popen(["/bin/sleep", "60"])
kid.kill()
print(kid.wait())
group = subprocess.Popen(["/bin/sleep", "60"], start_new_session=True)
os.killpg(group.pid, signal.SIGTERM)
print(group.wait())
signal.signal(signal.SIGUSR1, lambda *about: print("mine"))
os.kill(os.getpid(), signal.SIGUSR1)
signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
os.kill(0, 0)
"""
    assert said(tmp_path, code, newest=newest).split() == ["-9", "-15", "mine", "mine"]


@pytest.mark.parametrize("newest", [99, 5])
def test_signals_reach_nobody_else(tmp_path: Path, newest: int) -> None:
    assert tried(tmp_path, f"os.kill({os.getpid()}, 0)", newest=newest) == "Operation not permitted"
    assert tried(tmp_path, f"os.killpg({os.getpgid(0)}, 0)", newest=newest) == "Operation not permitted"


def test_an_event_loop_runs_and_a_local_server_does_not(tmp_path: Path) -> None:
    loop = "import asyncio, multiprocessing; asyncio.run(asyncio.sleep(0)); print(multiprocessing.Pipe() and 'looped')"
    assert said(tmp_path, loop) == "looped"
    assert tried(tmp_path, "socket.create_server(('127.0.0.1', 0))") == "Operation not permitted"


def test_temporary_files_lie_in_a_private_folder_and_files_are_copied_and_moved(tmp_path: Path) -> None:
    code = """
import os, pathlib, shutil, tempfile
assert tempfile.gettempdir() == os.environ["HOME"], tempfile.gettempdir()
made = pathlib.Path(tempfile.mkdtemp())
(made / "x").write_text("x")
shutil.copytree(made, "copied")
shutil.copy2(made / "x", "x")
shutil.move("x", "copied/moved")
os.link("copied/x", "copied/linked")
os.mkfifo("pipe")
shutil.rmtree(made)
print(sorted(os.listdir("copied")))
"""
    assert said(tmp_path, code) == "['linked', 'moved', 'x']"


def test_what_was_written_belongs_to_whoever_runs_the_worker(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("x")
    said(tmp_path, "import os; os.mkdir('made'); open('made/file', 'w').close()")
    for path in ("", "own", "made", "made/file"):
        assert (tmp_path / path).stat().st_uid == os.geteuid(), path


@pytest.mark.needs("root")
def test_it_runs_as_another_user_where_the_worker_is_root(tmp_path: Path) -> None:
    user = int(said(tmp_path, "import os; print(os.getuid())"))
    assert 60706 <= user < 61184
    assert said(tmp_path, "import os; print(os.getgroups())") == "[]"


def test_the_environment_is_the_specification_s_and_stands_in_no_argument(tmp_path: Path) -> None:
    spec = SandboxSpec(argv=("/bin/true",), cwd="/", mounts=(), limits=Limits(), env={"PIP_INDEX_URL": "canary-8812"})
    command = landlock.wrap(spec, tmp_path)
    assert not any("canary" in part for part in command.argv)
    assert "PIP_INDEX_URL" not in said(tmp_path, "import os; print(dict(os.environ))")


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    spec = SandboxSpec(argv=("/usr/bin/no-such-program",), cwd="/", mounts=(), limits=Limits())
    result = asyncio.run(sandbox.run(known_rung("landlock"), spec))
    assert result.exit_code == 125
    assert "could not run '/usr/bin/no-such-program': No such file or directory" in result.output
