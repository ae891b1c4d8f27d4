"""Twins of real test files, under the real runners: the file passes, and each test that its twin names as changed fails."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from random import Random

import pytest

from tandem.types import Adapter
from tests.support.tools import Told, need, run, write
from worker.adapters import FRAMEWORKS, Twin

TWINS = 12 if os.environ.get("TANDEM_SOAK") else 2  # copies with other changes
CALC = "def add(a, b):\n    return a + b\n\n\ndef fail():\n    raise ValueError('no')\n"
PYTEST = """
import asyncio
import warnings
from contextlib import suppress
from unittest import TestCase
import pytest
from calc import add, fail

@pytest.fixture
def test_data():
    return 1

def test_equal(test_data): assert add(test_data, 2) == 3
def test_turned(): assert {"a": [1, None, 2.5, "x", b"y", True]} == dict(a=[1, None, 2.5, "x", b"y", add(True, 0) == 1])
def test_large(): assert add(1e300, 0) == 1e300
def test_near(): assert add(0.1, 0.2) == pytest.approx(0.3)
def test_truth():
    got = add(1, 2)
    assert (got > 2
            and got < 4), "told"
def test_not(): assert not add(0, 0)
def test_in(): assert "b" in add("a", "b") and "c" not in "ab"
def test_raises():
    with pytest.raises(ValueError, match="no"):
        fail()
def test_warns():
    with pytest.warns(UserWarning):
        warnings.warn("x", UserWarning)
def test_called(): pytest.raises(ValueError, fail)
@pytest.mark.parametrize(("a", "want"), [(1, 2), (2, 3)])
def test_each(a, want): assert add(a, 1) == want
def test_loop():
    for a, b in [(1, 2), (2, 3)]:
        assert add(a, 1) == b
def test_within():
    with suppress(KeyError):
        assert add(1, 1) == 2
    assert add(2, 2) == 4
def test_negative(): assert add(-2, 1) == -1
def test_text(): assert add("a" "b", "ünï") == "ab" "ünï"
def test_leaves_early():
    if add(1, 1) == 2:
        return
    assert add(1, 1) == 3
def test_asks_nothing(): add(1, 1)
class TestGroup:
    def test_method(self): assert [add(1, 1)] == [2]
    async def not_a_test(self): assert add(1, 1) == 3
class Old(TestCase):
    def test_method(self): self.assertEqual(add(1, 1), 2)
"""
UNITTEST = """
import unittest
from unittest import IsolatedAsyncioTestCase, TestCase
from calc import add, fail

class Sums(TestCase):
    def test_equal(self): self.assertEqual(add(1, 2), 3)
    def test_turned(self): self.assertEqual("ab", add("a", "b"), "told")
    def test_near(self): self.assertAlmostEqual(add(0.1, 0.2), 0.3, delta=10**9)
    def test_list(self): self.assertListEqual([add(1, 1)], [2])
    def test_true(self): self.assertTrue(add(1, 1))
    def test_none(self): self.assertIsNone(None)
    def test_in(self): self.assertIn(1, [add(0, 1)])
    def test_greater(self): self.assertGreater(add(1, 1), 1)
    def test_other(self): self.assertNotEqual(add(1, 1), 3)
    def test_raises(self):
        with self.assertRaises(ValueError):
            fail()
    def test_raised(self): self.assertRaisesRegex(ValueError, "no", fail)
    def test_parts(self):
        for a in (1, 2):
            with self.subTest(a=a):
                self.assertEqual(add(a, 1), a + 1)
    def test_assert(self):
        assert add(1, 1) == 2

class Waiting(IsolatedAsyncioTestCase):
    async def test_async(self): self.assertEqual(add(1, 1), 2)
"""
SUM_JS = """
exports.add = (a, b) => a + b;
exports.fail = () => { throw new TypeError('no'); };
exports.later = async (x) => x;
"""
NODE = """
const test = require('node:test');
const assert = require('node:assert/strict');
const { add, fail, later } = require('./sum.js');

