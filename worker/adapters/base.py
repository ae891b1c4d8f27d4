"""What is special to one way of testing, as values and pure functions: a framework is one file in this folder.

A *control* is a test that the judge plants under a random name, one that must pass and one that must fail. A *twin* is
a copy of the tester's file with one expected value of each test changed, so that each must fail. A *copy* is the same
file under another name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from random import Random

from tandem.errors import BadInput
from tandem.types import Adapter, TestResult
from worker.twins.twin import Twin


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which files a run is about, paths from the folder it runs in; empty for whatever the command finds.

    `stand_ins` says which files go in the place of one that the command names. `only` runs nothing but these, in this
    order; `seed` shuffles the tests within each. `tests`, where the framework can, are
    the tests that run, by their ids and in this order within a file; nothing is shuffled then.
    """

    stand_ins: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    only: tuple[str, ...] = ()
    seed: int | None = None
    tests: tuple[str, ...] = ()


ALL = Selection()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is run, with which settings beside the environment's, and the report's file name, "" for none."""

    argv: tuple[str, ...]
    report: str = ""
    env: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """One way of testing.

    `control(path, text, word, holds)` returns the text of a test file with one test named after `word`, to be planted
    beside the tester's file at `path` whose text is `text`. `alias(path, word)` returns a path that the runner finds as
    it finds `path`. `twin(text, random)` returns the changed copy, or None where the language is not read. `tests(text)`
    returns the names of the tests that surely stand in a file, as a report's id ends. `crowded` says that two copies of
    one file cannot stand beside each other, `alone` that all files run in one process, and tests can be chosen by their
    ids.
    """

    name: Adapter
    plan: Callable[[tuple[str, ...], Selection], Plan]
    read: Callable[[bytes], tuple[TestResult, ...]]
    control: Callable[[str, str, str, bool], str] | None = None
    alias: Callable[[str, str], str] | None = None
    twin: Callable[[str, Random], Twin | None] | None = None
    tests: Callable[[str], tuple[str, ...]] | None = None
    crowded: bool = False
    alone: bool = False


def misfit(command: tuple[str, ...], kind: str, example: str) -> BadInput:
    """Return the error for a command that does not run this framework."""
    return BadInput(f"{' '.join(command)!r} does not run {kind}; name a command like {example!r} with --check")


def replaced(arguments: tuple[str, ...], stand_ins: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return arguments with each named file's stand-ins in its place; `file::test` becomes the whole stand-ins."""
    found: dict[str, None] = {}
    for argument in arguments:
        path = str(PurePosixPath(argument.partition("::")[0])) if argument else argument
        found |= dict.fromkeys(stand_ins.get(path, (argument,)))
    return tuple(found) if stand_ins else arguments
