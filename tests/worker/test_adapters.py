"""What is made of a test command so that it leaves a report, and runs what it is asked to."""

from __future__ import annotations

import pytest

from tandem.errors import BadInput
from tandem.types import Adapter
from worker.adapters import FRAMEWORKS, Selection, plan

FILES = Selection(stand_ins={"a.test.js": ("b.test.js", "c.test.js")}, only=("b.test.js", "c.test.js"), seed=7)


def planned(adapter: Adapter, command: str, selection: Selection | None = None) -> str:
    return " ".join(plan(adapter, tuple(command.split()), selection or Selection()).argv)


@pytest.mark.parametrize(
    ("command", "begins", "ends"),
    [
        ("python -m pytest tests -x", "python -I /reporters/pytest_report.py", "-- tests -x"),
        ("pytest tests", "python -I /reporters/pytest_report.py", "-- tests"),
        ("/env/bin/py.test", "python -I /reporters/pytest_report.py", "--"),
        ("uv run pytest -k a", "python -I /reporters/pytest_report.py", "-- -k a"),
        ("python -W error -m pytest", "python -I -W error /reporters/pytest_report.py", "--"),
    ],
)
def test_pytest_runs_under_our_reporter(command: str, begins: str, ends: str) -> None:
    argv = planned("pytest", command).partition(" -o cache_dir=")[0]
    assert argv == f"{begins} /out/report.jsonl {ends}".rstrip() or argv == f"{begins} /out/report.jsonl {ends}"


def test_unittest_runs_under_our_reporter_with_its_own_arguments() -> None:
    argv = planned("unittest", "python -X dev -m unittest discover -s tests")
    assert argv == "python -I -X dev /reporters/unittest_report.py /out/report.jsonl -- discover -s tests"


def test_node_gets_a_reporter_also_behind_a_script() -> None:
    direct = plan("node", ("node", "--test", "test/"))
    assert direct.argv[:2] == ("node", "--test")
    assert direct.argv[-1] == "test/"
    assert any(part.startswith("--test-reporter=/reporters/") for part in direct.argv)
    behind = plan("node", ("npm", "test"))
    assert behind.argv == ("npm", "test")
    assert "--test-reporter=/reporters/" in behind.env["NODE_OPTIONS"]


@pytest.mark.parametrize(
    ("command", "argv", "env"),
    [
        ("jest", "node_modules/.bin/jest FLAGS", {}),
        ("npx jest a.test.js", "node_modules/.bin/jest FLAGS a.test.js", {}),
        ("npx jest --watch --reporters=x --bail=1 -t name", "node_modules/.bin/jest FLAGS -t name", {}),
        ("env A=1 npx jest", "node_modules/.bin/jest FLAGS", {"A": "1"}),
        ("node --no-warnings node_modules/jest/bin/jest.js", "node --no-warnings node_modules/.bin/jest FLAGS", {}),
        ("npm test", "npm test -- FLAGS", {}),
        ("npm test -- -t x", "npm test -- -t x FLAGS", {}),
    ],
)
def test_jest_runs_from_the_installed_packages_with_our_reporter(command: str, argv: str, env: dict[str, str]) -> None:
    found = plan("jest", tuple(command.split()))
    flags = [part for part in found.argv if part.startswith(("--reporters=", "--outputFile="))]
    assert flags == [
        "--reporters=default",
        "--reporters=/reporters/jest_report.cjs",
        "--outputFile=/out/report.jsonl",
    ]
    at = found.argv.index(flags[0])
    assert " ".join((*found.argv[:at], "FLAGS", *found.argv[at + 7 :])) == argv
    assert found.env == env


def test_jest_runs_chosen_files_and_nothing_of_the_commands_own_choosing() -> None:
    argv = planned("jest", "jest a.test.js -t name --coverage --shard 1/2 --config x.json", FILES)
    assert argv.startswith("node_modules/.bin/jest --randomize --seed=7 ")
    assert argv.endswith("-t name --config x.json --coverage=false --runTestsByPath b.test.js c.test.js")
    named = planned("jest", "jest a.test.js", Selection(stand_ins=FILES.stand_ins))
    assert named.endswith(" b.test.js c.test.js")


