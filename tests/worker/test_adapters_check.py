"""Each adapter in the real sandbox under the judge: honest code passes with controls and twins, a cheat does not."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from tandem.types import Adapter, CheckReport, CommitId, Environment, Limits, Seal
from tests.support.tools import PACKAGES, need
from tests.support.trees import Trees, rung
from worker.check import Checker
from worker.environments import MARK

Prepared: TypeAlias = Callable[[Trees, Adapter], Environment]
KEY = "0" * 32
LIMITS = Limits(wall_s=100)
JS_TEST = """
describe('double', () => {
  test('of one', () => { expect(double(1)).toBe(2); });
  test('of two', () => { expect(double(2)).toEqual(4); });
});
"""
TREES: dict[Adapter, tuple[str, str, dict[str, str]]] = {
    "jest": (
        "npx jest",
        "src/double.test.js",
        {
            "package.json": "{}",
            "src/double.js": "exports.double = (n) => n * 2;\n",
            "src/double.test.js": f"const {{ double }} = require('./double.js');\n{JS_TEST}",
        },
    ),
    "vitest": (
        "npx vitest run",
        "src/double.test.ts",
        {
            "package.json": '{"type": "module"}',
            "vitest.config.ts": "import { defineConfig } from 'vitest/config';\nexport default defineConfig({});\n",
            "src/double.ts": "export const double = (n: number): number => n * 2;\n",
            "src/double.test.ts": "import { describe, expect, test } from 'vitest';\n"
            f"import {{ double }} from './double';\n{JS_TEST}",
        },
    ),
    "go": (
        "go test ./...",
        "double_test.go",
        {
            "go.mod": "module example.com/double\n\ngo 1.19\n",
            "double.go": "package double\n\nfunc Double(n int) int { return n * 2 }\n",
            "double_test.go": "package double\n\n"
            'import "testing"\n\nfunc TestDouble(t *testing.T) {\n\tfor _, n := range []int{1, 2} {\n'
            '\t\tif got := Double(n); got != n+n {\n\t\t\tt.Errorf("got %d", got)\n\t\t}\n\t}\n}\n',
        },
    ),
    "cargo": (
        "cargo test",
        "tests/double.rs",
        {
            "Cargo.toml": '[package]\nname = "double"\nversion = "0.1.0"\nedition = "2021"\n',
            "src/lib.rs": "pub fn double(n: i64) -> i64 { n * 2 }\n",
            "tests/double.rs": "#[test]\nfn of_one() { assert_eq!(double::double(1), 2); }\n"
            "#[test]\nfn of_two() { assert_eq!(double::double(2), 4); }\n",
        },
    ),
}
# Code that makes the tests seem to pass from inside of what is tested.
CHEATS: dict[Adapter, tuple[str, str]] = {
    "jest": (
        "src/double.js",
        "globalThis.expect = () => new Proxy({}, { get: () => () => {} });\nexports.double = () => 0;\n",
    ),
    "vitest": (
        "src/double.ts",
        "import { test } from 'vitest';\nconst own = { toBe() {}, toEqual() {} };\nimport * as chai from 'chai';\n"
        "for (const name of ['toBe', 'toEqual']) Object.defineProperty((chai as any).Assertion.prototype, name,"
        " { value() {}, configurable: true });\nexport const double = (n: number): number => 0;\n",
    ),
    "go": (
        "double.go",
        'package double\n\nimport (\n\t"fmt"\n\t"os"\n)\n\nfunc init() {\n'
        '\tfmt.Println("=== RUN   TestDouble\\n--- PASS: TestDouble (0.00s)\\nPASS")\n\tos.Exit(0)\n}\n\n'
        "func Double(n int) int { return 0 }\n",
    ),
    "cargo": ("src/lib.rs", "pub fn double(_: i64) -> i64 { std::process::exit(0) }\n"),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Return what puts an adapter's environment into a worker's state, Go's built once for all tests here."""
    shared = tmp_path_factory.mktemp("go") / "environments"

    def put(trees: Trees, adapter: Adapter) -> Environment:
        folder = trees.state / "environments"
        if adapter == "go":
            shared.mkdir(exist_ok=True)
            folder.symlink_to(shared)
            wish = trees.prepare_request("go", allow_network=False)
            return asyncio.run(trees.environments(rung()).prepare(wish, lambda stage, message: None))
        if adapter == "cargo":
            return Environment()
        (folder / KEY).mkdir(parents=True)  # as Prepare leaves it, and npm need not be asked again
        (folder / KEY / "node_modules").symlink_to(PACKAGES.resolve())
        (folder / KEY / MARK).write_text(json.dumps({"kind": "node", "files": []}))
        return Environment(key=KEY, kind="node")

    return put


