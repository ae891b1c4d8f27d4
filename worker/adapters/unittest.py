"""unittest's own discovery, run by a reporter of ours inside the sandbox."""

from __future__ import annotations

from worker.adapters.base import Framework, Plan, Selection, misfit, replaced
from worker.adapters.python import alias, isolated, own_words
from worker.adapters.reports import ended
from worker.sandbox.spec import REPORTERS
from worker.twins import python as twins


def plan(command: tuple[str, ...], selection: Selection) -> Plan:
    """Return the same discovery under our reporter."""
    at = next((i for i in range(1, len(command) - 1) if command[i : i + 2] == ("-m", "unittest")), -1)
    if at < 0:
        raise misfit(command, "unittest", "python -m unittest discover -s tests")
    own = own_words(selection)
    arguments = replaced(command[at + 2 :], _named(selection))
    script = f"{REPORTERS}/unittest_report.py"
    return Plan(argv=(*isolated(command[:at]), script, *own, "--", *arguments), report="report.jsonl")


def _named(selection: Selection) -> dict[str, tuple[str, ...]]:
    """Return the stand-ins also by the modules' dotted names, as unittest's arguments may have them."""
    dotted = {_module(path): tuple(map(_module, names)) for path, names in selection.stand_ins.items()}
    return {**dotted, **selection.stand_ins}


def _module(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


def control(path: str, text: str, word: str, holds: bool) -> str:
    """Return a file with one method that passes, or fails by an assertion."""
    del path, text
    expected = len(word) if holds else len(word) + 1
    return (
        "import unittest\n\n\n"
        f"class {word.capitalize()}(unittest.TestCase):\n"
        f"    def test_{word}(self):\n        self.assertEqual({len(word)}, {expected})\n"
    )


UNITTEST = Framework(
    name="unittest",
    plan=plan,
    read=ended,
    control=control,
    alias=alias,
    twin=twins.twin_of_methods,
    tests=twins.methods,
    alone=True,
)