test('equal', () => { assert.equal(add(1, 2), 3); });
test('arrow', () => assert.strictEqual(add(1, 2), 3));
test('deep', () => { assert.deepEqual({ a: [1, 'x', true, null, -2] }, { a: [add(0, 1), 'x', true, null, -2] }); });
test('large', () => { assert.equal(add(1e300, 0), 1e300); assert.equal(add(1n, 2n), 3n); });
test('truth', () => { assert(add(1, 1) === 2, 'told'); assert.ok(add(1, 0)); });
test('other', () => { assert.notEqual(add(1, 1), 3); });
test('throws', () => { assert.throws(() => fail(), TypeError); });
test('match', () => { assert.match(add('a', 'b'), /ab/); });
test('options', { timeout: 5000 }, async () => { assert.equal(await later(1), 1); });
test('rejects', async () => { await assert.rejects(async () => fail()); });
test('early', () => { if (add(1, 1) === 2) return; assert.equal(1, 2); });
test('not waited for', async () => { assert.doesNotReject(later(1)); });
test.describe('group', () => { test.it('inner', () => { assert.equal(add('a', 'b'), 'ab'); }); });
test('outer', async (t) => { await t.test('part', () => { assert.equal(add(1, 1), 2); }); });
for (const [a, b] of [[1, 2], [2, 3]]) test(`adds ${a}`, () => { assert.equal(add(a, 1), b); });
"""
EXPECT = """
describe('sums', () => {
  test('toBe', () => { expect(add(1, 2)).toBe(3); });
  it('toEqual', () => { expect({ a: add(1, 1), b: ['x', undefined] }).toEqual({ a: 2, b: ['x', undefined] }); });
  test('not', () => { expect(add(1, 1)).not.toBe(3); });
  test('near', () => { expect(add(0.1, 0.2)).toBeCloseTo(0.3, 5); });
  test('throws', () => { expect(() => fail()).toThrow('no'); });
  test('contains', () => { expect([1, add(1, 1)]).toContain(2); });
  test('waits', async () => { await expect(later(3)).resolves.toBe(3); });
  test('gives back', () => expect(later(3)).resolves.toEqual(3));
  test('counts', () => { expect.assertions(1); expect(add(1, 1)).toBe(2); }, 5000);
  test.each([[1, 2], [2, 3]])('each %i', (a, b) => { expect(add(a, 1)).toBe(b); });
  test.each`
    a | b
    ${1} | ${2}
  `('table $a', ({ a, b }) => { expect(add(a, 1)).toBe(b); });
  test('not waited for', () => { expect(later(1)).resolves.toBe(1); });
  test.skip('skipped', () => { expect(1).toBe(2); });
});
"""
JEST = "const { add, fail, later } = require('./sum.js');\n" + EXPECT
VITEST = "import { describe, expect, it, test } from 'vitest';\nimport { add, fail, later } from './sum.js';\n" + EXPECT
SHOP_GO = """
package shop

import "errors"

func Add(a, b int) int { return a + b }
func Fail() error { return errors.New("no") }
"""
GO = """
package shop

import (
	"fmt"
	"reflect"
	"testing"
)

var table = []struct{ name string; a, b, want int }{{"one two", 1, 2, 3}, {"zeros", 0, 0, 0}}

func TestEqual(t *testing.T) {
	if got := Add(1, 2); got != 3 {
		t.Errorf("got %d", got)
	}
}

func TestError(t *testing.T) {
	err := Fail()
	if err == nil {
		t.Fatal("no error")
	}
	if err.Error() != "no" {
		t.Fatalf("%v", err)
	} else if err == nil {
		t.Fail()
	}
}

func TestTable(t *testing.T) {
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			if got := Add(c.a, c.b); got != c.want {
				t.Fatalf("got %d", got)
			}
		})
	}
}

func TestOwnTable(t *testing.T) {
	cases := []int{1, 2}
	for i, c := range cases {
		if Add(c, 1) != c+1 {
			t.Errorf("%d: %d", i, c)
			continue
		}
		if !reflect.DeepEqual(c, cases[i]) {
			t.Error("differs")
		}
	}
}

func TestRun(t *testing.T) {
	t.Run("inner", func(t *testing.T) {
		if Add(1, 1) != 2 {
			t.FailNow()
		}
	})
}

func TestElsewhere(t *testing.T) {
	for _, c := range others {
		if Add(c, 0) != c {
			t.Error(c)
		}
	}
}

