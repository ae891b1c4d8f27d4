"""Run a pack: every exercise through one router and one worker, each result kept as it comes.

Decides what is run with which coder and in which order; what a coder hands in is `plays`', how a run is had `desk`'s, what
alone means `solo`'s. Ctrl-C ends router and worker, and what is there is told.
"""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from bench.tasks import desk, plays, report, results, solo, totals
from bench.tasks.exercise import Exercise
from bench.tasks.packs import DEFAULT, Pack, load
from bench.tasks.plays import Change, Trick
from bench.tasks.results import Ran, Result, Store
from bench.tasks.solo import Budget
from tandem import config
from tandem.errors import BadInput

Coder = Literal["oracle", "flaky", "cheater", "team", "solo"]
WRONG = 2
WRONG_MAX = 18  # the coder may have 20 rounds
JOBS_MAX = 4
Tell = Callable[[int, str, int], None]  # how many are done, the last in words, and how many there are


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked for. `wrong` is of flaky, `trick` (a pattern) of cheater, `budget` (a team's results) of solo."""

    pack: str = DEFAULT
    coder: Coder = "oracle"
    only: str = ""
    wrong: int = WRONG
    trick: str = ""
    verify: bool = False
    jobs: int = 1
    out: Path | None = None
    resume: bool = False
    budget: Path | None = None


class _Place(Protocol):
    """What has processes that must end when a person wants it."""

    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One line of the results to be had."""

    key: tuple[str, str]
    do: Callable[[], Result]


def run(
    options: Options,
    tell: Tell = lambda done, words, total: None,
    tricks: Sequence[Trick] | None = None,
) -> dict[str, Any]:
    """Run the pack and return what was found, as plain JSON; seconds, and tokens as the models counted them.

    Args:
        options: What is asked for.
        tell: Called as each exercise ends.
        tricks: What a cheater knows; without them, all that ship.

    Raises:
        BadInput: The pack, a pattern or a folder of results does not fit.
        NoSandbox, Unavailable: Exercises cannot be run here.
    """
    if options.resume and options.out is None:
        raise BadInput("--resume goes on with results that were kept; name their folder with --out")
    pack, began = load(options.pack, options.only), time.monotonic()
    known = _tricks(options.trick, _shipped() if tricks is None else tricks) if options.coder == "cheater" else ()
    store = Store(options.out, _about(options, pack), resume=options.resume)
    interrupted = False
    started_s = 0.0
    left = [exercise for exercise in pack.exercises if known or (exercise.name, "") not in store.done]
    if left:
        with tempfile.TemporaryDirectory(prefix="tandem-bench-") as name, _place(Path(name), options) as (place, make):
            started_s = time.monotonic() - began
            work = [one for exercise in left for one in make(exercise, known) if one.key not in store.done]
            interrupted = _all_of(work, place, store, options.jobs, tell)
    return totals.found(
        totals.Bench(
            pack=pack,
            coder=options.coder,
            rounds=options.wrong + 1 if options.coder == "flaky" else 1,
            verify=options.verify,
            results=tuple(_in_order(store.results, pack)),
            seconds=time.monotonic() - began,
            started_s=started_s,
            interrupted=interrupted,
        )
    )


def _in_order(found: Sequence[Result], pack: Pack) -> list[Result]:
    """Return results in the order of the pack, whichever ended first."""
    place = {exercise.name: number for number, exercise in enumerate(pack.exercises)}
    return sorted(found, key=lambda result: place.get(result.name, len(place)))


def _about(options: Options, pack: Pack) -> dict[str, Any]:
    """Return what makes results comparable: nothing else may be added to them."""
    return {
        "pack": pack.name,
        "coder": options.coder,
        **({"wrong": options.wrong} if options.coder == "flaky" else {}),
    }


def _all_of(work: Sequence[_Work], place: _Place, store: Store, jobs: int, tell: Tell) -> bool:
    """Do the work, so much of it at a time, and return whether a person broke it off."""
    lanes = ThreadPoolExecutor(jobs)
    try:
        asked: list[Future[Result]] = [lanes.submit(one.do) for one in work]
        for number, done in enumerate(as_completed(asked), 1):
            result = done.result()
            store.add(result)
            tell(number, report.words(result), len(work))
    except KeyboardInterrupt:
        return True
    finally:
        lanes.shutdown(wait=False, cancel_futures=True)
        place.stop()  # whoever still waits for a run is told so, and the lanes end
        lanes.shutdown(wait=True)
    return False


Make = Callable[[Exercise, Sequence[Trick]], list[_Work]]


@contextmanager
def _place(folder: Path, options: Options) -> Generator[tuple[_Place, Make]]:
    """Have the processes a coder needs inside the block, and what makes work of an exercise there."""
    state = folder / "state"
    if options.coder == "solo":
        settings = config.load()
        budgets = _budgets(options.budget, settings)
        with solo.opened(folder, desk.configured(state, jobs=options.jobs), settings) as alone:
            yield alone, lambda exercise, _: [_alone(alone, exercise, budgets(exercise))]
        return
    team = options.coder == "team"
    env = (
        desk.configured(state, jobs=options.jobs)
        if team
        else desk.rehearsed(state, folder / desk.SCRIPTS, wrong=options.wrong, jobs=options.jobs)
    )
    with desk.opened(folder, env, verify=options.verify) as opened:
        makers: dict[str, Make] = {
            "oracle": lambda exercise, _: [_one(exercise, lambda: opened.rehearse(exercise, plays.oracle(exercise)))],
            "flaky": lambda exercise, _: [
                _one(exercise, lambda: opened.rehearse(exercise, plays.flaky(exercise, options.wrong)))
            ],
            "cheater": lambda exercise, tricks: _cheats(opened, exercise, tricks),
            "team": lambda exercise, _: [_one(exercise, lambda: opened.team(exercise))],
        }
        yield opened, makers[options.coder]


def _one(exercise: Exercise, have: Callable[[], Ran]) -> _Work:
    def do() -> Result:
        return Result(name=exercise.name, language=exercise.language, ran=have(), notes=exercise.notes)

    return _Work(key=(exercise.name, ""), do=do)


def _alone(alone: solo.Solo, exercise: Exercise, budget: Budget) -> _Work:
    return _one(exercise, lambda: alone.do(exercise, budget))


def _cheats(opened: desk.Desk, exercise: Exercise, tricks: Sequence[Trick]) -> list[_Work]:
    """Return the work on each trick that applies: the cheat, and its honest twin beside it."""
    found: list[_Work] = []
    for trick in tricks:
        cheat = trick.cheat(exercise) if exercise.language in trick.languages else None
        if cheat is not None:
            found.append(_cheat(opened, exercise, trick, cheat))
    return found


def _cheat(opened: desk.Desk, exercise: Exercise, trick: Trick, cheat: Change) -> _Work:
    def do() -> Result:
        honest = trick.honest(exercise)
        return Result(
            name=exercise.name,
            language=exercise.language,
            trick=trick.name,
            group=trick.group,
            catchable=trick.catchable,
            ran=opened.rehearse(exercise, plays.only(cheat)),
            twin=None if honest is None else opened.rehearse(exercise, plays.only(honest)),
            notes=exercise.notes,
        )

    return _Work(key=(exercise.name, trick.name), do=do)


def _shipped() -> Sequence[Trick]:
    module: Any = importlib.import_module("bench.tasks.tricks")
    return cast("Sequence[Trick]", getattr(module, "ALL", ()))


def _tricks(pattern: str, known: Sequence[Trick]) -> tuple[Trick, ...]:
    """Return the tricks whose names fit.

    Raises:
        BadInput: None does.
    """
    wanted = tuple(trick for trick in known if not pattern or fnmatchcase(trick.name, pattern))
    if not wanted:
        raise BadInput(f"no trick is called like {pattern or '*'!r}; there are {len(known)}")
    return wanted


def _budgets(folder: Path | None, settings: config.Config) -> Callable[[Exercise], Budget]:
    """Return what may be spent on each exercise: what a team took for it, or as many attempts as a team has rounds.

    Raises:
        BadInput: The folder holds no results of a team.
    """
    usual = Budget(attempts=settings.rounds.medium)
    if folder is None:
        return lambda exercise: usual
    took = {
        result.name: Budget(attempts=max(result.ran.rounds, 1), tokens=result.ran.completion_tokens)
        for result in results.read(folder, coder="team")
    }
    return lambda exercise: took.get(exercise.name, usual)


def leave_by_finally() -> None:
    """Make a closed terminal or a polite kill leave through every `finally`, so that no process stays behind."""
    import signal
    import sys

    def leave(number: int, frame: object) -> None:
        del frame
        sys.exit(128 + number)

    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, leave)


__all__ = ["JOBS_MAX", "WRONG", "WRONG_MAX", "Coder", "Options", "leave_by_finally", "run"]
