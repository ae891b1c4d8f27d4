"""Checks of real trees in the real sandbox: what each framework tells, and what may not count as a pass."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from pathlib import Path

import pytest

from tandem.errors import BadInput, NoSandbox, NotFound
from tandem.types import CheckReport, CommitId, Limits
from tests.support.trees import Trees, rung
from worker import sandbox
from worker.check import Checker
from worker.sandbox import ladder

UNITTEST = {
    "shop.py": "def total(items):\n    return sum(items)\n",
    "tests/test_shop.py": """
import unittest
from shop import total

class Prices(unittest.TestCase):
    def test_total(self): self.assertEqual(total([1, 2]), 3)
    def test_wrong(self): self.assertEqual(total([1]), 2)
    def test_broken(self): raise KeyError("x")
    @unittest.skip("later")
    def test_later(self): pass
    @unittest.expectedFailure
    def test_known(self): self.fail()
    def test_parts(self):
        for n in range(3):
            with self.subTest(n=n): self.assertNotEqual(n, 1)
""",
    "tests/test_names.py": "from shop import discount\n",
    "tests/test_setup.py": """
import unittest
class Costly(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise OSError("no")
    def test_it(self): pass
""",
}


def outcomes(report: CheckReport) -> dict[str, str]:
    return {test.id: test.outcome for test in report.tests}


def test_unittest_tells_each_test_and_each_file_that_cannot_be_loaded(tmp_path: Path) -> None:
    trees = Trees(tmp_path, UNITTEST)
    report = asyncio.run(trees.check("python -m unittest discover -s tests", "unittest"))
    assert report.verdict == "failed"
    assert report.exit_code == 1
    assert outcomes(report) == {
        "test_shop.Prices.test_total": "passed",
        "test_shop.Prices.test_wrong": "failed",
        "test_shop.Prices.test_broken": "error",
        "test_shop.Prices.test_later": "skipped",
        "test_shop.Prices.test_known": "skipped",
        "test_shop.Prices.test_parts": "failed",
        "unittest.loader._FailedTest.test_names": "error",
        "setUpClass (test_setup.Costly)": "error",
    }
    files = {test.id: test.file for test in report.tests}
    assert files["unittest.loader._FailedTest.test_names"] == "tests/test_names.py"
    assert files["test_shop.Prices.test_total"] == "tests/test_shop.py"
    assert files["setUpClass (test_setup.Costly)"] == "tests/test_setup.py"
    message = next(test.message for test in report.tests if test.file == "tests/test_names.py")
    assert "cannot import name 'discount'" in message
    assert "/tree" not in message
    assert trees.leftovers() == []


def test_two_checks_of_one_tree_tell_the_same(tmp_path: Path) -> None:
    trees = Trees(tmp_path, UNITTEST)
    first, second = (asyncio.run(trees.check("python -m unittest discover -s tests", "unittest")) for _ in range(2))
    assert first.tests == second.tests


def test_a_passing_tree_passes_also_in_a_folder_with_src(tmp_path: Path) -> None:
    trees = Trees(
        tmp_path,
        {
            "back/src/shop.py": "X = 1\n",
            "back/tests/test_shop.py": "import unittest, shop\nclass T(unittest.TestCase):\n"
            "    def test_x(self): self.assertEqual(shop.X, 1)\n",
        },
    )
    report = asyncio.run(trees.check("python -m unittest discover -s tests", "unittest", folder="back"))
    assert (report.verdict, report.reason, report.sandbox) == ("passed", "", rung().name)
    assert [(test.id, test.file) for test in report.tests] == [("test_shop.T.test_x", "back/tests/test_shop.py")]


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ("import os; os._exit(0)", "not run"),
        ("import sys; sys.exit(0)", "failed"),
        ("import unittest; raise unittest.SkipTest('x')", "not run"),
        ("import os; os.kill(os.getpid(), 9)", "not run"),
    ],
)
def test_leaving_early_or_skipping_is_no_pass(tmp_path: Path, body: str, verdict: str) -> None:
    code = f"import unittest\nclass T(unittest.TestCase):\n    def test_x(self):\n        {body}\n"
    report = asyncio.run(Trees(tmp_path, {"test_x.py": code}).check("python -m unittest", "unittest"))
    assert report.verdict == verdict
    assert report.reason or verdict == "failed"


def test_no_test_at_all_is_not_run(tmp_path: Path) -> None:
    report = asyncio.run(Trees(tmp_path, {"shop.py": ""}).check("python -m unittest", "unittest"))
    assert (report.verdict, report.exit_code) == ("not run", 5)


@pytest.mark.parametrize(
    ("limits", "setting"),
    [
        (Limits(wall_s=1), "check.wall_s"),
        (Limits(wall_s=30, output_bytes=1 << 20), "check.output_mib"),
    ],
)
def test_a_killed_check_names_the_limit_and_its_setting(tmp_path: Path, limits: Limits, setting: str) -> None:
    trees = Trees(
        tmp_path, {"run.py": "while True: print('x' * 999)\n" if "output" in setting else "while True: pass\n"}
    )
    report = asyncio.run(trees.check("python run.py", "plain", limits=limits))
    assert (report.verdict, report.exit_code) == ("resource limit", None)
    assert setting in report.reason
    assert trees.leftovers() == []


def test_a_report_that_is_a_link_or_a_pipe_is_none(tmp_path: Path) -> None:
    trees = Trees(
        tmp_path,
        {
            "conf.py": "import os\nos.symlink('/etc/passwd', '/out/report.json')\nos._exit(0)\n",
            "pipe.py": "import os\nos.mkfifo('/out/report.json')\nos._exit(0)\n",
        },
    )
    for module in ("conf", "pipe"):
        report = asyncio.run(trees.check(f"python -m unittest {module}", "unittest"))
        assert (report.verdict, report.tests) == ("not run", ())


def test_a_plain_command_is_its_exit_status(tmp_path: Path) -> None:
    trees = Trees(tmp_path, {"ok.sh": "echo fine; exit 0\n", "bad.sh": "exit 3\n"})
    good, bad = (asyncio.run(trees.check(f"sh {name}.sh", "plain")) for name in ("ok", "bad"))
    assert (good.verdict, good.output) == ("passed", "fine\n")
    assert (bad.verdict, bad.exit_code) == ("failed", 3)


NODE = {
    "package.json": '{"name": "n", "scripts": {"test": "node --test"}}',
    "test/a.test.js": """
const test = require('node:test'); const assert = require('assert');
test('adds', () => assert.equal(1 + 1, 2));
test.describe('group', () => {
  test.it('fails', () => assert.equal(1, 2));
  test.it.skip('later', () => {});
  test.it.todo('some day');
});
""",
    "test/b.test.js": "require('../missing.js');\n",
    "test/c.test.mjs": "import test from 'node:test';\ntest('never told', () => process.exit(0));\n",
}


@pytest.mark.needs("node")
@pytest.mark.parametrize("command", ["node --test", "npm test"])
def test_node_tells_each_test_with_its_file(tmp_path: Path, command: str) -> None:
    report = asyncio.run(Trees(tmp_path, NODE).check(command, "node"))
    assert report.verdict == "failed"
    assert outcomes(report) == {
        "test/a.test.js > adds": "passed",
        "test/a.test.js > group > fails": "failed",
        "test/a.test.js > group > later": "skipped",
        "test/a.test.js > group > some day": "skipped",
        "test/b.test.js": "error",
    }
    assert {test.file for test in report.tests} == {"test/a.test.js", "test/b.test.js"}


@pytest.mark.needs("node")
def test_a_node_file_that_leaves_early_is_no_pass(tmp_path: Path) -> None:
    trees = Trees(tmp_path, {"test/c.test.mjs": NODE["test/c.test.mjs"]})
    assert asyncio.run(trees.check("node --test", "node")).verdict == "not run"


def test_without_a_sandbox_nothing_runs_but_the_demo_which_says_so(tmp_path: Path) -> None:
    trees = Trees(tmp_path, {"test_x.py": "import unittest\nclass T(unittest.TestCase):\n    def test_x(self): pass\n"})
    none = sandbox.Rung(name="", wrap=ladder.UNSANDBOXED.wrap, remedy="apt install bubblewrap")
    checker = Checker(trees.state, "here", none, trees.environments(none))
    request = trees.check_request("python -m unittest", "unittest")
    with pytest.raises(NoSandbox, match="apt install bubblewrap"):
        asyncio.run(checker.check(request, lambda stage, message: None))
    report = asyncio.run(checker.check(dataclasses.replace(request, unsandboxed=True), lambda stage, message: None))
    assert (report.verdict, report.sandbox) == ("passed", "none (unsandboxed demo)")
    assert [(test.id, test.file) for test in report.tests] == [("test_x.T.test_x", "test_x.py")]
    assert str(tmp_path) not in report.output


def test_what_is_not_here_is_said(tmp_path: Path) -> None:
    trees = Trees(tmp_path, {"a.py": ""})
    checker = Checker(trees.state, "here", rung(), trees.environments(rung()))
    request = trees.check_request("python -m unittest", "unittest")
    for wrong, error in (
        ({"commit": CommitId("0" * 40)}, NotFound),
        ({"repo_id": "other"}, NotFound),
        ({"environment": "0" * 32}, NotFound),
        ({"environment": "../../x"}, NotFound),
        ({"folder": "../x"}, BadInput),
        ({"folder": "none"}, BadInput),
        ({"command": ()}, BadInput),
    ):
        with pytest.raises(error):
            asyncio.run(checker.check(dataclasses.replace(request, **wrong), lambda stage, message: None))
    assert trees.leftovers() == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_a_cancelled_check_leaves_nothing(tmp_path: Path) -> None:
    trees = Trees(tmp_path, {"run.py": "import time; time.sleep(60)\n"})

    async def cancel() -> None:
        running = asyncio.create_task(trees.check("python run.py", "plain"))
        await asyncio.sleep(1)
        assert trees.leftovers() != []
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    rung()
    asyncio.run(cancel())
    assert trees.leftovers() == []