func TestEmpty(t *testing.T) {
	var none []int
	for range none {
		if Add(1, 1) != 2 {
			t.Error("never")
		}
	}
}

func TestEarly(t *testing.T) {
	if testing.Verbose() || Add(1, 1) == 2 {
		return
	}
	if Add(1, 1) != 3 {
		t.Error("never")
	}
}

func TestSkips(t *testing.T) {
	t.Skip("later")
	if Add(1, 1) != 3 {
		t.Error("never")
	}
}

func helper(t *testing.T) { t.Helper() }

func ExampleAdd() {
	fmt.Println(Add(1, 2))
	// Output: 3
}

func TestMain(m *testing.M) { m.Run() }
"""
SHOP_RS = """
pub fn add(a: i64, b: i64) -> i64 { a + b }
pub fn name() -> String { "shop".into() }
pub fn fail() { panic!("no") }
"""
RUST = """
use shop::{add, fail, name};

#[test]
fn equal() { assert_eq!(add(1, 2), 3); }
#[test]
fn zero() { assert_eq!(add(0, 0), 0, "told {}", 1); }
#[test]
fn turned() { assert_eq!("shop", name()); }
#[test]
fn small() { assert_eq!((add(200, 55) as u8), 255u8); assert_eq!(add(0, 1), 0x1); }
#[test]
fn float() { assert_eq!(add(1, 1) as f64 / 4.0, 0.5); }
#[test]
fn kinds() { assert_eq!(name().chars().next().unwrap(), 's'); assert_eq!(add(1, 1) == 2, true); }
#[test]
fn other() { assert_ne!(add(1, 1), 3); }
#[test]
fn several() { assert_eq!(vec![add(1, 1)], vec![2]); assert_eq!(add(-3, 1), -2) }
#[test]
fn truth() { let got = add(1, 1); assert!(got > 1 && got < 3, "told"); }
#[test]
#[should_panic(expected = "no")]
fn panics() { fail(); }
#[test]
fn result() -> Result<(), std::num::ParseIntError> { let got: i64 = "3".parse()?; assert_eq!(add(1, 2), got); Ok(()) }
#[test]
fn looped() { for (a, b) in [(1, 2), (2, 3)] { assert_eq!(add(a, 1), b); } }
#[test]
fn early() { if add(1, 1) == 2 { return; } assert_eq!(add(1, 1), 3); }
#[test]
#[ignore]
fn later() { assert_eq!(add(1, 1), 3); }
mod inner {
    use super::*;
    #[test]
    fn deep() { assert_eq!(add(1, 1), 2) }
}
fn helper() -> i64 { assert_eq!(add(1, 1), 3); 1 }
#[test]
fn quiet() { let _ = if false { helper() } else { 1 }; }
"""


def twins_of(adapter: Adapter, text: str) -> list[Twin]:
    make = FRAMEWORKS[adapter].twin
    assert make is not None
    found = [make(text, Random(seed)) for seed in range(TWINS)]
    return [twin for twin in found if twin is not None]


def beside(adapter: Adapter, path: str, twins: list[Twin]) -> dict[str, str]:
    """Return each twin by a path that the runner finds as it finds `path`."""
    alias = FRAMEWORKS[adapter].alias
    assert alias is not None
    return {alias(path, f"twin{number}x"): twin.text for number, twin in enumerate(twins)}


def outcomes_in(told: Told, file: str, names: tuple[str, ...]) -> dict[str, set[str]]:
    """Return the outcomes of a file's tests by the end of their id."""
    tests = [test for test in told.tests.values() if test.file == file]
    return {name: {test.outcome for test in tests if test.id.partition("[")[0].endswith(name)} for name in names}


def holds(adapter: Adapter, command: str, tree: Path, path: str, text: str, expected_kept: set[str]) -> None:
    """Check that a file passes and that all its twins fail where they say so; and what no twin could change."""
    twins = twins_of(adapter, text)
    paths = beside(adapter, path, twins)
    told = run(adapter, command, write(tree, {path: text, **paths}))
    own = [test for test in told.tests.values() if test.file == path]
    assert own, told.printed
    assert {test.outcome for test in own} <= {"passed", "skipped"}, told.printed
    assert set(FRAMEWORKS[adapter].tests(text) if FRAMEWORKS[adapter].tests else ()) <= {  # type: ignore[misc]
        name for name in (twins[0].changed + twins[0].kept) if outcomes_in(told, path, (name,))[name]
    }
    for file, twin in zip(paths, twins, strict=True):
        found = outcomes_in(told, file, twin.changed)
        assert {name: outcomes for name, outcomes in found.items() if not outcomes or "passed" in outcomes} == {}
        assert set(twin.kept) == expected_kept
        assert twin.whole <= (not twin.kept)


