"""The reporters with the real tools: what each test did, and what may not count as a test that passed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tandem.types import Adapter
from tests.support.tools import Told, need, run, write
from worker import judge
from worker.adapters import FRAMEWORKS, Selection

PYTEST = """
import pytest
def test_passes(): pass
def test_fails(): assert 1 == 2, "differs"
def test_breaks(): nothing()
@pytest.mark.skip
def test_skipped(): pass
@pytest.mark.xfail
def test_known(): assert False
@pytest.fixture
def broken(): raise KeyError("x")
def test_set_up(broken): pass
@pytest.fixture
def leaves():
    yield
    raise OSError("tear-down")
def test_torn_down(leaves): pass
@pytest.mark.parametrize("n", [1, 2])
def test_each(n): assert n == 1
class TestGroup:
    def test_inner(self): pass
"""
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
NODE = """
const { test, describe, it, before } = require('node:test');
const assert = require('node:assert');
test('same', () => {});
describe('suite', () => { describe('deep', () => { it('down', () => { assert.equal(1, 2); }); }); });
test.skip('skipped', () => {});
test.todo('later', () => { throw new Error('not yet'); });
describe('hooked', () => { before(() => { throw new Error('no database'); }); it('inside', () => {}); });
"""
JEST = """
describe('suite', () => {
  test('fails', () => { expect(1).toBe(2); });
  test('asserts', () => { require('node:assert').equal(1, 2); });
  test.each([1, 2])('each %i', (n) => { expect(n).toBe(1); });
  it('breaks', () => { nothing(); });
  it.skip('skipped', () => {});
  it.todo('later');
  test('waits', async () => { await expect(Promise.resolve(1)).resolves.toBe(1); });
});
describe('hooked', () => { beforeAll(() => { throw new RangeError('no database'); }); test('inside', () => {}); });
"""
VITEST = (
    "import { beforeAll, describe, expect, it, test } from 'vitest';\nimport assert from 'node:assert';\n"
    + JEST.replace("require('node:assert')", "assert")
)
MODULE = "module example.com/shop\n\ngo 1.19\n"
GO = """
package shop

import (
	"fmt"
	"testing"
)

func TestPasses(t *testing.T) { fmt.Print("a line without an end") }
func TestFails(t *testing.T)  { t.Error("differs") }
func TestSkipped(t *testing.T) { t.Skip("later") }
func TestParts(t *testing.T) {
	t.Run("one two", func(t *testing.T) {})
	t.Run("three", func(t *testing.T) { t.Fatal("no") })
}
func TestPanics(t *testing.T) { var m map[string]int; m["x"] = 1 }
"""
MANIFEST = '[package]\nname = "shop"\nversion = "0.1.0"\nedition = "2021"\n'
LIB = """
/// Doubles.
///
/// ```
/// assert_eq!(shop::double(2), 4);
/// ```
pub fn double(n: i64) -> i64 { n * 2 }

