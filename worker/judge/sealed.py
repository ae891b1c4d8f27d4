"""The sealed runs: the tester's files under other names, in another order; and twins of them, which must fail.

What passes only under the name the coder knew, only in the order the coder saw, or whatever is expected of it, shows here.
Copies and twins have a process each: what makes any test pass for a while, or for the first of them, does so for both.
Pure: what to write, what to run, and what the outcomes mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from random import Random

from tandem.types import CheckVerdict, TestResult
from worker.adapters import ALL, Framework, Selection, Twin
from worker.judge.names import NOTHING, kept, renamed, snapshots
from worker.judge.verdict import steady
from worker.twins.edits import word

_SHOWN = 3  # tests named in a reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """One run: the `files` to write, and those of the tester's that are `removed`.

    `copies` says which file each copy stands for, `seconds` which copy is there once more, `twins` which file a twin was
    made of, and what was changed.
    """

    files: Mapping[str, str]
    removed: tuple[str, ...]
    copies: Mapping[str, str]
    seconds: Mapping[str, str]
    twins: Mapping[str, tuple[str, Twin]]
    selection: Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one sealed run showed. `verdict` is empty where all is as it must be.

    `suspects` are the tests for which it is not, as the run names them: what other tests left behind may be the cause.
    """

    verdict: CheckVerdict | None = None
    reason: str = ""
    twins: int = 0
    untwinned: int = 0
    suspects: tuple[TestResult, ...] = ()


def copies(
    framework: Framework, texts: Mapping[str, str], random: Random, settled: Mapping[str, str] = NOTHING
) -> Sealed | None:
    """Return the run of copies of the tester's files, or None where the framework takes none.

    `settled` are the suite's other files: what one of them names stays where it is, and a file's snapshots go with it.
    Where all files run in one process, each copy is there a second time, after all first ones: see `worn`.
    """
    if framework.alias is None or not texts:
        return None
    run = _run(framework, texts, settled, random, times=2 if framework.alone else 1)
    stand_ins = run.selection.stand_ins.items()
    firsts = {names[0]: path for path, names in stand_ins}
    return replace(run, copies=firsts, seconds={names[1]: names[0] for _, names in stand_ins if len(names) > 1})


def twins(
    framework: Framework, texts: Mapping[str, str], random: Random, settled: Mapping[str, str] = NOTHING
) -> Sealed | None:
    """Return the run of twins under other names, or None where there is nothing to change."""
    made = _made(framework, texts, random)
    if framework.alias is None or not made:
        return None
    changed = {path: made[path].text if path in made else text for path, text in texts.items()}
    run = _run(framework, changed, settled, random)
    return replace(run, twins={run.selection.stand_ins[path][0]: (path, twin) for path, twin in made.items()})


def twins_in_place(framework: Framework, texts: Mapping[str, str], random: Random) -> Sealed | None:
    """Return the run of twins under the tester's own names, for a command that runs the files it names and no others."""
    made = _made(framework, texts, random)
    if not made:
        return None
    files = {path: twin.text for path, twin in made.items()}
    own = {path: (path, twin) for path, twin in made.items()}
    return Sealed(files=files, removed=(), copies={}, seconds={}, twins=own, selection=ALL)


def _made(framework: Framework, texts: Mapping[str, str], random: Random) -> dict[str, Twin]:
    found = {path: framework.twin(text, random) if framework.twin else None for path, text in texts.items()}
    return {path: twin for path, twin in found.items() if twin is not None}


def _run(
    framework: Framework,
    texts: Mapping[str, str],
    settled: Mapping[str, str],
    random: Random,
    times: int = 1,
) -> Sealed:
    """Return the run of `texts` under other names, `times` names each."""
    assert framework.alias is not None
    sets = [{path: framework.alias(path, word(random)) for path in texts} for _ in range(times)]
    names, files = sets[0], dict[str, str]()
    for one in sets:
        files |= {alias: renamed(texts[path], path, alias) for path, alias in one.items()} | snapshots(one, settled)
    staying = set[str]() if framework.crowded else kept(names, {**settled, **texts})
    return Sealed(
        files=files,
        removed=tuple(path for path, alias in names.items() if path not in staying and path != alias),
        copies={},
        seconds={},
        twins={},
        selection=Selection(
            stand_ins={path: tuple(one[path] for one in sets) for path in names},
            only=tuple(alias for one in sets for alias in one.values()),
            seed=random.randrange(1 << 31),
        ),
    )


def unjudged(sealed: Sealed) -> Finding:
    """Return what a run of twins shows that was ended by a limit: nothing of any of them."""
    return Finding(untwinned=sum(len(twin.changed) + len(twin.kept) for _, twin in sealed.twins.values()))


