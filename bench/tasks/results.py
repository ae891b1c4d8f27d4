"""What became of each exercise, kept as it ends: a line of JSON each, on disk before the next begins.

A folder holds the results of one coder on one pack; a line that was being written when the program was killed is dropped
when they are read again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tandem.errors import BadInput

FILE = "results.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How one run ended. `verified` is None where its proof was not asked for again, `solved` where nobody judged it by
    the exercise's own tests; tokens are those the models counted.
    """

    state: str
    verdict: str = ""
    rounds: int = 0
    reason: str = ""
    seconds: float = 0.0
    commit: str = ""
    run: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    asked: tuple[str, ...] = ()  # questions that a person had to answer
    verified: bool | None = None
    solved: bool | None = None

    @property
    def merged(self) -> bool:
        """Return whether the branch has it."""
        return self.state == "merged"

    @property
    def accepted(self) -> bool:
        """Return whether it is merged, and by a check that passed."""
        return self.merged and self.verdict == "passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One exercise, or one trick on it (`trick`, `group` and `twin` are a cheater's)."""

    name: str
    language: str
    ran: Ran
    trick: str = ""
    group: str = ""
    catchable: bool = True
    twin: Ran | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def key(self) -> tuple[str, str]:
        """Return what tells it from the others of its pack."""
        return self.name, self.trick


def told(result: Result) -> dict[str, Any]:
    """Return a result as plain JSON for programs: the run's own fields beside the exercise's."""
    line = asdict(result)
    ran: dict[str, Any] = line.pop("ran")
    return {**line, **ran}


_READ = TypeAdapter(Result)


class Store:
    """The results of a folder, or of none: then they live as long as the program."""

    def __init__(self, folder: Path | None, about: Mapping[str, Any], *, resume: bool) -> None:
        """Open a folder for the results of what `about` names; with `resume`, those it holds are there already.

        Raises:
            BadInput: It holds results and they are not to be resumed, or they are of something else.
        """
        self.results: list[Result] = []
        self._file = folder / FILE if folder else None
        if self._file is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        if self._file.exists():
            self._take_up(self._file, about, resume=resume)
        else:
            _append(self._file, {"about": dict(about)})

    def _take_up(self, file: Path, about: Mapping[str, Any], *, resume: bool) -> None:
        if not resume:
            raise BadInput(
                f"{file} holds results already; --resume goes on with them, or name another folder with --out"
            )
        lines = _lines(file)
        known = lines[0].get("about") if lines else None
        if known != dict(about):
            raise BadInput(f"{file} holds results of {known}, not of {dict(about)}; name another folder with --out")
        try:
            self.results = [_READ.validate_python(line) for line in lines[1:]]
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"]))
            raise BadInput(f"{file} holds a line that is no result ({where}); name another folder with --out") from None
        whole = "".join(_line(line) for line in lines)
        if file.read_text("utf-8") != whole:
            file.write_text(whole, "utf-8")  # without the line that was cut

    @property
    def done(self) -> set[tuple[str, str]]:
        """Return the keys of what has a result."""
        return {result.key for result in self.results}

    def add(self, result: Result) -> None:
        """Keep a result; when this returns, it is on disk."""
        self.results.append(result)
        if self._file is not None:
            _append(self._file, asdict(result))


def read(folder: Path, *, coder: str) -> list[Result]:
    """Return the results of a coder that a folder holds.

    Raises:
        BadInput: It holds none, or another coder's.
    """
    file = folder / FILE
    lines = _lines(file) if file.is_file() else []
    if not lines or lines[0].get("about", {}).get("coder") != coder:
        raise BadInput(
            f"{file} holds no results of {coder}; `tandem bench tasks --coder {coder} --out {folder}` makes them"
        )
    return [_READ.validate_python(line) for line in lines[1:]]


def _append(file: Path, value: Mapping[str, Any]) -> None:
    with file.open("a", encoding="utf-8") as opened:
        opened.write(_line(value))
        opened.flush()
        os.fsync(opened.fileno())


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _lines(file: Path) -> list[dict[str, Any]]:
    """Return the lines of a file that are whole."""
    found: list[dict[str, Any]] = []
    for line in file.read_text("utf-8", "replace").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found
