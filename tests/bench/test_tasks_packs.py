"""Packs: how exercises are read from their folders, and that the one that ships is whole."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from bench.tasks import exercism, languages, packs, quixbugs
from bench.tasks.exercise import Exercise, NotRun
from tandem.detect import adapter_for
from tandem.errors import BadInput
from tandem.kinds import is_test_file
from tandem.types import Adapter
from tests.support.packs import DOUBLE, STUB, TESTS, bugs, double, exercise, pack, twice, write

# --- Exercism's layout ----------------------------------------------------------------------------------------


def test_an_exercise_is_read_from_its_folder(tmp_path: Path) -> None:
    folder = double(tmp_path)
    write(
        folder,
        {".docs/introduction.md": "First.", ".docs/instructions.append.md": "Last.", ".npmrc": "x", "data.txt": "d"},
    )
    found = exercism.read(folder)
    assert isinstance(found, Exercise)
    assert (found.name, found.language) == ("python/double", "python")
    assert (found.base, found.tests) == ({"double.py": STUB, "data.txt": "d"}, {"test_double.py": TESTS})
    assert found.solution == {"double.py": DOUBLE}
    assert [found.task.index(word) for word in ("double.py", "First.", "Do double.", "Last.")] == sorted(
        found.task.index(word) for word in ("double.py", "First.", "Do double.", "Last.")
    )
    assert (found.command, found.adapter) == (("python", "-m", "unittest", "discover"), "unittest")


def test_a_pack_is_its_top_a_language_or_one_exercise(tmp_path: Path) -> None:
    pack(tmp_path)
    there = ["python/double", "javascript/twice", "cob/add"]
    for place, names in (
        (tmp_path, there),
        (tmp_path / "python", there[:1]),
        (tmp_path / "python" / "exercises", there[:1]),
        (tmp_path / "python" / "exercises" / "practice", there[:1]),
        (tmp_path / "python" / "exercises" / "practice" / "double", there[:1]),
    ):
        loaded = packs.load(str(place))
        assert sorted(one.name for one in (*loaded.exercises, *loaded.not_run)) == sorted(names), place


def test_what_cannot_be_run_is_listed_with_the_reason(tmp_path: Path) -> None:
    loaded = packs.load(str(pack(tmp_path)))
    assert [one.name for one in loaded.exercises] == ["javascript/twice", "python/double"]
    assert loaded.not_run == (
        NotRun(name="cob/add", language="cob", reason="how cob tests like these are run is not known"),
    )


def test_an_exercise_without_tests_or_reference_is_listed(tmp_path: Path) -> None:
    named = {"solution": ["a.py"], "test": ["a_test.py"], "example": [".meta/example.py"]}
    for files in ({"a.py": "", "a_test.py": ""}, {"a.py": "", ".meta/example.py": ""}):
        found = exercism.read(exercise(tmp_path / f"{len(files)}{'a_test.py' in files}", "a", files, **named))
        assert isinstance(found, NotRun)
        assert "no tests, or no reference solution" in found.reason


def test_what_is_no_text_or_no_test_by_its_name_is_noted(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "a.py": "",
        "a_test.py": "import helpers",
        "helpers.py": "",
        "picture.bin": b"\xff\xfe\x00",
        ".meta/example.py": "",
    }
    named = {"solution": ["a.py"], "test": ["a_test.py", "helpers.py"], "example": [".meta/example.py"]}
    found = exercism.read(exercise(tmp_path, "a", files, **named))
    assert isinstance(found, Exercise)
    assert (set(found.base), set(found.tests)) == ({"a.py", "helpers.py"}, {"a_test.py"})
    assert found.notes == (
        "helpers.py is named like no test, and lies in the base",
        "picture.bin is no text, and is left out",
    )


def test_references_are_told_apart_by_their_suffix(tmp_path: Path) -> None:
    files = {"a.py": "", "b.json": "{}", "a_test.py": "", ".meta/x.json": "[]", ".meta/x.py": "1"}
    named = {"solution": ["a.py", "b.json"], "test": ["a_test.py"], "example": [".meta/x.json", ".meta/x.py"]}
    found = exercism.read(exercise(tmp_path, "a", files, **named))
    assert isinstance(found, Exercise)
    assert found.solution == {"a.py": "1", "b.json": "[]"}


def test_a_broken_exercise_names_its_file(tmp_path: Path) -> None:
    for config, why in (("{", "cannot read"), ("{}", "names no files.solution"), ('{"files": []}', "names no files")):
        folder = write(tmp_path / "python" / "exercises" / "practice" / "a", {".meta/config.json": config})
        with pytest.raises(BadInput, match=f"{why}.*|.*{why}") as error:
            exercism.read(folder)
        assert str(folder / ".meta" / "config.json") in error.value.message
    folder = double(tmp_path)
    (folder / ".docs" / "instructions.md").unlink()
    with pytest.raises(BadInput, match=r"has no \.docs/instructions\.md"):
        exercism.read(folder)


# --- QuixBugs' layout -----------------------------------------------------------------------------------------


def test_a_program_with_a_defect_is_the_base_and_the_correct_one_the_solution(tmp_path: Path) -> None:
    loaded = packs.load(str(bugs(tmp_path)))
    half, walk = loaded.exercises
    assert (half.name, walk.name) == ("python/half", "python/walk")
    assert "while n < 0:\n        pass" in half.base["python_programs/half.py"]
    assert "return -half(-n)" in half.solution["python_programs/half.py"]
    assert set(half.tests) == {"python_testcases/test_half.py"}
    assert {"json_testcases/half.json", "conftest.py", "python_testcases/load_testdata.py"} <= set(half.base)
    assert "json_testcases/half.json" not in walk.base
    assert not [path for path in half.base if path.startswith("correct_")]
    assert half.task.endswith("Half of n, towards zero.")
    assert f"timeout = {quixbugs.TEST_S}" in half.base["pytest.ini"]
    assert "pytest-timeout" in half.base["requirements.txt"]


def test_programs_without_a_test_and_the_java_half_are_listed(tmp_path: Path) -> None:
    loaded = packs.load(str(bugs(tmp_path)))
    assert [one.name for one in loaded.not_run] == ["python/lost", "java/*"]


# --- packs ----------------------------------------------------------------------------------------------------


def test_a_pattern_chooses_by_the_whole_name_or_its_last_part(tmp_path: Path) -> None:
    folder = str(pack(tmp_path))
    for pattern, names in (("python/*", ["python/double"]), ("tw*", ["javascript/twice"]), ("cob/*", [])):
        assert [one.name for one in packs.load(folder, pattern).exercises] == names
    with pytest.raises(BadInput, match=r"no exercise of .* is called like 'x'"):
        packs.load(folder, "x")


def test_what_is_no_pack_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"there is no pack 'nothing'.*starter"):
        packs.load("nothing")
    with pytest.raises(BadInput, match="holds no exercises"):
        packs.load(str(tmp_path))


def test_the_pack_that_ships_is_whole() -> None:
    loaded = packs.load(packs.DEFAULT)
    assert loaded.not_run == ()
    assert [one.language for one in loaded.exercises] == ["javascript"] * 5 + ["python"] * 7
    for one in loaded.exercises:
        assert one.adapter in ("unittest", "node"), one.name  # nothing has to be installed
        assert not one.notes, one.name
        assert set(one.solution) == {path for path in one.base if path != "package.json"}, one.name
        assert len(one.task) > 600, one.name


# --- languages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "files", "adapter", "command"),
    [
        ("python", {"test_a.py": "import unittest"}, "unittest", "python -m unittest discover"),
        ("python", {"a_test.py": "import unittest"}, "pytest", "python -m pytest"),  # unittest looks for test*.py
        ("python", {"test_a.py": "import unittest, pytest"}, "pytest", "python -m pytest"),
        ("python", {"in/test_a.py": "import unittest"}, "pytest", "python -m pytest"),
        ("javascript", {"a.test.js": 'import { test } from "node:test";'}, "node", "node --test"),
        ("javascript", {"a.spec.js": "", "package.json": '{"devDependencies": {"jest": "1"}}'}, "jest", "npx jest"),
        (
            "javascript",
            {"a.spec.js": "", "package.json": '{"devDependencies": {"vitest": "1"}}'},
            "vitest",
            "npx vitest",
        ),
        ("go", {"a_test.go": ""}, "go", "go test ./..."),
        ("rust", {"tests/a.rs": ""}, "cargo", "cargo test -- --include-ignored"),
    ],
)
def test_the_command_follows_from_the_files(language: str, files: dict[str, str], adapter: str, command: str) -> None:
    tests = [path for path in files if path != "package.json"]
    found = languages.runner(language, files, tests)
    assert found is not None
    assert (found.adapter, " ".join(found.command)) == (adapter, command)
    if adapter in get_args(Adapter) and adapter not in ("go", "cargo", "jest", "vitest"):
        assert adapter_for(found.command) == adapter  # handed over as --check, it is read the same way
        assert all(is_test_file(path, languages.adapter(found)) for path in tests)


def test_what_is_missing_is_said() -> None:
    assert languages.missing("cobol", None) == "how cobol tests like these are run is not known"
    odd = languages.Runner(adapter="tap", command=("prove", "t"))
    assert languages.missing("perl", odd) == "there is no adapter 'tap' that reads the report of `prove t`"
    absent = languages.Runner(adapter="plain", command=("no-such",), program="no-such-program")
    assert languages.missing("x", absent) == "no-such-program is not installed on this machine"
    assert languages.missing("x", languages.Runner(adapter="plain", command=("sh", "test.sh"), program="sh")) == ""


def test_javascript_without_a_known_framework_is_not_run(tmp_path: Path) -> None:
    folder = twice(tmp_path)
    (folder / "twice.test.js").write_text("ok(1)\n")
    found = exercism.read(folder)
    assert isinstance(found, NotRun)
    assert found.reason == "how javascript tests like these are run is not known"
