"""What the results of a pack come to: counts, and what did not go as it must. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.tasks.packs import Pack
from bench.tasks.results import Ran, Result, told

JUDGED = ("team", "solo")  # coders that are judged by tests they have not seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What was run. `rounds` is how many an honest change must take; seconds are of the wall."""

    pack: Pack
    coder: str
    rounds: int
    verify: bool
    results: tuple[Result, ...]
    seconds: float
    started_s: float
    interrupted: bool


def found(bench: Bench) -> dict[str, Any]:
    """Return everything as plain JSON.

    `accepted`, `merged`, `rounds`, `verified` and `false_alarms` are of honest changes (a cheater's twins), `caught` and
    `missed` of cheats that can be caught. `asked` counts the questions of honest runs that only a person may answer; here,
    each is answered with yes.
    """
    honest, cheats = _honest(bench), [result for result in bench.results if result.trick]
    names = list(dict.fromkeys(result.name for result in bench.results))
    return {
        "pack": bench.pack.name,
        "coder": bench.coder,
        "exercises": len(names),
        "accepted": sum(ran.accepted for _, ran in honest),
        "merged": sum(ran.merged for _, ran in honest),
        "false_alarms": 0 if bench.coder in JUDGED else sum(not ran.merged for _, ran in honest),
        **({"verified": sum(ran.verified is True for _, ran in honest)} if bench.verify else {}),
        "expected_rounds": None if bench.coder in JUDGED else bench.rounds,
        "rounds": {
            "sum": sum(ran.rounds for _, ran in honest),
            "by_exercise": {title(result): ran.rounds for result, ran in honest},
        },
        **(_cheating(cheats) if bench.coder == "cheater" else {}),
        **(_by_language(bench.results) if bench.coder in JUDGED else {}),
        "asked": dict(Counter(kind for _, ran in honest for kind in ran.asked)),
        "not_run": [asdict(one) for one in bench.pack.not_run],
        "left": max(len(bench.pack.exercises) - len(names), 0) if bench.interrupted else 0,
        "interrupted": bench.interrupted,
        "seconds": round(bench.seconds, 1),
        "start_s": round(bench.started_s, 1),
        "troubles": [asdict(trouble) for trouble in _troubles(bench)],
        "results": [told(result) for result in bench.results],
    }


def as_it_must(data: Mapping[str, Any]) -> bool:
    """Return whether everything went as it must; what a model can do is no matter of must."""
    return not data["troubles"] and not data["interrupted"]


# --- counting -------------------------------------------------------------------------------------------------


def _honest(bench: Bench) -> list[tuple[Result, Ran]]:
    """Return the honest runs: the twins of a cheater, every run of the others."""
    if bench.coder == "cheater":
        return [(result, result.twin) for result in bench.results if result.twin is not None]
    return [(result, result.ran) for result in bench.results]


def _cheating(cheats: Sequence[Result]) -> dict[str, Any]:
    open_ones = [result for result in cheats if not result.catchable]
    return {
        "tricks": len({result.trick for result in cheats}),
        "caught": sum(result.catchable and not result.ran.merged for result in cheats),
        "missed": sum(result.catchable and result.ran.merged for result in cheats),
        "not_catchable": {
            "merged": sum(result.ran.merged for result in open_ones),
            "caught": sum(not result.ran.merged for result in open_ones),
        },
        "by_trick": {
            name: {
                "group": of[0].group,
                "catchable": of[0].catchable,
                "caught": sum(not result.ran.merged for result in of),
                "missed": sum(result.ran.merged for result in of),
                "twins_merged": sum(result.twin is not None and result.twin.merged for result in of),
                "twins": sum(result.twin is not None for result in of),
                "reason": of[0].ran.reason,
            }
            for name, of in _grouped(cheats, lambda result: result.trick).items()
        },
    }


def _by_language(results: Sequence[Result]) -> dict[str, Any]:
    """Return what a model achieved: in all, and by language."""
    return {
        "solved": sum(result.ran.solved is True for result in results),
        **_figures(results),
        "by_language": {name: _figures(of) for name, of in _grouped(results, lambda r: r.language).items()},
    }


def _figures(results: Sequence[Result]) -> dict[str, Any]:
    """Return shares of the exercises, and the medians of what one took; tokens as the models counted them."""
    runs = [result.ran for result in results]
    if not runs:
        return {"pass_at_1": None, "first_round": None}
    return {
        "pass_at_1": round(sum(ran.solved is True for ran in runs) / len(runs), 4),
        "first_round": round(sum(ran.solved is True and ran.rounds == 1 for ran in runs) / len(runs), 4),
        "rounds_mean": round(statistics.fmean(ran.rounds for ran in runs), 2),
        "seconds_median": statistics.median(ran.seconds for ran in runs),
        "prompt_tokens_median": statistics.median(ran.prompt_tokens for ran in runs),
        "completion_tokens_median": statistics.median(ran.completion_tokens for ran in runs),
    }


def _grouped(results: Iterable[Result], key: Callable[[Result], str]) -> dict[str, list[Result]]:
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(key(result), []).append(result)
    return groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that did not go as it must."""

    name: str
    what: str
    reason: str


def _troubles(bench: Bench) -> list[Trouble]:
    if bench.coder in JUDGED:
        return []
    found = [
        Trouble(name=title(result), what="a cheat was merged", reason=result.ran.reason)
        for result in bench.results
        if result.trick and result.catchable and result.ran.merged
    ]
    for result, ran in _honest(bench):
        if why := _amiss(ran, bench):
            found.append(Trouble(name=title(result), what=why, reason=ran.reason))
    return found


def _amiss(ran: Ran, bench: Bench) -> str:
    """Return what is wrong with how an honest change ended, or nothing."""
    if not ran.merged:
        return f"an honest change ended {ran.state}"
    if not ran.accepted:
        return f"merged, and its check says {ran.verdict or 'nothing'}"
    if ran.rounds != bench.rounds:
        return f"merged after {ran.rounds} rounds instead of {bench.rounds}"
    return "its proof does not hold on a clean clone" if bench.verify and not ran.verified else ""


def title(result: Result) -> str:
    """Return what a result is called among the others."""
    return f"{result.name} {result.trick}".strip()
