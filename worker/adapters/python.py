"""What pytest and unittest share: the interpreter's command line, file names, and the text of a control."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from worker.adapters.base import Selection
from worker.sandbox.spec import OUT

_PYTHON = re.compile(r"python(3(\.\d+)?)?")


def is_python(program: str) -> bool:
    """Return whether a command's first word asks for the environment's Python."""
    return bool(_PYTHON.fullmatch(program))


def isolated(interpreter: tuple[str, ...]) -> tuple[str, ...]:
    """Return an interpreter's command that reads no module of the tree before our reporter has what it needs.

    `-I` leaves the working folder and PYTHONPATH to the reporter, so that neither a `sitecustomize` nor a file that is
    named like the framework runs first.
    """
    program, *rest = interpreter
    return (program, "-I", *rest) if PurePosixPath(program).name.startswith("python") else interpreter


def own_words(selection: Selection) -> list[str]:
    """Return what our reporters are told before the framework's own arguments: where to write, and what to run."""
    words = [f"{OUT}/report.jsonl", *(f"--only={path}" for path in selection.only)]
    words += [f"--seed={selection.seed}"] if selection.seed is not None else []
    return [*words, *(f"--test={test}" for test in selection.tests)]


def alias(path: str, word: str) -> str:
    """Return a path beside `path` whose name is as much a test's: `test_x.py` becomes `test_WORD.py`."""
    place = PurePosixPath(path)
    name = (
        f"{word}_test.py"
        if place.name.endswith("_test.py") and not place.name.startswith("test")
        else f"test_{word}.py"
    )
    return str(place.with_name(name))
