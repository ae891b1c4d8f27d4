"""The sealed run: the tester's files under other names, in another order, beside twins that must fail.

What passes only under the name the coder knew, only in the order the coder saw, or whatever is expected of it, shows here.
Pure: what to write, what to run, and what the outcomes mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from random import Random

from tandem.types import CheckVerdict, TestResult
from worker.adapters import Framework, Selection, Twin
from worker.twins.edits import word

_SHOWN = 3  # tests named in a reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """One run: the `files` to write in the place of the tester's, which are `removed`.

    `copies` says which file each copy stands for, `twins` which file a twin was made of, and what was changed.
    """

    files: Mapping[str, str]
    removed: tuple[str, ...]
    copies: Mapping[str, str]
    twins: Mapping[str, tuple[str, Twin]]
    selection: Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one sealed run showed. `verdict` is empty where all is as it must be."""

    verdict: CheckVerdict | None = None
    reason: str = ""
    twins: int = 0
    untwinned: int = 0


def seal(framework: Framework, texts: Mapping[str, str], random: Random) -> list[Sealed]:
    """Return the sealed runs for the tester's files: one, or two where copies and twins cannot stand side by side."""
    if framework.alias is None:
        return []
    copies = {framework.alias(path, word(random)): path for path in texts}
    made = {path: framework.twin(text, random) if framework.twin else None for path, text in texts.items()}
    twins = {framework.alias(path, word(random)): (path, twin) for path, twin in made.items() if twin is not None}
    seed = random.randrange(1 << 31)
    if framework.crowded:
        runs = [_run(texts, copies, {}, seed)]
        return runs + ([_run(texts, {}, twins, seed)] if twins else [])
    return [_run(texts, copies, twins, seed)]


def _run(
    texts: Mapping[str, str], copies: Mapping[str, str], twins: Mapping[str, tuple[str, Twin]], seed: int
) -> Sealed:
    files = {path: texts[original] for path, original in copies.items()}
    files |= {path: twin.text for path, (_, twin) in twins.items()}
    stand_ins = {
        original: tuple(
            [path for path, known in copies.items() if known == original]
            + [path for path, (known, _) in twins.items() if known == original]
        )
        for original in texts
    }
    # copies first: a twin that fails half way may leave a shared state behind
    selection = Selection(stand_ins=stand_ins, only=(*copies, *twins), seed=seed)
    return Sealed(files=files, removed=tuple(texts), copies=copies, twins=twins, selection=selection)


def told_of(sealed: Sealed, tests: Sequence[TestResult]) -> bool:
    """Return whether a run told of any copy or twin."""
    return any(_stands_in(test, path) for test in tests for path in (*sealed.copies, *sealed.twins))


def judged(sealed: Sealed, tests: Sequence[TestResult], main: Sequence[TestResult]) -> Finding:
    """Return what a sealed run's tests show beside those of the main run; both name files as the framework does."""
    changed = _of_copies(sealed, tests, main)
    if changed:
        reason = (
            f"{_named(changed)} passes under the name and in the order of its own file, and not in another: "
            "it depends on its file's name, on the other tests' order, on the time or on chance"
        )
        return Finding(verdict="flaky", reason=reason)
    passed_in_main = {test.id for test in main if test.outcome == "passed"}
    fooled: list[str] = []
    failed = unchanged = 0
    for path, (original, twin) in sealed.twins.items():
        told = {_back(test.id, path, original): test.outcome for test in tests if _stands_in(test, path)}
        loaded = bool(set(told) & passed_in_main)
        for name in twin.changed:
            outcomes = {told[one] for one in told if is_named(one, name) and one in passed_in_main}
            fooled += [name] if "passed" in outcomes else []
            failed += bool(outcomes)
            unchanged += not outcomes
        if twin.whole and loaded and not fooled:
            fooled += [one for one, outcome in told.items() if outcome == "passed"]
        unchanged += len(twin.kept)
    if fooled:
        reason = f"{_named(fooled)} passes although it expects something else: what is tested makes any test pass"
        return Finding(verdict="tampered", reason=reason)
    return Finding(twins=failed, untwinned=unchanged)


def missing(framework: Framework, texts: Mapping[str, str], tests: Sequence[TestResult]) -> tuple[str, ...]:
    """Return the tests that stand in the tester's files and that a report does not tell of, as `file: name`."""
    if framework.tests is None:
        return ()
    told = [test.id for test in tests]
    return tuple(
        f"{path}: {name}"
        for path, text in texts.items()
        for name in framework.tests(text)
        if not any(is_named(one, name) for one in told)
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