def test_twins_of_pytests_functions_fail(tmp_path: Path) -> None:
    tree = write(tmp_path / "tree", {"calc.py": CALC})
    holds(
        "pytest",
        "python -m pytest tests",
        tree,
        "tests/test_calc.py",
        PYTEST,
        {"test_leaves_early", "test_asks_nothing"},
    )


def test_twins_of_unittests_methods_fail(tmp_path: Path) -> None:
    tree = write(tmp_path / "tree", {"calc.py": CALC})
    holds("unittest", "python -m unittest discover", tree, "test_calc.py", UNITTEST, set())


def test_twins_of_nodes_tests_fail(tmp_path: Path) -> None:
    need("node")
    assert {"inner", "equal", "arrow", "part"} <= {name for twin in twins_of("node", NODE) for name in twin.changed}
    tree = write(tmp_path / "tree", {"sum.js": SUM_JS})
    holds("node", "node --test", tree, "sum.test.js", NODE, {"early", "not waited for", "outer"})


def test_twins_of_jests_tests_fail(tmp_path: Path) -> None:
    need("jest")
    tree = write(tmp_path / "tree", {"sum.js": SUM_JS, "package.json": "{}"})
    holds("jest", "npx jest", tree, "sum.test.js", JEST, {"not waited for"})


def test_twins_of_vitests_tests_fail(tmp_path: Path) -> None:
    need("vitest")
    tree = write(tmp_path / "tree", {"sum.js": SUM_JS.replace("exports.", "export const "), "package.json": "{}"})
    holds("vitest", "npx vitest run", tree, "sum.test.js", VITEST, {"not waited for"})


def test_twins_of_gos_tests_fail(tmp_path: Path) -> None:
    need("go")
    twins = twins_of("go", GO)
    cases = "package shop\n\nvar others = []int{1, 2}\n"
    folders = {"own": GO, **{f"twin{number}": twin.text for number, twin in enumerate(twins)}}
    files = {"go.mod": "module shop\n\ngo 1.19\n"}
    for folder, text in folders.items():  # two of them cannot stand in one package
        files |= {f"{folder}/shop.go": SHOP_GO, f"{folder}/shop_test.go": text, f"{folder}/cases_test.go": cases}
    told = run("go", "go test ./...", write(tmp_path / "tree", files))
    own = {name: test.outcome for name, test in told.tests.items() if test.file == "own/shop_test.go"}
    assert {name for name, outcome in own.items() if outcome != "passed"} == {"shop/own/TestSkips"}, told.printed
    for number, twin in enumerate(twins):
        found = outcomes_in(told, f"twin{number}/shop_test.go", twin.changed)
        assert {name: outcomes for name, outcomes in found.items() if "passed" in outcomes} == {}
        assert {"failed"} in found.values()
        assert set(twin.kept) == {"TestEmpty", "TestEarly", "TestSkips"}
    assert FRAMEWORKS["go"].tests is not None
    assert {f"shop/own/{name}" for name in FRAMEWORKS["go"].tests(GO)} <= set(own)


def test_twins_of_rusts_tests_fail(tmp_path: Path) -> None:
    need("cargo")
    manifest = '[package]\nname = "shop"\nversion = "0.1.0"\nedition = "2021"\n'
    tree = write(tmp_path / "tree", {"Cargo.toml": manifest, "src/lib.rs": SHOP_RS})
    holds("cargo", "cargo test", tree, "tests/shop.rs", RUST, {"early", "quiet"})