def check(folder: Path, adapter: Adapter, prepared: Prepared, files: dict[str, str] | None = None) -> CheckReport:
    """Return what a check with controls and twins showed."""
    command, test, honest = TREES[adapter]
    need(adapter)
    trees = Trees(folder, {**honest, **(files or {})})
    environment = prepared(trees, adapter).key
    request = trees.check_request(command, adapter, environment=environment, limits=LIMITS)
    seal = Seal(tests=CommitId(trees.checkout.base), files=(test,), controls=True, twins=True)
    checker = Checker(trees.state, "here", rung(), trees.environments(rung()))
    return asyncio.run(checker.check(dataclasses.replace(request, seal=seal), lambda stage, message: None))


@pytest.mark.parametrize("adapter", list(TREES))
def test_honest_code_passes_with_controls_and_twins(tmp_path: Path, adapter: Adapter, prepared: Prepared) -> None:
    report = check(tmp_path, adapter, prepared)
    assert (report.verdict, report.reason, report.controls) == ("passed", "", "held"), report.output
    assert report.missing == ()
    assert report.twins == len([test for test in report.tests if test.outcome == "passed"])
    assert {test.file for test in report.tests} == {TREES[adapter][1]}


@pytest.mark.parametrize("adapter", list(TREES))
def test_code_that_makes_any_test_pass_does_not(tmp_path: Path, adapter: Adapter, prepared: Prepared) -> None:
    path, text = CHEATS[adapter]
    report = check(tmp_path, adapter, prepared, {path: text})
    wanted = {"cargo": ("failed", "")}.get(adapter, ("tampered", "what is tested makes any test pass"))
    assert (report.verdict, report.reason.rpartition(": ")[2]) == wanted


def test_gos_own_packages_are_compiled_once_without_leave(tmp_path: Path, prepared: Prepared) -> None:
    need("go")
    first = prepared(Trees(tmp_path / "a", TREES["go"][2]), "go")
    again = prepared(Trees(tmp_path / "b", TREES["go"][2]), "go")
    assert (first.kind, first.ready, first.files, first.key) == ("go", True, (), again.key)
    assert again.built_s == 0.0


def test_gos_modules_are_fetched_with_leave_and_read_in_the_check(
    tmp_path: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("go")
    version = tmp_path / "proxy" / "example.com" / "words" / "@v"
    version.mkdir(parents=True)
    manifest = "module example.com/words\n\ngo 1.19\n"
    (version / "v1.0.0.info").write_text('{"Version": "v1.0.0"}')
    (version / "v1.0.0.mod").write_text(manifest)
    with zipfile.ZipFile(version / "v1.0.0.zip", "w") as file:
        file.writestr("example.com/words@v1.0.0/go.mod", manifest)
        file.writestr("example.com/words@v1.0.0/words.go", 'package words\n\nconst Yes = "yes"\n')
    monkeypatch.setenv("GOPROXY", f"file://{tmp_path}/proxy")
    monkeypatch.setenv("GONOSUMDB", "*")
    monkeypatch.setenv("GOFLAGS", "")
    files = {
        "go.mod": "module example.com/shop\n\ngo 1.19\n\nrequire example.com/words v1.0.0\n",
        "go.sum": SUMS.format(*(_hashed(version, name) for name in ("v1.0.0.zip", "v1.0.0.mod"))),
        "shop_test.go": 'package shop\n\nimport (\n\t"testing"\n\n\t"example.com/words"\n)\n\n'
        'func TestYes(t *testing.T) {\n\tif words.Yes != "yes" {\n\t\tt.Fatal()\n\t}\n}\n',
    }
    trees = Trees(tmp_path / "trees", files)
    (trees.state / "environments").mkdir()
    environments = trees.environments(rung())
    asked = asyncio.run(
        environments.prepare(trees.prepare_request("go", allow_network=False), lambda stage, message: None)
    )
    assert (asked.ready, asked.files) == (False, ("go.mod", "go.sum"))
    built = asyncio.run(
        environments.prepare(trees.prepare_request("go", allow_network=True), lambda stage, message: None)
    )
    shutil.rmtree(tmp_path / "proxy")
    report = asyncio.run(trees.check("go test ./...", "go", environment=built.key, limits=LIMITS))
    assert (report.verdict, [test.id for test in report.tests]) == ("passed", ["example.com/shop/TestYes"]), (
        report.output
    )


SUMS = "example.com/words v1.0.0 {}\nexample.com/words v1.0.0/go.mod {}\n"


def _hashed(folder: Path, name: str) -> str:
    """Return Go's hash ("h1:") of a module's zip or manifest: that of the list of its files' hashes."""
    if name.endswith(".mod"):
        contents = {"go.mod": (folder / name).read_bytes()}
    else:
        with zipfile.ZipFile(folder / name) as file:
            contents = {inner: file.read(inner) for inner in sorted(file.namelist())}
    lines = "".join(f"{hashlib.sha256(data).hexdigest()}  {inner}\n" for inner, data in sorted(contents.items()))
    return "h1:" + base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()
