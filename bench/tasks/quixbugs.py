"""Read QuixBugs' layout: python_programs/NAME.py has one defect, correct_python_programs/NAME.py has none.

QuixBugs' tests choose between the two by an option of its conftest.py, which is "the one with the defect" where nothing is
said; so the base is that program with what its tests import, and they run as they are. Some defects never return: the
base asks for pytest-timeout, as QuixBugs' own README does. The Java half is not read.
"""

from __future__ import annotations

import ast
from pathlib import Path

from bench.tasks.exercise import Exercise, NotRun
from tandem.errors import BadInput

TEST_S = 8  # of one test; the slowest correct one (levenshtein) takes 2 s on the machine this was measured on
_WRONG, _RIGHT, _TESTS, _DATA = "python_programs", "correct_python_programs", "python_testcases", "json_testcases"
_SHARED = ("conftest.py", f"{_WRONG}/node.py", f"{_TESTS}/node.py", f"{_TESTS}/load_testdata.py")
_SETTINGS = {
    "pytest.ini": f"[pytest]\ntimeout = {TEST_S}\n",
    "requirements.txt": "pytest\npytest-timeout\n",
}


def is_one(folder: Path) -> bool:
    """Return whether a folder is laid out like this."""
    return all((folder / name).is_dir() for name in (_WRONG, _RIGHT, _TESTS))


def read(folder: Path) -> list[Exercise | NotRun]:
    """Return the programs of a folder; those without a test are listed as not run.

    Raises:
        BadInput: A file cannot be read.
    """
    programs = sorted(path.stem for path in (folder / _RIGHT).glob("*.py") if _is_program(path.stem))
    found = [_program(folder, name) for name in programs]
    if (folder / "java_programs").is_dir():
        found.append(NotRun(name="java/*", language="java", reason="only the Python half of QuixBugs is read"))
    return found


def _is_program(stem: str) -> bool:
    return stem not in ("node", "__init__") and not stem.endswith("_test")


def _program(folder: Path, name: str) -> Exercise | NotRun:
    program, test = f"{_WRONG}/{name}.py", f"{_TESTS}/test_{name}.py"
    if not all((folder / path).is_file() for path in (program, test)):
        return NotRun(name=f"python/{name}", language="python", reason=f"there is no {program} or no {test}")
    shared = [path for path in (*_SHARED, f"{_DATA}/{name}.json") if (folder / path).is_file()]
    wrong = _text(folder / program)
    return Exercise(
        name=f"python/{name}",
        language="python",
        task=_task(program, wrong),
        base={**{path: _text(folder / path) for path in shared}, program: wrong, **_SETTINGS},
        tests={test: _text(folder / test)},
        solution={program: _text(folder / f"{_RIGHT}/{name}.py")},
        command=("python", "-m", "pytest"),
        adapter="pytest",
        notes=(f"one test may take {TEST_S} s (pytest-timeout)",),
    )


def _task(program: str, text: str) -> str:
    return (
        f"{program} has a defect in one line. Find and correct it. This is what the program is for:\n\n{_purpose(text)}"
    )


def _purpose(text: str) -> str:
    """Return the description that stands as a bare string behind the program."""
    try:
        strings = [node.value for node in ast.parse(text).body if isinstance(node, ast.Expr)]
    except SyntaxError:
        return text.strip()
    said = [one.value for one in strings if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return "\n\n".join(part.strip() for part in said) or text.strip()


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {path}: {error}") from error