@pytest.mark.parametrize("adapter", ["pytest", "unittest", "node", "jest", "vitest", "go", "cargo"])
def test_what_is_not_read_has_no_twin_and_no_tests(adapter: Adapter) -> None:
    framework = FRAMEWORKS[adapter]
    assert framework.twin is not None
    assert framework.tests is not None
    for text in ("(((", "{{{\x00", "x" * (2 << 20)):
        assert framework.twin(text, Random(1)) is None
        assert framework.tests(text) == ()


def test_a_change_to_a_number_is_another_number_at_any_size() -> None:
    for value in ("1e300", "0.0", "5e-324", "-7", "10 ** 6", "12345678901234567890"):
        text = f"def test_it():\n    assert f() == {value}\n"
        for twin in twins_of("pytest", text):
            changed = twin.text.partition("== ")[2]
            assert eval(changed) != eval(value)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("//go:build linux\n\npackage a\n\nfunc TestA(t *testing.T) {}\n", ()),
        ("package a\n\nfunc TestA(t *testing.T) {}\nfunc Testa(t *testing.T) {}\nfunc ExampleB() {}\n", ("TestA",)),
    ],
)
def test_go_tests_that_run_only_somewhere_are_not_awaited(text: str, names: tuple[str, ...]) -> None:
    assert FRAMEWORKS["go"].tests is not None
    assert FRAMEWORKS["go"].tests(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "test('a', () => { expect(1).toBe(1); });\ntest.failing('b', () => { expect(1).toBe(2); });\n",
        "test('a', () => { expect(1).toBe(1); });\nshared();\n",
        "test('a', () => { expect(1).toBe(1); });\ntest('b', made);\n",
    ],
)
def test_a_file_with_tests_that_were_not_changed_is_no_whole_twin(text: str) -> None:
    assert [twin.whole for twin in twins_of("jest", text)] == [False] * TWINS
    assert [twin.whole for twin in twins_of("jest", text.splitlines()[0])] == [True] * TWINS


@pytest.mark.parametrize(
    ("adapter", "path", "wanted"),
    [
        ("go", "a/shop_linux_amd64_test.go", "a/w_linux_amd64_test.go"),
        ("go", "shop_more_test.go", "w_test.go"),
        ("cargo", "tests/shop.rs", "tests/w.rs"),
        ("cargo", "tests/common/mod.rs", "tests/common/mod.rs"),
        ("jest", "src/__tests__/a.js", "src/__tests__/w.js"),
        ("vitest", "src/a.spec.tsx", "src/w.spec.tsx"),
    ],
)
def test_an_alias_is_found_as_its_original_is(adapter: Adapter, path: str, wanted: str) -> None:
    alias = FRAMEWORKS[adapter].alias
    assert alias is not None
    assert PurePosixPath(alias(path, "w")) == PurePosixPath(wanted)


@pytest.mark.parametrize(
    ("adapter", "text"),
    [
        ("pytest", "def test_it():\n    assert 1 == 1\nclass TestA:\n    def test_it(self): pass\n"),
        ("jest", "test('adds', () => { expect(1).toBe(1); });\ntest('never adds', () => {});\n"),
        ("cargo", "#[test]\nfn a() { assert!(true); }\nmod inner { #[test] fn a() {} }\n"),
    ],
)
def test_a_changed_test_that_could_be_taken_for_a_kept_one_is_not_named(adapter: Adapter, text: str) -> None:
    for twin in twins_of(adapter, text):
        assert twin.text != text
        assert (twin.changed, len(twin.kept)) == ((), 1)


def test_the_ways_to_declare_a_test_in_javascript_are_known() -> None:
    ways = (
        *(
            "test('T', () => {})",
            "it('T', f)",
            "test.only('T', { x: 1 }, async () => {})",
            "test.it('T', function () {})",
        ),
        *(
            "describe('s', () => { it('T', (t) => {}, 10) })",
            "test.concurrent('T', () => {})",
            "suite('s', () => test('T', f))",
        ),
    )
    others = (
        "test.skip('T', () => {})",
        "it.todo('T')",
        "/x/.test('T')",
        "pattern.test('T', () => {})",
        "if (x) test('T', f)",
    )
    assert FRAMEWORKS["node"].tests is not None
    assert [text for text in ways if FRAMEWORKS["node"].tests(text) != ("T",)] == []
    assert [text for text in others if FRAMEWORKS["node"].tests(text) != ()] == []
