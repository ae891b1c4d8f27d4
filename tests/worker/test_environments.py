"""Environments built for real: with a wheel made here, and with a package each from the registries where they answer."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextvars import copy_context
from pathlib import Path

import pytest

from tandem.errors import BadInput, DeadlineExceeded, NoSandbox, NotFound, Unavailable
from tandem.identity import NodeId
from tandem.types import Adapter, Environment
from tests.support.needs import require, tool
from tests.support.trees import Trees, rung
from tests.support.wheels import wheel
from worker import sandbox
from worker.callers import caller
from worker.environments import MARK, Environments
from worker.fence import Fence
from worker.sandbox import ladder

TEST_SHOUT = """
import unittest, shout
class T(unittest.TestCase):
    def test_it(self): self.assertEqual(shout.loud("a"), "A!")
"""


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point pip at a folder of wheels and nothing else, by its own variables."""
    folder = wheel(tmp_path / "wheels")
    for name in [key for key in os.environ if key.upper().startswith(("PIP_", "NPM_CONFIG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def prepare(
    trees: Trees,
    adapter: Adapter,
    *,
    allow_network: bool = True,
    wall_s: float = 120,
    on: sandbox.Rung | None = None,
    told: list[str] | None = None,
    share: bool = False,
) -> Environment:
    lines = told if told is not None else []
    request = trees.prepare_request(adapter, allow_network=allow_network, wall_s=wall_s)
    environments = Environments(trees.state, on or rung(), Fence.take(trees.state), share_registries=share)
    return asyncio.run(environments.prepare(request, lambda stage, message: lines.append(f"{stage}: {message}")))


def test_a_tree_without_needs_needs_nothing(tmp_path: Path) -> None:
    trees = Trees(tmp_path, {"shop.py": "", "requirements.txt": "# nothing\n\n"})
    assert prepare(trees, "unittest", allow_network=False) == Environment()


def test_without_leave_nothing_is_built_and_the_files_are_named(tmp_path: Path) -> None:
    trees = Trees(tmp_path, {"requirements.txt": "shout==1.0\n"})
    found = prepare(trees, "unittest", allow_network=False)
    assert (found.ready, found.kind, found.files) == (False, "python", ("requirements.txt",))
    assert found.key
    assert not (trees.state / "environments").exists()


def test_an_environment_is_built_once_per_content_and_used_in_a_check(tmp_path: Path, offline: Path) -> None:
    write = "import sys; open(sys.prefix + '/x', 'w')\n"
    files = {"requirements.txt": "shout==1.0\n", "test_shout.py": TEST_SHOUT, "write.py": write, "README.md": "a"}
    trees = Trees(tmp_path, files)
    lines: list[str] = []
    built = prepare(trees, "unittest", told=lines)
    assert (built.ready, built.kind, built.files) == (True, "python", ("requirements.txt",))
    assert built.built_s > 0
    assert any("pip: " in line for line in lines)

    shutil.rmtree(offline)  # from here on nothing could be installed
    trees.checkout.base = trees.checkout.commit({"README.md": "b"})
    trees.checkout.git("push", "-q", str(trees.bare), "main")
    again = prepare(trees, "unittest", allow_network=False)
    assert (again.key, again.ready, again.built_s) == (built.key, True, 0.0)

    report = asyncio.run(trees.check("python -m unittest", "unittest", environment=built.key))
    assert (report.verdict, [test.id for test in report.tests]) == ("passed", ["test_shout.T.test_it"])
    without = asyncio.run(trees.check("python -m unittest", "unittest"))
    assert without.verdict == "failed"
    written = asyncio.run(trees.check("python write.py", "plain", environment=built.key))
    assert "Read-only file system" in written.output
    assert trees.leftovers() == []


def test_a_paired_router_has_environments_of_its_own_and_no_settings_of_this_user(
    tmp_path: Path, offline: Path
) -> None:
    """The folder of wheels is such a setting: without it, pip has nowhere to look."""
    trees = Trees(tmp_path, {"requirements.txt": "--no-index\nshout==1.0\n", "test_shout.py": TEST_SHOUT})
    mine = prepare(trees, "unittest", allow_network=False)

    def theirs(share: bool) -> Environment:
        caller.set(NodeId("BOOK" * 13))
        return prepare(trees, "unittest", share=share, wall_s=60)

    with pytest.raises((Unavailable, BadInput), match=r"worker\.share_registries"):
        copy_context().run(theirs, False)
    shared = copy_context().run(theirs, True)
    assert (shared.ready, mine.ready) == (True, False)
    assert shared.key != mine.key
    with pytest.raises(NotFound, match="has no environment"):
        asyncio.run(trees.check("python -m unittest", "unittest", environment=shared.key))


def test_another_content_is_another_environment(tmp_path: Path) -> None:
    first = prepare(Trees(tmp_path / "a", {"requirements.txt": "shout\n"}), "unittest", allow_network=False)
    second = prepare(Trees(tmp_path / "b", {"requirements.txt": "shout==1.0\n"}), "unittest", allow_network=False)
    third = prepare(Trees(tmp_path / "c", {"requirements.txt": "shout\n"}), "pytest", allow_network=False)
    assert len({first.key, second.key, third.key}) == 3


def test_a_half_built_environment_is_never_used(tmp_path: Path, offline: Path) -> None:
    trees = Trees(tmp_path, {"requirements.txt": "shout\n"})
    request = trees.prepare_request("unittest", allow_network=True)
    environments = Environments(trees.state, rung(), Fence.take(trees.state))

    async def cut_off() -> None:
        building = asyncio.create_task(environments.prepare(request, lambda stage, message: None))
        for _ in range(500):
            if list((trees.state / "tmp").glob("*/env/bin/python")):
                break
            await asyncio.sleep(0.02)
        building.cancel()
        with pytest.raises(asyncio.CancelledError):
            await building

    asyncio.run(cut_off())
    assert trees.leftovers() == []
    cut = prepare(trees, "unittest", allow_network=False)
    assert not cut.ready
    (trees.state / "environments" / cut.key / "bin").mkdir(parents=True)  # as if a copy had stopped halfway
    assert not prepare(trees, "unittest", allow_network=False).ready
    with pytest.raises(NotFound, match="Prepare builds it"):
        environments.toolchain(cut.key, tmp_path)


def test_what_cannot_be_installed_is_told_from_a_registry_that_does_not_answer(
    tmp_path: Path, offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees = Trees(tmp_path, {"requirements.txt": "no-such-thing==9\n"})
    with pytest.raises(BadInput, match=r"requirements.txt asks for cannot be installed[\s\S]*no-such-thing==9"):
        prepare(trees, "unittest")
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")  # without one, pip says nothing of the connection
    with pytest.raises(Unavailable, match="registry cannot be reached"):
        prepare(trees, "unittest")
    assert trees.leftovers() == []


def test_an_installer_that_takes_too_long_is_stopped_and_the_setting_named(tmp_path: Path, offline: Path) -> None:
    trees = Trees(tmp_path, {"requirements.txt": "shout\n"})
    with pytest.raises(DeadlineExceeded, match=r"prepare\.wall_s"):
        prepare(trees, "unittest", wall_s=0.3)


def test_without_a_sandbox_nothing_is_installed(tmp_path: Path) -> None:
    trees = Trees(tmp_path, {"requirements.txt": "shout\n"})
    none = sandbox.Rung(name="", wrap=ladder.UNSANDBOXED.wrap, remedy="apt install bubblewrap")
    with pytest.raises(NoSandbox, match="apt install bubblewrap"):
        prepare(trees, "unittest", on=none)


def test_two_that_want_the_same_at_once_build_it_once_and_hashes_go_beside_what_we_add(
    tmp_path: Path, offline: Path
) -> None:
    digest = hashlib.sha256((offline / "shout-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    wheel(offline, "pytest", "0.1")
    trees = Trees(tmp_path, {"requirements.txt": f"shout==1.0 --hash=sha256:{digest}\n"})
    environments = Environments(trees.state, rung(), Fence.take(trees.state))
    request = trees.prepare_request("pytest", allow_network=True)

    async def both() -> list[Environment]:
        return list(await asyncio.gather(*(environments.prepare(request, lambda stage, message: None) for _ in "ab")))

    found = asyncio.run(both())
    assert found[0].files == ("requirements.txt", "pytest (to run the tests)")
    assert sorted(environment.built_s > 0 for environment in found) == [False, True]


def installed(trees: Trees, adapter: Adapter) -> Environment:
    try:
        return prepare(trees, adapter)
    except Unavailable as error:
        require("a package registry", f"a registry is needed: {error.message.splitlines()[-1]}", may_be_had=False)
        raise


def files_of(trees: Trees, key: str) -> Mapping[str, object]:
    return json.loads((trees.state / "environments" / key / MARK).read_text())


def test_pip_installs_a_real_package_and_pytest_with_this_machine_s_settings(tmp_path: Path) -> None:
    tests = "import six, pytest\n\n@pytest.mark.parametrize('n', [1, 'a/b'])\ndef test_six(n): assert six.PY3\n"
    trees = Trees(tmp_path, {"requirements.txt": "six==1.16.0\npytest-timeout==2.4.0\n", "tests/test_six.py": tests})
    key = installed(trees, "pytest").key
    assert list((trees.state / "environments" / key).rglob("*-pytest-*.pyc")), "no check compiles the plugins again"
    report = asyncio.run(trees.check("pytest tests", "pytest", environment=key))
    assert (report.verdict, report.reason) == ("passed", "")
    assert [(test.id, test.file) for test in report.tests] == [
        ("tests/test_six.py::test_six[1]", "tests/test_six.py"),
        ("tests/test_six.py::test_six[a/b]", "tests/test_six.py"),
    ]
    assert files_of(trees, key)["kind"] == "python"


def test_npm_installs_a_real_package(tmp_path: Path) -> None:
    require("npm", tool("npm", "npm"))
    package = {"name": "n", "version": "1.0.0", "dependencies": {"is-number": "7.0.0"}}
    locked = {"version": "7.0.0"}
    lock = {
        "name": "n",
        "version": "1.0.0",
        "lockfileVersion": 3,
        "requires": True,
        "packages": {"": package, "node_modules/is-number": locked},
    }
    code = (
        "const test = require('node:test'); const assert = require('assert');\n"
        "test('is', () => assert.equal(require('is-number')(5), true));\n"
    )
    files = {"package.json": json.dumps(package), "package-lock.json": json.dumps(lock), "test/n.test.js": code}
    trees = Trees(tmp_path, files)
    found = installed(trees, "node")
    assert (found.kind, found.files) == ("node", ("package-lock.json",))
    report = asyncio.run(trees.check("node --test", "node", environment=found.key))
    assert (report.verdict, [test.id for test in report.tests]) == ("passed", ["test/n.test.js > is"])
