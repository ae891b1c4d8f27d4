"""The reporters as the sandbox runs them: real unittest, real Node, and the judge reading what they wrote."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tandem.types import Adapter, TestResult
from worker import judge

REPORTERS = Path(__file__).resolve().parents[2] / "worker" / "reporters"
ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")

UNITTEST = """
import unittest

class Plain(unittest.TestCase):
    def test_passes(self):
        pass
    def test_fails_in_one_part(self):
        for number in range(3):
            with self.subTest(number=number):
                self.assertNotEqual(number, 1)
    def test_skips_one_part_and_fails_another(self):
        with self.subTest("first"):
            self.skipTest("not here")
        with self.subTest("second"):
            self.fail("no")
    @unittest.skip("not now")
    def test_is_skipped(self):
        pass
    @unittest.expectedFailure
    def test_fails_as_expected(self):
        self.fail()
    @unittest.expectedFailure
    def test_passes_unexpectedly(self):
        pass

class NeverSetUp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise RuntimeError("no database")
    def test_never(self):
        pass
"""
NODE_A = """
const { test, describe, it, before } = require('node:test');
const assert = require('node:assert');
test('same', () => {});
describe('suite', () => { describe('deep', () => { it('down', () => { assert.equal(1, 2); }); }); });
test.skip('skipped', () => {});
test.todo('later', () => { throw new Error('not yet'); });
describe('hooked', () => { before(() => { throw new Error('no database'); }); it('inside', () => {}); });
"""


def unittest_run(folder: Path, *arguments: str) -> tuple[int, dict[str, TestResult]]:
    script = str(REPORTERS / "unittest_report.py")
    report = folder.parent / "report.json"
    report.unlink(missing_ok=True)
    argv = [sys.executable, "-I", "-S", script, str(report), *(arguments or ("discover",))]
    done = subprocess.run(argv, cwd=folder, env=ENV, capture_output=True, timeout=60, check=False)
    return done.returncode, read("unittest", report)


def node_run(folder: Path) -> tuple[int, dict[str, TestResult]]:
    report = folder.parent / "report.jsonl"
    report.unlink(missing_ok=True)
    flags = (f"--test-reporter={REPORTERS}/node_report.mjs", f"--test-reporter-destination={report}")
    argv = [str(NODE), "--test", *flags]
    done = subprocess.run(argv, cwd=folder, env=ENV, capture_output=True, timeout=60, check=False)
    return done.returncode, read("node", report)


def read(adapter: Adapter, report: Path) -> dict[str, TestResult]:
    return {test.id: test for test in judge.read(adapter, report.read_bytes())}


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_js", ".test.js").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


def python_tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "tests").mkdir(parents=True)
    (tree / "tests" / "__init__.py").touch()
    (tree / "tests" / "test_all.py").write_text(UNITTEST, "utf-8")
    (tree / "tests" / "test_gone.py").write_text("import nothing_of_this_name\n", "utf-8")
    return tree


def test_unittest_gives_each_test_one_outcome_the_worst_of_its_parts(tmp_path: Path) -> None:
    code, found = unittest_run(python_tree(tmp_path))
    assert code == 1
    outcomes = {name.removeprefix("tests.test_all.Plain."): test.outcome for name, test in found.items()}
    assert outcomes == {
        "test_passes": "passed",
        "test_fails_in_one_part": "failed",
        "test_skips_one_part_and_fails_another": "failed",
        "test_is_skipped": "skipped",
        "test_fails_as_expected": "skipped",
        "test_passes_unexpectedly": "failed",
        "setUpClass (tests.test_all.NeverSetUp)": "error",
        "unittest.loader._FailedTest.tests.test_gone": "error",
    }


@pytest.mark.parametrize("arguments", [("discover",), ("discover", "-s", "tests")])
def test_unittest_names_the_file_also_of_what_could_not_be_loaded(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    _, found = unittest_run(python_tree(tmp_path), *arguments)
    files = {test.file for test in found.values() if "test_gone" in test.id}
    assert files == {"tests/test_gone.py"}
    assert {test.file for test in found.values() if "test_gone" not in test.id} == {"tests/test_all.py"}


def test_unittest_gives_the_same_ids_on_every_run_and_no_place_in_them(tmp_path: Path) -> None:
    tree = python_tree(tmp_path)
    first, second = unittest_run(tree)[1], unittest_run(tree)[1]
    assert list(first) == list(second)
    assert not [name for name, test in first.items() if str(tmp_path) in name + test.file]


def test_unittest_without_any_test_ends_with_status_5(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    code, found = unittest_run(tree)
    assert (code, found) == (5, {})


@needs_node
def test_node_names_tests_by_file_and_suite(tmp_path: Path) -> None:
    tree = write(tmp_path / "tree", test__a_js=NODE_A, test__b_js="require('node:test').test('same', () => {});")
    code, found = node_run(tree)
    assert code == 1
    assert {name: test.outcome for name, test in found.items()} == {
        "test/a.test.js > same": "passed",
        "test/a.test.js > suite > deep > down": "failed",
        "test/a.test.js > skipped": "skipped",
        "test/a.test.js > later": "skipped",
        "test/a.test.js > hooked > inside": "failed",
        "test/a.test.js > hooked": "error",
        "test/b.test.js > same": "passed",
    }
    assert {test.file for test in found.values()} == {"test/a.test.js", "test/b.test.js"}


@needs_node
def test_node_gives_the_same_ids_on_every_run_and_no_place_in_them(tmp_path: Path) -> None:
    tree = write(tmp_path / "tree", test__a_js=NODE_A, test__b_js=NODE_A)
    first, second = node_run(tree)[1], node_run(tree)[1]
    assert list(first) == list(second)
    assert not [name for name, test in first.items() if str(tmp_path) in name + test.file]


@needs_node
def test_node_names_a_file_that_cannot_be_loaded_and_says_why(tmp_path: Path) -> None:
    code, found = node_run(write(tmp_path / "tree", test__c_js="const ("))
    assert code == 1
    assert [(test.id, test.file, test.outcome) for test in found.values()] == [
        ("test/c.test.js", "test/c.test.js", "error")
    ]
    assert "SyntaxError" in found["test/c.test.js"].message


@needs_node
@pytest.mark.parametrize(
    "text",
    [
        "process.exit(0); require('node:test').test('never', () => { throw 1; });",
        "require('node:test').test('never', () => { process.exit(0); });",
        "",
    ],
)
def test_node_does_not_count_a_file_that_ended_early_as_a_test(tmp_path: Path, text: str) -> None:
    code, found = node_run(write(tmp_path / "tree", test__d_js=text))
    assert (code, found) == (0, {})
    assert judge.judge("node", code, b"").verdict == "not run"
