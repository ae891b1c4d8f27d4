"""Read exercises in Exercism's layout: LANG/exercises/practice/NAME, described by `.meta/config.json`.

What is in the folder beside tests, reference and dot-files is the repository a team starts from; the instructions are the
task. Reads files, runs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from bench.tasks import languages
from bench.tasks.exercise import Exercise, NotRun
from cli.render.loose import items, mapping
from tandem.errors import BadInput
from tandem.kinds import is_test_file

_CONFIG = Path(".meta", "config.json")
_PROSE = ("introduction.md", "instructions.md", "instructions.append.md")


def found(folder: Path) -> list[Path]:
    """Return the exercises in a folder: itself, those of its language, or those of all its languages."""
    if (folder / _CONFIG).is_file():
        return [folder]
    for pattern in ("*", "practice/*", "exercises/practice/*", "*/exercises/practice/*"):
        there = sorted(path.parent.parent for path in folder.glob(f"{pattern}/{_CONFIG}"))
        if there:
            return there
    return []


def read(folder: Path) -> Exercise | NotRun:
    """Return the exercise in a folder, or why it is not run.

    Raises:
        BadInput: Its configuration or a file that it names cannot be read.
    """
    named = _named(folder)
    language = languages.language_of(named["solution"][0])
    name = f"{language}/{folder.name}"
    files, binary = _texts(folder)
    tests = {path: files[path] for path in (*named["test"], *named["editor"]) if path in files}
    runner = languages.runner(language, files, list(tests))
    reason = languages.missing(language, runner)
    if runner is None or reason:
        return NotRun(name=name, language=language, reason=reason)
    adapter = languages.adapter(runner)
    helpers = {path for path in tests if not is_test_file(path, adapter)}
    solution = _solution(folder, named["solution"], named["example"])
    if not (tests.keys() - helpers) or not solution:
        return NotRun(name=name, language=language, reason="it has no tests, or no reference solution, to be judged by")
    notes = [f"{path} is named like no test, and lies in the base" for path in sorted(helpers)]
    notes += [f"{path} is no text, and is left out" for path in binary]
    return Exercise(
        name=name,
        language=language,
        task=_task(folder, named["solution"]),
        base={path: text for path, text in files.items() if path not in tests or path in helpers},
        tests={path: text for path, text in tests.items() if path not in helpers},
        solution=solution,
        command=runner.command,
        adapter=adapter,
        notes=tuple(notes),
    )


def _named(folder: Path) -> dict[str, list[str]]:
    file = folder / _CONFIG
    try:
        config: Any = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read the exercise's configuration {file}: {error}") from error
    files = mapping(mapping(config).get("files"))
    named = {key: [str(path) for path in items(files.get(key))] for key in ("solution", "test", "example", "editor")}
    if not named["solution"]:
        raise BadInput(f"{file} names no files.solution; it is not the configuration of an exercise")
    return named


def _texts(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Return the texts in a folder without what begins with a dot, and the names of what is no text."""
    texts: dict[str, str] = {}
    binary: list[str] = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(part.startswith(".") or part == "__pycache__" for part in inside.parts) or not path.is_file():
            continue
        try:
            texts[inside.as_posix()] = path.read_text("utf-8")
        except UnicodeDecodeError:
            binary.append(inside.as_posix())
    return texts, binary


def _solution(folder: Path, solution: Sequence[str], example: Sequence[str]) -> Mapping[str, str]:
    """Return the reference's text for each file it has one for: the first of that suffix not used yet."""
    left = [path for path in example if (folder / path).is_file()]
    texts: dict[str, str] = {}
    for path in solution:
        twin = next((one for one in left if PurePosixPath(one).suffix == PurePosixPath(path).suffix), None)
        if twin is not None:
            left.remove(twin)
            texts[path] = (folder / twin).read_text("utf-8")
    return texts


def _task(folder: Path, solution: Sequence[str]) -> str:
    docs = [folder / ".docs" / name for name in _PROSE]
    prose = [file.read_text("utf-8").strip() for file in docs if file.is_file()]
    if not prose:
        raise BadInput(f"{folder} has no .docs/instructions.md; there is nothing to hand in as a task")
    return "\n\n".join([f"Complete {', '.join(solution)} so that it does what is described here.", *prose])
