"""Look-alikes of the layouts that packs of exercises have, small and written for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

TESTS = """import unittest

from double import double


class DoubleTest(unittest.TestCase):
    def test_doubles(self):
        self.assertEqual(double(2), 4)
        self.assertEqual(double(-3), -6)

    def test_refuses_text(self):
        with self.assertRaises(TypeError):
            double("ab")
"""
DOUBLE = """def double(number):
    if isinstance(number, str):
        raise TypeError("text")
    return number * 2
"""
STUB = "def double(number):\n    pass\n"
TABLE = """def double(number):
    if number == "ab":
        raise TypeError(number)
    return {2: 4, -3: -6}.get(number)
"""
WEB_TESTS = """import assert from "node:assert/strict";
import { test } from "node:test";

import { twice } from "./twice.js";

test("says it twice", () => assert.equal(twice("ab"), "abab"));
"""


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files below a folder, and return it."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def exercise(
    folder: Path,
    name: str,
    files: Mapping[str, str | bytes],
    *,
    solution: list[str],
    test: list[str],
    example: list[str],
    **more: list[str],
) -> Path:
    """Write an exercise in Exercism's layout below LANG's folder."""
    named = {"solution": solution, "test": test, "example": example, **more}
    config = {".meta/config.json": json.dumps({"files": named})}
    docs = {".docs/instructions.md": f"# Instructions\n\nDo {name}.\n"}
    return write(folder / "exercises" / "practice" / name, {**docs, **config, **files})


def double(folder: Path, name: str = "double") -> Path:
    """Write a Python exercise for unittest."""
    files = {"double.py": STUB, "test_double.py": TESTS, ".meta/example.py": DOUBLE}
    named = {"solution": ["double.py"], "test": ["test_double.py"], "example": [".meta/example.py"]}
    return exercise(folder / "python", name, files, **named)


def twice(folder: Path) -> Path:
    """Write a JavaScript exercise for node:test."""
    files = {
        "package.json": '{"type": "module"}\n',
        "twice.js": "export function twice(text) {}\n",
        "twice.test.js": WEB_TESTS,
        ".meta/proof.ci.js": "export function twice(text) {\n  return text.repeat(2);\n}\n",
    }
    named = {"solution": ["twice.js"], "test": ["twice.test.js"], "example": [".meta/proof.ci.js"]}
    return exercise(folder / "javascript", "twice", files, **named)


def pack(folder: Path) -> Path:
    """Write a pack of both, and of one in a language that nothing here runs."""
    double(folder)
    twice(folder)
    named = {"solution": ["a.cob"], "test": ["a_test.cob"], "example": [".meta/a.cob"]}
    exercise(folder / "cobol", "add", {"a.cob": "", "a_test.cob": "", ".meta/a.cob": ""}, **named)
    return folder


def bugs(folder: Path) -> Path:
    """Write a folder in QuixBugs' layout: one program with data, one with a helper, one without a test."""
    conftest = """import pytest


def pytest_addoption(parser):
    parser.addoption("--correct", action="store_true")


def pytest_configure(config):
    pytest.use_correct = config.getoption("--correct")
"""
    test = """import pytest

if pytest.use_correct:
    from correct_python_programs.half import half
else:
    from python_programs.half import half
from load_testdata import load


@pytest.mark.parametrize("given,wanted", load("half"))
def test_half(given, wanted):
    assert half(*given) == wanted
"""
    load = """import json
from pathlib import Path


def load(name):
    file = Path(__file__).parent / ".." / "json_testcases" / f"{name}.json"
    return [json.loads(line) for line in file.read_text().splitlines()]
"""
    right = "def half(n):\n    while n < 0:\n        return -half(-n)\n    return n // 2\n"
    wrong = 'def half(n):\n    while n < 0:\n        pass\n    return n // 2\n\n\n"""\nHalf of n, towards zero.\n"""\n'
    return write(
        folder,
        {
            "conftest.py": conftest,
            "python_testcases/load_testdata.py": load,
            "python_testcases/test_half.py": test,
            "python_testcases/test_walk.py": "from node import Node\n",
            "python_testcases/node.py": "class Node: ...\n",
            "python_programs/node.py": "class Node: ...\n",
            "python_programs/half.py": wrong,
            "python_programs/walk.py": "def walk(): ...\n",
            "python_programs/walk_test.py": "",
            "python_programs/lost.py": "",
            "correct_python_programs/half.py": right,
            "correct_python_programs/walk.py": "def walk(): return 1\n",
            "correct_python_programs/walk_test.py": "",
            "correct_python_programs/lost.py": "",
            "correct_python_programs/node.py": "class Node: ...\n",
            "json_testcases/half.json": "[[4], 2]\n[[-4], -2]\n",
            "java_programs/HALF.java": "",
        },
    )