@pytest.mark.parametrize(
    "command", ["vitest", "vitest run", "npx vitest --watch", "node node_modules/vitest/vitest.mjs run"]
)
def test_vitest_runs_once_under_our_script(command: str) -> None:
    assert planned("vitest", command) == "node /reporters/vitest_run.mjs /out/report.jsonl -- run --bail=0"


def test_vitest_runs_chosen_files_in_an_order_of_ours() -> None:
    argv = planned("vitest", "env A=1 npx vitest run a.test.js --project x --shard=1/2", FILES)
    ending = "-- run --sequence.shuffle.tests --sequence.seed=7 --bail=0 --project x b.test.js c.test.js"
    assert argv == f"node /reporters/vitest_run.mjs /out/report.jsonl {ending}"


@pytest.mark.parametrize(
    ("adapter", "command", "ends"),
    [
        ("go", "go test ./...", "-- ./..."),
        ("go", "env CGO_ENABLED=0 go test -tags a ./x", "-- -tags a ./x"),
        ("cargo", "cargo test --release -- --test-threads 1", "-- --release -- --test-threads 1"),
        ("cargo", "cargo t", "--"),
    ],
)
def test_go_and_cargo_run_under_our_scripts(adapter: Adapter, command: str, ends: str) -> None:
    assert planned(adapter, command) == f"python -I /reporters/{adapter}_report.py /out/report.jsonl {ends}"
    chosen = planned(adapter, command, Selection(only=("x", "y"), seed=3))
    assert chosen.endswith(f"/out/report.jsonl --only=x --only=y --seed=3 {ends}")


def test_go_fetches_nothing_and_keeps_the_commands_own_settings() -> None:
    env = plan("go", ("env", "CGO_ENABLED=0", "go", "test")).env
    assert (env["GOPROXY"], env["GOTOOLCHAIN"], env["CGO_ENABLED"]) == ("off", "local", "0")


@pytest.mark.parametrize(
    ("adapter", "path", "text", "begins"),
    [
        ("jest", "a.test.js", "const x = require('./x');\n", "test('bcdfg'"),
        (
            "jest",
            "a.test.js",
            "import { test } from '@jest/globals';\n",
            "import { expect, test } from '@jest/globals';",
        ),
        ("jest", "a.test.js", "const { test } = require('@jest/globals');\n", "const { expect, test } = require("),
        ("jest", "a.test.ts", "import { x } from './x';\n", "export {};"),
        ("vitest", "a.test.ts", "import { it } from 'vitest';\n", "import { expect, test } from 'vitest';"),
        ("vitest", "a.test.ts", "test('x', () => {});\n", "test('bcdfg'"),
        ("go", "a/b_test.go", "// Words.\npackage a_test\n", "package a_test\n"),
        ("cargo", "tests/a.rs", "", "#[test]\nfn bcdfg()"),
    ],
)
def test_a_control_fits_beside_its_file(adapter: Adapter, path: str, text: str, begins: str) -> None:
    control = FRAMEWORKS[adapter].control
    assert control is not None
    holds, fails = (control(path, text, "bcdfg", wanted) for wanted in (True, False))
    assert holds.startswith(begins)
    assert holds != fails


@pytest.mark.parametrize(
    ("adapter", "command"),
    [
        ("unittest", ("python", "manage.py", "test")),
        ("pytest", ("make", "test")),
        ("node", ("jest",)),
        ("jest", ("make", "test")),
        ("vitest", ("npm", "test")),
        ("go", ("go", "vet")),
        ("cargo", ("cargo", "build")),
        ("plain", ()),
        ("plain", ("",)),
        ("plain", ("sh", "a\0b")),
    ],
)
def test_a_command_of_another_kind_is_refused_with_the_remedy(adapter: Adapter, command: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match="--check"):
        plan(adapter, command)
