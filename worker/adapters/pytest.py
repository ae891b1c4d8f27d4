"""pytest, run by a reporter of ours inside the sandbox, so that only what pytest itself loads comes before the tree."""

from __future__ import annotations

from pathlib import PurePosixPath

from worker.adapters.base import Framework, Plan, Selection, misfit, replaced
from worker.adapters.python import alias, isolated, own_words
from worker.adapters.reports import ended
from worker.sandbox.spec import OUT, REPORTERS
from worker.twins import python as twins

# no failure, and no file that does not load, may hide what the others do
_FLAGS = (
    "-o",
    f"cache_dir={OUT}/cache",  # an empty one: a suite's own `--lf` or `--ff` has nothing to go by
    "--color=no",
    "--continue-on-collection-errors",
    "--maxfail=0",  # one failure hides no other
)
_SCRIPT = f"{REPORTERS}/pytest_report.py"


def plan(command: tuple[str, ...], selection: Selection) -> Plan:
    """Return pytest under our reporter, whatever script or module ran it."""
    at = next((i for i, part in enumerate(command) if PurePosixPath(part).name in ("pytest", "py.test")), -1)
    if at < 0:
        raise misfit(command, "pytest", "pytest tests")
    before = command[:at]
    runner = before[:-1] if before[-1:] == ("-m",) else ("python",)  # also for `uv run pytest` and its kind
    arguments = replaced(command[at + 1 :], selection.stand_ins)
    own = own_words(selection)
    return Plan(argv=(*isolated(runner), _SCRIPT, *own, "--", *arguments, *_FLAGS), report="report.jsonl")


def control(path: str, text: str, word: str, holds: bool) -> str:
    """Return a file with one function that passes, or fails by an assertion."""
    del path, text
    return f"def test_{word}():\n    got = {len(word)}\n    assert got == {len(word) if holds else len(word) + 1}\n"


PYTEST = Framework(
    name="pytest",
    plan=plan,
    read=ended,
    control=control,
    alias=alias,
    twin=twins.twin_of_functions,
    tests=twins.functions,
    alone=True,
)
