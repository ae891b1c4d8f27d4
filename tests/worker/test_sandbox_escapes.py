"""Every known way out of a sandbox, tried on every rung this machine has, and without one to show that it is real."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.trees import known_rung
from tests.support.users import as_a_user
from worker.sandbox import bait, landlock, selftest
from worker.sandbox.ladder import Rung
from worker.sandbox.selftest import Finding

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the rungs that run here are Linux's")
NAMES = [one.name for one in selftest.escapes()]
HARMFUL = {"secrets", "writing", "network"}  # what no rung may concede
OLDER = {"landlock 3": 3}  # as an older kernel: without rules for devices, TCP, abstract sockets and signals
ELSEWHERE = """
import asyncio, dataclasses, functools, json, sys
sys.path.insert(0, ".")
from worker.sandbox import ladder, landlock, selftest
found = next(one for one in ladder.rungs() if one.name == sys.argv[1])
if sys.argv[2] != "0":
    found = dataclasses.replace(found, wrap=functools.partial(landlock.wrap, newest=int(sys.argv[2])))
try:
    print(json.dumps([dataclasses.asdict(one) for one in asyncio.run(selftest.attempt(found))]))
except (OSError, ValueError) as error:
    print(json.dumps(str(error)))
"""


@functools.cache
def findings(name: str) -> dict[str, Finding]:
    """Return what came of every attempt on a rung, by name; run once."""
    return {one.name: one for one in asyncio.run(selftest.attempt(named(name)))}


def named(name: str) -> Rung:
    found = known_rung(name.split()[0])
    if name in OLDER:
        return dataclasses.replace(found, wrap=functools.partial(landlock.wrap, newest=OLDER[name]))
    return found


@functools.cache
def without_root(name: str) -> dict[str, Finding]:
    """Return the same, where the worker itself is an ordinary user."""
    known_rung(name.split()[0])
    said = json.loads(as_a_user(ELSEWHERE, name.split()[0], str(OLDER.get(name, 0))))
    if isinstance(said, str):
        pytest.skip(f"{name} does not run here without root: {said}")
    return {one["name"]: Finding(**one) for one in said}


def holds(one: Finding, conceded: frozenset[str]) -> bool:
    return one.says != "hole" or one.name in conceded


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("on", ["bubblewrap", "landlock", *OLDER])
def test_a_sandbox_holds(on: str, name: str) -> None:
    one = findings(on)[name]
    assert holds(one, named(on).conceded), one.reason


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("on", ["bubblewrap", "landlock", *OLDER])
def test_a_sandbox_holds_where_the_worker_is_not_root(on: str, name: str) -> None:
    one = without_root(on)[name]
    assert holds(one, named(on).conceded), one.reason


@functools.cache
def unconfined() -> dict[str, Finding]:
    """Return what comes of every attempt with nothing in its way, an open descriptor and the worker's environment."""
    with tempfile.TemporaryDirectory(prefix="tandem-control-") as made, socket.socket() as left_open:
        home, tree = Path(made, "home"), Path(made, "tree")
        for folder in (home / ".ssh", tree):
            folder.mkdir(parents=True)
        (home / ".ssh/id_ed25519").write_text("a key of this user")
        before = os.environ.get("HOME", "")
        os.environ["HOME"] = str(home)
        try:
            with bait.laid_out(Path(made), tree) as file:
                apart = ["unshare", "--mount", "--uts"] if boundless() else []  # what is mounted goes with the process
                done = subprocess.run(
                    [*apart, sys.executable, "-I", "-S", str(selftest.ESCAPES), file],
                    cwd=tree,
                    pass_fds=(left_open.fileno(),),
                    stdout=subprocess.PIPE,
                    text=True,
                    timeout=100,
                    check=True,
                )
        finally:
            os.environ["HOME"] = before
    return {one.name: one for one in selftest.read(done.stdout)}


def boundless() -> bool:
    """Return whether this is root with every right: not in a container, and without a filter."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    administers = int(status["CapEff"], 16) & (1 << 21)
    return os.geteuid() == 0 and bool(administers) and status["Seccomp"].strip() == "0"


@pytest.mark.parametrize("one", selftest.escapes(), ids=lambda one: one.name)
def test_without_a_sandbox_the_attempt_succeeds(one: selftest.Escape) -> None:
    if one.root and not boundless():
        pytest.skip("needs root without bounds")
    found = unconfined()[one.name]
    if found.says == "does not apply":
        pytest.skip(found.reason)
    assert found.says == "hole", found.reason


def test_almost_every_attempt_can_be_shown_to_be_real_by_an_unbounded_root() -> None:
    if not boundless():
        pytest.skip("needs root without bounds")
    real = [one.name for one in unconfined().values() if one.says == "hole"]
    assert len(real) >= len(NAMES) - 8, sorted(set(NAMES) - set(real))


@pytest.mark.parametrize("on", ["bubblewrap", "landlock"])
def test_no_rung_concedes_a_secret_a_write_or_the_network(on: str) -> None:
    kinds = {one.name: one.kind for one in findings(on).values()}
    conceded = named(on).conceded
    assert conceded <= set(NAMES)
    assert not {kinds[name] for name in conceded} & HARMFUL


@pytest.mark.parametrize("on", ["bubblewrap", "landlock"])
def test_little_does_not_apply(on: str) -> None:
    """An attempt that never runs proves nothing."""
    absent = [one.name for one in findings(on).values() if one.says == "does not apply"]
    assert len(absent) <= 8, absent


def test_the_list_s_names_are_read_as_they_are_run() -> None:
    assert list(unconfined()) == NAMES
    assert len(NAMES) == len(set(NAMES)) > 80
    assert 10 <= len([one for one in selftest.escapes() if one.quick]) <= 25


def test_a_rung_with_a_hole_is_refused_and_the_hole_named(tmp_path: Path) -> None:
    from worker.sandbox import ladder

    said = asyncio.run(ladder.trouble(ladder.UNSANDBOXED))
    assert "it does not hold:" in said
    assert "read-a-file-beside-the-tree" in said
    assert "connect-to-a-port-of-this-machine" in said


def test_a_list_that_does_not_end_is_not_believed() -> None:
    broken = Rung(name="broken", wrap=lambda spec, private: landlock.Command(argv=("/bin/echo", "no such sandbox")))
    with pytest.raises(ValueError, match="no such sandbox"):
        asyncio.run(selftest.attempt(broken))
