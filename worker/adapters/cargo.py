"""`cargo test`, under a script of ours that asks each test program what it holds and reads its log.

The files right below `tests/` are programs of their own; a copy of one beside it is found and stands for itself. Tests in
`src/` are the coder's files: they run, and have neither copies nor twins.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from worker.adapters import compiled
from worker.adapters.base import Framework, Plan, Selection
from worker.adapters.reports import ended
from worker.twins import rust as twins


def plan(command: tuple[str, ...], selection: Selection) -> Plan:
    """Return `cargo test` under our script."""
    return compiled.plan(command, selection, "cargo", ("test", "t"), "cargo_report.py")


def alias(path: str, word: str) -> str:
    """Return a path beside `path`; a module that tests share keeps its own, or they would not find it."""
    place = PurePosixPath(path)
    return str(place.with_name(f"{word}.rs")) if place.parent.name == "tests" or place.name == "main.rs" else path


def control(path: str, text: str, word: str, holds: bool) -> str:
    """Return a file with one function that passes, or fails by an assertion."""
    del path, text
    expected = len(word) if holds else len(word) + 1
    return f'#[test]\nfn {word}() {{\n    let got = "{word}".len();\n    assert_eq!(got, {expected});\n}}\n'


CARGO = Framework(
    name="cargo",
    plan=plan,
    read=ended,
    control=control,
    alias=alias,
    twin=twins.twin,
    tests=twins.tests,
)
