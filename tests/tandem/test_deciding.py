"""Which changes touch what passes, and which may be made."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tandem.deciding import decides_what_passes, has_a_say, is_watched


@pytest.mark.parametrize(
    ("path", "adapter"),
    [
        ("conftest.py", "pytest"),
        ("src/deep/CONFTEST.PY", "pytest"),
        ("pytest.ini", "pytest"),
        ("tests/test_a.py", "pytest"),
        ("sitecustomize.py", "unittest"),
        ("lib/usercustomize.py", "unittest"),
        ("x.pth", "pytest"),
        ("src/app.egg-info/entry_points.txt", "pytest"),
        ("app-1.0.dist-info/entry_points.txt", "pytest"),
        ("pytest.py", "pytest"),
        ("_pytest/python.py", "pytest"),
        ("unittest/__init__.py", "unittest"),
        ("src/__pycache__/app.cpython-311.pyc", "pytest"),
        ("jest.config.mjs", "jest"),
        ("vitest.workspace.ts", "vitest"),
        (".mocharc.json", "node"),
        (".babelrc", "jest"),
        ("node_modules/jest/index.js", "jest"),
        (".npmrc", "node"),
        (".cargo/config.toml", "cargo"),
        ("tests/calc.py", "pytest"),
        ("tests/__init__.py", "unittest"),
        ("app/__mocks__/two.js", "jest"),
        ("src/setupTests.js", "jest"),
        ("vendor/x/lib.go", "go"),
    ],
)
def test_what_a_runner_reads_before_the_tests_decides_as_a_whole(path: str, adapter: Any) -> None:
    assert decides_what_passes(path, adapter)
    assert has_a_say(path, None, "x", adapter) == "decides what passes"
    assert has_a_say(path, "x", None, adapter) == "decides what passes"
    assert has_a_say(path, "x", "x", adapter) == ""
    assert is_watched(path, adapter)


@pytest.mark.parametrize(
    ("path", "adapter"),
    [
        ("src/app.py", "pytest"),
        ("src/unittests.py", "pytest"),
        ("docs/pytest.md", "pytest"),
        ("src/config.js", "node"),
        ("vendor/x.py", "pytest"),
        ("src/testing/mod.rs", "plain"),
    ],
)
def test_code_does_not(path: str, adapter: Any) -> None:
    if path != "src/testing/mod.rs":
        assert not decides_what_passes(path, adapter)
        assert has_a_say(path, "a", "b", adapter) == ""


def test_what_the_command_itself_names_decides() -> None:
    assert has_a_say("test.sh", "a", "b", "plain", ("sh", "./test.sh")) == "decides what passes"
    assert has_a_say("Makefile", "a", "b", "plain", ("make", "test")) == "decides what passes"
    assert has_a_say("Makefile", "a", "b", "pytest", ("python", "-m", "pytest")) == ""


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("support/plugin.py", "pytest -p support.plugin"),
        ("support/plugin/__init__.py", "pytest -psupport.plugin"),
        ("services/a/support/plugin.py", "pytest -p support.plugin"),
        ("ci.ini", "pytest --config-file=ci.ini"),
        ("ci.ini", "pytest -c ci.ini"),
        ("ci.ini", "pytest -cci.ini"),
        ("load.js", "node --import=./load.js --test"),
        ("load.js", "node --require ./load.js --test"),
        ("packages/a/ci.js", "npx jest --config=ci.js"),
        ("setup.ts", "npx jest --setupFilesAfterEnv=./setup.ts"),
    ],
)
def test_what_an_option_has_loaded_decides_too(path: str, words: str) -> None:
    assert decides_what_passes(path, "plain", tuple(words.split()))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("src/legacy.py", "pytest --ignore=src/legacy.py"),
        ("src/calc.js", "npx jest --collectCoverageFrom=src/calc.js"),
        ("calc/__init__.py", "pytest --cov=calc"),
        ("calc.py", "pytest -k calc"),
        ("tests.js", "pytest tests"),
    ],
)
def test_what_an_option_only_measures_or_leaves_out_does_not(path: str, words: str) -> None:
    assert not decides_what_passes(path, "plain", tuple(words.split()))


PYPROJECT = '[project]\nname = "a"\ndependencies = []\n[tool.pytest.ini_options]\naddopts = "-q"\n'
PACKAGE = {"name": "a", "scripts": {"test": "npm run unit", "unit": "node --test", "build": "tsc"}, "dependencies": {}}


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("pyproject.toml", PYPROJECT, PYPROJECT.replace("[]", '["x"]')),
        ("pyproject.toml", None, '[project]\nname = "a"\n'),
        ("setup.cfg", "", "[options.entry_points]\nconsole_scripts = a = a:main\n"),
        ("pyproject.toml", "", '[project.entry-points.plugins]\nx = "y"\n'),
        ("Cargo.toml", "", "[profile.release]\nlto = true\n"),
        ("setup.cfg", "[metadata]\nname = a\n", "[metadata]\nname = b\n"),
        ("tox.ini", "[testenv]\ndeps = a\n", "[testenv]\ndeps = b\n"),
        ("package.json", json.dumps(PACKAGE), json.dumps(PACKAGE | {"dependencies": {"x": "1"}})),
        ("package.json", json.dumps(PACKAGE), json.dumps(PACKAGE | {"scripts": {**PACKAGE["scripts"], "build": "b"}})),
        ("Cargo.toml", '[package]\nname = "a"\n', '[package]\nname = "a"\n[dependencies]\nx = "1"\n'),
        ("go.mod", "module a\n\ngo 1.19\n", "module a\n\ngo 1.19\n\nrequire x v1.0.0\n"),
    ],
)
def test_a_project_s_own_file_may_change_beside_its_tests(path: str, before: str | None, after: str) -> None:
    assert is_watched(path, "pytest")
    assert has_a_say(path, before, after, "pytest") == ""


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("pyproject.toml", PYPROJECT, PYPROJECT.replace("-q", "-k none")),
        ("pyproject.toml", None, '[tool.pytest.ini_options]\naddopts = "-k none"\n'),
        ("pyproject.toml", PYPROJECT, "[tool.pytest"),
        ("pyproject.toml", PYPROJECT, None),
        ("pyproject.toml", "", '[project.entry-points.pytest11]\nx = "y"\n'),
        ("setup.cfg", "", "[tool:pytest]\naddopts = -k none\n"),
        ("setup.cfg", "", "[options.entry_points]\npytest11 = a = a\n"),
        ("tox.ini", "", "[pytest]\naddopts = -k none\n"),
        ("package.json", json.dumps(PACKAGE), json.dumps(PACKAGE | {"scripts": {"test": "true"}})),
        (
            "package.json",
            json.dumps(PACKAGE),
            json.dumps(PACKAGE | {"scripts": {**PACKAGE["scripts"], "unit": "true"}}),
        ),
        (
            "package.json",
            json.dumps(PACKAGE),
            json.dumps(PACKAGE | {"scripts": {**PACKAGE["scripts"], "pretest": "x"}}),
        ),
        ("package.json", json.dumps(PACKAGE), json.dumps(PACKAGE | {"jest": {"testPathIgnorePatterns": ["x"]}})),
        ("package.json", json.dumps(PACKAGE), "{"),
        ("Cargo.toml", '[package]\nname = "a"\n', '[package]\nname = "a"\n[lib]\nharness = false\n'),
        ("Cargo.toml", "", '[[test]]\nname = "x"\nharness = false\n'),
        ("go.mod", "module a\n", "module a\nreplace x => ./y\n"),
    ],
)
def test_its_part_about_tests_may_not(path: str, before: str | None, after: str | None) -> None:
    assert "decide" in has_a_say(path, before, after, "pytest")