#[cfg(test)]
mod tests {
    #[test]
    fn inside() { assert_eq!(super::double(1), 2); }
}
"""
RUST = """
#[test]
fn passes() { assert_eq!(shop::double(1), 2); }
#[test]
fn fails() { assert_eq!(shop::double(1), 3, "differs"); }
#[test]
fn stub() { todo!() }
#[test]
fn breaks() { let none: Option<i64> = None; none.unwrap(); }
#[test]
#[should_panic]
fn panics() { panic!("no") }
#[test]
#[ignore = "slow"]
fn later() {}
"""


def causes(told: Told) -> dict[str, str]:
    return {name: test.cause for name, test in told.tests.items() if test.outcome in ("failed", "error")}


def verdict(adapter: Adapter, told: Told) -> str:
    """Return what the judge makes of the tests that were told and the status."""
    return judge.conclude(tuple(told.tests.values()), told.status).verdict if told.tests else "not run"


# --- pytest and unittest ----------------------------------------------------------------------------------------


def test_pytest_gives_each_test_one_outcome_and_the_class_of_its_error(tmp_path: Path) -> None:
    tree = write(tmp_path / "tree", {"tests/test_a.py": PYTEST, "tests/test_gone.py": "import nothing_of_this_name\n"})
    told = run("pytest", "python -m pytest tests", tree)
    assert told.status == 1
    assert {name.removeprefix("tests/test_a.py::"): outcome for name, outcome in told.outcomes.items()} == {
        "test_passes": "passed",
        "test_fails": "failed",
        "test_breaks": "failed",
        "test_skipped": "skipped",
        "test_known": "skipped",
        "test_set_up": "error",
        "test_torn_down": "error",
        "test_each[1]": "passed",
        "test_each[2]": "failed",
        "TestGroup::test_inner": "passed",
        "tests/test_gone.py": "error",
    }
    assert {name.rpartition("::")[2]: cause for name, cause in causes(told).items()} == {
        "test_fails": "AssertionError",
        "test_breaks": "NameError",
        "test_set_up": "KeyError",
        "test_torn_down": "OSError",
        "test_each[2]": "AssertionError",
        "tests/test_gone.py": "ModuleNotFoundError",
    }
    assert "differs" in told.tests["tests/test_a.py::test_fails"].message


def test_unittest_gives_each_test_one_outcome_the_worst_of_its_parts(tmp_path: Path) -> None:
    files = {
        "tests/__init__.py": "",
        "tests/test_all.py": UNITTEST,
        "tests/test_gone.py": "import nothing_of_this_name\n",
    }
    told = run("unittest", "python -m unittest discover", write(tmp_path / "tree", files))
    assert told.status == 1
    assert {name.removeprefix("tests.test_all.Plain."): outcome for name, outcome in told.outcomes.items()} == {
        "test_passes": "passed",
        "test_fails_in_one_part": "failed",
        "test_skips_one_part_and_fails_another": "failed",
        "test_is_skipped": "skipped",
        "test_fails_as_expected": "skipped",
        "test_passes_unexpectedly": "failed",
        "setUpClass (tests.test_all.NeverSetUp)": "error",
        "unittest.loader._FailedTest.tests.test_gone": "error",
    }
    assert causes(told)["setUpClass (tests.test_all.NeverSetUp)"] == "RuntimeError"
    assert causes(told)["unittest.loader._FailedTest.tests.test_gone"] == "ModuleNotFoundError"


@pytest.mark.parametrize("arguments", ["discover", "discover -s tests"])
def test_unittest_names_the_file_also_of_what_could_not_be_loaded(tmp_path: Path, arguments: str) -> None:
    files = {
        "tests/__init__.py": "",
        "tests/test_all.py": UNITTEST,
        "tests/test_gone.py": "import nothing_of_this_name\n",
    }
    told = run("unittest", f"python -m unittest {arguments}", write(tmp_path / "tree", files))
    assert {test.file for name, test in told.tests.items() if "test_gone" in name} == {"tests/test_gone.py"}
    assert {test.file for name, test in told.tests.items() if "test_gone" not in name} == {"tests/test_all.py"}


def test_unittest_without_any_test_ends_with_status_5(tmp_path: Path) -> None:
    told = run("unittest", "python -m unittest", write(tmp_path / "tree", {"a.py": ""}))
    assert (told.status, told.tests) == (5, {})


@pytest.mark.parametrize(("adapter", "command"), [("pytest", "pytest"), ("unittest", "python -m unittest")])
def test_a_module_of_the_tree_does_not_run_before_the_framework(tmp_path: Path, adapter: Adapter, command: str) -> None:
    test = "import unittest as u\nclass T(u.TestCase):\n    def test_it(self): assert False\n"
    names = ("sitecustomize", "usercustomize", "json", "random", "re", adapter)
    files = {f"{name}.py": "import os\nos._exit(0)\n" for name in names}
    told = run(adapter, command, write(tmp_path / "tree", {**files, "test_a.py": test}))
    assert list(told.outcomes.values()) == ["failed"]


# --- node -------------------------------------------------------------------------------------------------------


def test_node_names_tests_by_file_and_suite(tmp_path: Path) -> None:
    need("node")
    files = {"test/a.test.js": NODE, "test/b.test.js": "require('node:test').test('same', () => {});"}
    told = run("node", "node --test", write(tmp_path / "tree", files))
    assert told.status == 1
    assert told.outcomes == {
        "test/a.test.js > same": "passed",
        "test/a.test.js > suite > deep > down": "failed",
        "test/a.test.js > skipped": "skipped",
        "test/a.test.js > later": "skipped",
        "test/a.test.js > hooked > inside": "failed",
        "test/a.test.js > hooked": "error",
        "test/b.test.js > same": "passed",
    }
    assert {test.file for test in told.tests.values()} == {"test/a.test.js", "test/b.test.js"}
    assert causes(told)["test/a.test.js > suite > deep > down"] == "AssertionError"


@pytest.mark.parametrize(
    ("text", "cause"),
    [("const (", "SyntaxError"), ("require('./gone');", "MODULE_NOT_FOUND"), ("nothing();", "ReferenceError")],
)
def test_node_names_a_file_that_cannot_be_loaded_and_says_why(tmp_path: Path, text: str, cause: str) -> None:
    need("node")
    told = run("node", "node --test", write(tmp_path / "tree", {"test/c.test.js": text}))
    assert told.status == 1
    assert [(test.id, test.file, test.outcome, test.cause) for test in told.tests.values()] == [
        ("test/c.test.js", "test/c.test.js", "error", cause)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "process.exit(0); require('node:test').test('never', () => { throw 1; });",
        "require('node:test').test('never', () => { process.exit(0); });",
        "",
    ],
)
def test_node_does_not_count_a_file_that_ended_early_as_a_test(tmp_path: Path, text: str) -> None:
    need("node")
    told = run("node", "node --test", write(tmp_path / "tree", {"test/d.test.js": text}))
    assert (told.status, told.tests) == (0, {})
    assert judge.judge("node", told.status, b"").verdict == "not run"


# --- jest and vitest --------------------------------------------------------------------------------------------

WEB: list[tuple[Adapter, str, str]] = [("jest", "npx jest", JEST), ("vitest", "npx vitest run", VITEST)]


@pytest.mark.parametrize(("adapter", "command", "text"), WEB)
def test_jest_and_vitest_tell_each_test_with_the_class_of_its_error(
    tmp_path: Path, adapter: Adapter, command: str, text: str
) -> None:
    need(adapter)
    load = "import { test } from 'vitest';\n" if adapter == "vitest" else ""
    gone = "import './gone.js';" if load else "require('./gone.js');"
    files = {
        "package.json": "{}",
        "vitest.config.mjs": "import { defineConfig } from 'vitest/config';\nexport default defineConfig({});\n",
        "src/a.test.js": text,
        "src/b.spec.js": f"{load}{gone}\ntest('never', () => {{}});\n",
        "src/c.test.js": "const (",
        "src/d.test.js": f"{load}throw new TypeError('at load');\n",
    }
    told = run(adapter, command, write(tmp_path / "tree", files))
    assert told.status == 1
    outcomes = {name.removeprefix("src/a.test.js > "): outcome for name, outcome in told.outcomes.items()}
    hooked = {"hooked > inside": "failed"} if adapter == "jest" else {"hooked > inside": "skipped", "hooked": "error"}
    assert outcomes == {
        "suite > fails": "failed",
        "suite > asserts": "failed",
        "suite > each 1": "passed",
        "suite > each 2": "failed",
        "suite > breaks": "failed",
        "suite > skipped": "skipped",
        "suite > later": "skipped",
        "suite > waits": "passed",
        **hooked,
        "src/b.spec.js": "error",
        "src/c.test.js": "error",
        "src/d.test.js": "error",
    }
    assert {name.rpartition(" > ")[2]: cause for name, cause in causes(told).items()} == {
        "fails": "AssertionError",
        "asserts": "AssertionError",
        "each 2": "AssertionError",
        "breaks": "ReferenceError",
        "inside" if adapter == "jest" else "hooked": "RangeError",
        "src/b.spec.js": "MODULE_NOT_FOUND",
        "src/c.test.js": "SyntaxError",
        "src/d.test.js": "TypeError",
    }
    assert all("\x1b" not in test.message for test in told.tests.values())


@pytest.mark.parametrize(("adapter", "command", "text"), WEB)
def test_jest_and_vitest_do_not_pass_a_test_that_ends_its_process(
    tmp_path: Path, adapter: Adapter, command: str, text: str
) -> None:
    need(adapter)
    load = text.partition("\n")[0] if adapter == "vitest" else ""
    for number, body in enumerate(("process.exit(0);", "process.reallyExit(0);")):
        tests = f"{load}\ntest('first', () => {{}});\ntest('never', () => {{ {body} }});\n"
        told = run(adapter, command, write(tmp_path / str(number), {"package.json": "{}", "a.test.js": tests}))
        assert told.outcomes.get("a.test.js > never") != "passed"
        assert verdict(adapter, told) != "passed"


@pytest.mark.parametrize(("adapter", "command", "text"), WEB)
def test_jest_and_vitest_run_chosen_files_with_their_tests_shuffled(
    tmp_path: Path, adapter: Adapter, command: str, text: str
) -> None:
    need(adapter)
    load = text.partition("\n")[0] if adapter == "vitest" else ""
    tests = load + "".join(f"\ntest('t{number}', () => {{ console.log('RAN t{number}'); }});" for number in range(8))
    files = {"package.json": "{}", "a.test.js": tests, "b.test.js": tests, "other.test.js": f"{load}\nthrow 1;\n"}
    tree = write(tmp_path / "tree", files)
    orders: list[list[str]] = []
    for seed in (1, 1, 2):
        told = run(adapter, f"{command} other.test.js", tree, Selection(only=("b.test.js",), seed=seed))
        assert told.status == 0, told.printed
        assert {test.file for test in told.tests.values()} == {"b.test.js"}
        orders.append([line for line in told.printed.split() if line in {f"t{number}" for number in range(8)}])
    assert orders[0] == orders[1] != orders[2]


# --- go ---------------------------------------------------------------------------------------------------------


def test_go_tells_each_test_and_part_with_its_file(tmp_path: Path) -> None:
    need("go")
    gone = 'package broken\n\nimport "testing"\n\nfunc TestB(t *testing.T) { Gone() }\n'
    files = {"go.mod": MODULE, "shop_test.go": GO, "broken/b_test.go": gone, "none/a.go": "package none\n"}
    told = run("go", "go test ./...", write(tmp_path / "tree", files))
    assert told.status != 0
    assert told.outcomes == {
        "example.com/shop/TestPasses": "passed",
        "example.com/shop/TestFails": "failed",
        "example.com/shop/TestSkipped": "skipped",
        "example.com/shop/TestParts": "failed",
        "example.com/shop/TestParts/one_two": "passed",
        "example.com/shop/TestParts/three": "failed",
        "example.com/shop/TestPanics": "failed",
        "broken/b_test.go": "error",
    }
    assert {name.rpartition("/")[2]: cause for name, cause in causes(told).items()} == {
        "TestFails": "AssertionError",
        "TestParts": "AssertionError",
        "three": "AssertionError",
        "TestPanics": "panic",
        "b_test.go": "undefined",
    }
    assert {test.file for test in told.tests.values()} == {"shop_test.go", "broken/b_test.go"}


EARLY = (
    "func init() { os.Exit(0) }\nfunc TestIt(t *testing.T) { t.Fatal() }",
    'func init() { print("=== RUN   TestIt\\n"); os.Exit(0) }\nfunc TestIt(t *testing.T) { t.Fatal() }',
    "func TestIt(t *testing.T) { syscall.Exit(0) }",
    "func TestIt(t *testing.T) { os.Exit(0) }",
    'func TestIt(t *testing.T) { fmt.Println("--- PASS: TestIt (0.00s)\\n--- PASS: TestOther (0.00s)"); t.Fatal() }',
    "func TestMain(m *testing.M) {}\nfunc TestIt(t *testing.T) { t.Fatal() }",
)


def test_go_does_not_pass_what_did_not_come_to_its_end(tmp_path: Path) -> None:
    need("go")
    files = {"go.mod": MODULE}
    for number, body in enumerate(EARLY):
        used = [name for name in ("os", "syscall", "fmt") if f"{name}." in body]
        load = "".join(f'import "{name}"\n' for name in (*used, "testing"))
        files[f"p{number}/shop_test.go"] = f"package shop\n\n{load}\n{body}\n"
    told = run("go", "go test ./...", write(tmp_path / "tree", files))
    assert {name.split("/")[2]: test.outcome for name, test in told.tests.items()} == {
        "p1": "error",
        "p2": "error",
        "p3": "failed",
        "p4": "failed",
    }


def test_go_runs_chosen_files_of_a_package_with_their_tests_shuffled(tmp_path: Path) -> None:
    need("go")
    tests = "".join(f'func TestB{n}(t *testing.T) {{ println("RAN", {n}) }}\n' for n in range(8))
    files = {
        "go.mod": MODULE,
        "a_test.go": 'package shop\n\nimport "testing"\n\nfunc TestA(t *testing.T) { t.Fatal() }\n',
        "b_test.go": f'package shop\n\nimport "testing"\n\n{tests}',
    }
    tree = write(tmp_path / "tree", files)
    orders: list[list[str]] = []
    for seed in (1, 1, 2):
        told = run("go", "go test -run TestA ./...", tree, Selection(only=("b_test.go",), seed=seed))
        assert told.status == 0, told.printed
        assert {test.file for test in told.tests.values()} == {"b_test.go"}
        orders.append([line for line in told.printed.splitlines() if line.startswith("RAN")])
    assert orders[0] == orders[1] != orders[2]


# --- cargo ------------------------------------------------------------------------------------------------------


def test_cargo_tells_each_test_of_each_program_and_of_the_documentation(tmp_path: Path) -> None:
    need("cargo")
    tree = write(tmp_path / "tree", {"Cargo.toml": MANIFEST, "src/lib.rs": LIB, "tests/shop.rs": RUST})
    told = run("cargo", "cargo test", tree)
    assert told.status == 101
    assert told.outcomes == {
        "src/lib.rs > tests::inside": "passed",
        "tests/shop.rs > passes": "passed",
        "tests/shop.rs > fails": "failed",
        "tests/shop.rs > stub": "failed",
        "tests/shop.rs > breaks": "failed",
        "tests/shop.rs > panics": "passed",
        "tests/shop.rs > later": "skipped",
        "src/lib.rs - double (example 1)": "passed",
    }
    assert {name.rpartition(" > ")[2]: cause for name, cause in causes(told).items()} == {
        "fails": "AssertionError",
        "stub": "NotImplemented",
        "breaks": "panic",
    }
    assert "differs" in told.tests["tests/shop.rs > fails"].message


def test_cargo_tells_what_cannot_be_built_and_runs_the_rest(tmp_path: Path) -> None:
    need("cargo")
    files = {
        "tests/gone.rs": "#[test]\nfn a() { assert_eq!(shop::gone(1), 1); }\n",
        "tests/odd.rs": '#[test]\nfn a() { let n: i64 = "x"; }\n',
        "tests/well.rs": "#[test]\nfn a() { assert_eq!(shop::double(1), 2); }\n",
    }
    told = run("cargo", "cargo test", write(tmp_path / "tree", {"Cargo.toml": MANIFEST, "src/lib.rs": LIB, **files}))
    assert told.status == 101
    assert {name: (test.outcome, test.cause) for name, test in told.tests.items()} == {
        "src/lib.rs > tests::inside": ("passed", ""),
        "tests/gone.rs": ("error", "E0425"),
        "tests/odd.rs": ("error", "E0308"),
        "tests/well.rs > a": ("passed", ""),
    }


def test_cargo_says_what_is_wrong_with_a_manifest(tmp_path: Path) -> None:
    need("cargo")
    files = {"Cargo.toml": MANIFEST + '[dependencies]\nserde = "1"\n', "src/lib.rs": LIB}
    told = run("cargo", "cargo test", write(tmp_path / "tree", files))
    assert told.outcomes == {"Cargo.toml": "error"}
    assert "serde" in told.tests["Cargo.toml"].message


def test_cargo_believes_no_print_and_no_early_end_and_shuffles_chosen_files(tmp_path: Path) -> None:
    need("cargo")
    forged = 'std::io::stdout().write_all(b"test c_fails ... ok\\ntest other ... ok").unwrap();'
    text = "use std::io::Write;\n" + "".join(
        f"#[test]\nfn {name}() {{ {body} }}\n"
        for name, body in (("a_prints", forged), ("c_fails", "assert!(false)"), ("d_passes", ""))
    )
    ends = "#[test]\nfn a() {}\n#[test]\nfn b() { std::process::exit(0) }\n"
    quiet = "".join(f'#[test]\nfn t{n}() {{ eprint!(" "); }}\n' for n in range(8))
    files = {"tests/forged.rs": text, "tests/ends.rs": ends, "tests/quiet.rs": quiet, "tests/other.rs": "fn ("}
    tree = write(tmp_path / "tree", {"Cargo.toml": MANIFEST, "src/lib.rs": LIB, **files})
    only = ("tests/quiet.rs", "tests/forged.rs", "tests/ends.rs")
    orders: list[list[str]] = []
    for seed in (1, 1, 2):
        told = run("cargo", "cargo test --lib -- --test-threads=1", tree, Selection(only=only, seed=seed))
        outcomes = {name: outcome for name, outcome in told.outcomes.items() if "quiet" not in name}
        assert outcomes == {
            "tests/forged.rs > a_prints": "passed",
            "tests/forged.rs > c_fails": "failed",
            "tests/forged.rs > d_passes": "passed",
            "tests/ends.rs > a": outcomes["tests/ends.rs > a"],
            "tests/ends.rs > b": "error",
        }
        orders.append([line.split()[1] for line in told.printed.splitlines() if line.startswith("test t")])
    assert orders[0] == orders[1] != orders[2]


# --- all --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", ["pytest", "unittest", "jest", "vitest", "go", "cargo"])
@pytest.mark.parametrize(
    "report",
    [
        b"",
        b'{"id": "a", "outcome": "passed"}\n',
        b'{"id": "a", "outcome": "passed"}\n{"end": 2}\n',
        b'{"id": "a", "outcome": "well"}\n{"end": 1}\n',
        b'{"outcome": "passed"}\n{"end": 1}\n',
        b'[1]\n{"end": 1}\n',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_report_that_was_broken_off_or_makes_no_sense_is_none(adapter: Adapter, report: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        FRAMEWORKS[adapter].read(report)
    assert judge.judge(adapter, 0, report).verdict == "not run"