def told_of(sealed: Sealed, tests: Sequence[TestResult]) -> bool:
    """Return whether a run told of any copy or twin."""
    return any(_stands_in(test, path) for test in tests for path in (*sealed.copies, *sealed.twins))


def judged(sealed: Sealed, tests: Sequence[TestResult], main: Sequence[TestResult]) -> Finding:
    """Return what a sealed run's tests show beside those of the main run; both name files as the framework does."""
    changed = _of_copies(sealed, tests, main)
    if changed:
        lost = tuple(
            test
            for path, original in sealed.copies.items()
            for test in tests
            if _stands_in(test, path) and _back(test.id, path, original) in changed
        )
        reason = (
            f"{_named(changed)} passes under the name and in the order of its own file, and not in another: "
            "it depends on its file's name, on the other tests' order, on the time or on chance"
        )
        return Finding(verdict="flaky", reason=reason, suspects=lost)
    passed_in_main = {test.id for test in main if test.outcome == "passed"}
    fooled: list[str] = []
    suspects: list[TestResult] = []  # the same, as the run has them
    failed = unchanged = 0
    for path, (original, twin) in sealed.twins.items():
        own = {_back(test.id, path, original): test for test in tests if _stands_in(test, path)}
        told = {one: test.outcome for one, test in own.items()}
        loaded = bool(set(told) & passed_in_main)
        for name in twin.changed:
            outcomes = {one: told[one] for one in told if is_named(one, steady(name)) and one in passed_in_main}
            passed = [own[one] for one, outcome in outcomes.items() if outcome == "passed"]
            fooled += [name] if passed else []
            suspects += passed
            failed += bool(outcomes)
            unchanged += not outcomes
        if twin.whole and loaded and not fooled:
            fooled += [one for one, outcome in told.items() if outcome == "passed"]
            suspects += [test for test in own.values() if test.outcome == "passed"]
        unchanged += len(twin.kept)
    if fooled:
        reason = f"{_named(fooled)} passes although it expects something else: what is tested makes any test pass"
        return Finding(verdict="tampered", reason=reason, suspects=tuple(suspects))
    return Finding(twins=failed, untwinned=unchanged)


def worn(sealed: Sealed, tests: Sequence[TestResult]) -> tuple[TestResult, ...]:
    """Return the tests that passed in a copy and not in the copy's second, after all copies ran once in the process."""
    passed = {test.id for test in tests if test.outcome == "passed"}
    return tuple(
        test
        for second, first in sealed.seconds.items()
        for test in tests
        if test.file == second and test.outcome != "passed" and _back(test.id, second, first) in passed
    )


def missing(framework: Framework, texts: Mapping[str, str], tests: Sequence[TestResult]) -> tuple[str, ...]:
    """Return the tests that stand in the tester's files and that a report does not tell of, as `file: name`."""
    if framework.tests is None:
        return ()
    told = [test.id for test in tests]
    return tuple(
        f"{path}: {name}"
        for path, text in texts.items()
        for name in framework.tests(text)
        if not any(is_named(one, steady(name)) for one in told)
    )


def is_named(test_id: str, name: str) -> bool:
    """Return whether an id is that of the test `name`, with whatever parameters."""
    bare = re.sub(r"\[.*\]$", "", test_id, flags=re.DOTALL)
    return any(
        one == name or (one.endswith(name) and not one[: -len(name)][-1:].isalnum() and one[: -len(name)][-1:] != "_")
        for one in (bare, test_id)
    )


def _of_copies(sealed: Sealed, tests: Sequence[TestResult], main: Sequence[TestResult]) -> list[str]:
    """Return the tests that passed in the main run and do not in a copy of their file."""
    lost: list[str] = []
    for path, original in sealed.copies.items():
        passed = {
            _back(test.id, path, original) for test in tests if _stands_in(test, path) and test.outcome == "passed"
        }
        wanted = [test.id for test in main if test.outcome == "passed" and _stands_in(test, original)]
        lost += [one for one in wanted if one not in passed]
    return lost


def _stands_in(test: TestResult, path: str) -> bool:
    return test.file == path or (not test.file and _stem(path) in test.id)


def _back(test_id: str, path: str, original: str) -> str:
    """Return an id as it would be in the file that a copy or twin stands for."""
    return test_id.replace(_stem(path), _stem(original))


def _stem(path: str) -> str:
    name = PurePosixPath(path).name
    return name.partition(".")[0] if not name.startswith(".") else name


def _named(names: Iterable[str]) -> str:
    known = list(dict.fromkeys(names))
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return ", ".join(known[:_SHOWN]) + more
