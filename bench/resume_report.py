"""What a bench of recoveries found: quantiles, phases, differences of pairs, and all of it as tables for people. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from cli.render.table import table

Times = dict[str, float]  # of one round: milliseconds until each milestone

MILESTONES = ("status", "journal", "taken_up", "known", "worker", "at_work", "goes_on")
_FLOOR = ("interpreter", "imports", "status", "journal", "known", "worker", "ready")
_PHASES = {  # from one milestone to the next; the worker starts beside all of them
    "process and socket": ("", "status"),
    "imports, journal opened": ("status", "journal"),
    "journal read, run taken up": ("journal", "taken_up"),
    "replay to where it broke, worker awaited": ("taken_up", "at_work"),
    "first answer": ("at_work", "goes_on"),
}
_ADDS = {"status": "status", "known": "known", "goes_on": "ready"}  # beside which part of a start each one stands
_WORDS = {
    "interpreter": "an interpreter came and went",
    "imports": "it imported what a router does",
    "status": "status is answered",
    "journal": "the journal is open",
    "taken_up": "the run is taken up",
    "known": "runs are shown",
    "worker": "the worker listens",
    "ready": "router and worker are ready",
    "at_work": "the run is at work",
    "goes_on": "THE RUN GOES ON",
}


def figures(
    points: Sequence[str], floors: Sequence[Times], recovered: Mapping[int, Sequence[Times]], sizes: Mapping[int, int]
) -> dict[str, Any]:
    """Return plain JSON.

    Args:
        points: Where the run of each round was interrupted.
        floors: What a start alone took in each round.
        recovered: What each round took, by the number of old runs in the journal.
        sizes: The journal's bytes, by the same.
    """
    return {
        "rounds": len(points),
        "points": list(dict.fromkeys(points)),
        "floor_ms": {name: _quantiles([one[name] for one in floors]) for name in _FLOOR},
        "recovery": [
            {
                "old_runs": count,
                "journal_bytes": sizes[count],
                "ms": {name: _quantiles([one[name] for one in times if name in one]) for name in MILESTONES},
                "phases_ms": {name: _between(times, *ends) for name, ends in _PHASES.items()},
                "adds_ms": {name: _added(times, floors, name, floor) for name, floor in _ADDS.items()},
                "goes_on_by_point_ms": _by_point(points, times),
            }
            for count, times in recovered.items()
        ],
        "per_1000_old_runs_ms": growth(recovered),
    }


def _quantiles(values: Sequence[float]) -> dict[str, float] | None:
    """Return the median and the 95th percentile, None where nothing was measured."""
    if len(values) < 2:
        return {"p50": round(values[0], 1), "p95": round(values[0], 1)} if values else None
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 1), "p95": round(cuts[94], 1)}


def _between(times: Sequence[Times], begin: str, end: str) -> float | None:
    """Return the median time from one milestone to another; `begin` may be "" for the start."""
    known = [one[end] - one.get(begin, 0.0) for one in times if end in one and (not begin or begin in one)]
    return round(statistics.median(known), 1) if known else None


def _added(times: Sequence[Times], floors: Sequence[Times], name: str, floor: str) -> float:
    """Return the median of what the pairs differ by."""
    pairs = zip(times, floors, strict=True)
    return round(statistics.median(one[name] - beside[floor] for one, beside in pairs), 1)


def _by_point(points: Sequence[str], times: Sequence[Times]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for point, one in zip(points, times, strict=True):
        found.setdefault(point, []).append(one["goes_on"])
    return {point: round(statistics.median(values), 1) for point, values in found.items()}


def growth(recovered: Mapping[int, Sequence[Times]]) -> dict[str, float] | None:
    """Return by how much each milestone comes later for every thousand old runs; None where there is one journal only."""
    few, many = min(recovered), max(recovered)
    if few == many:
        return None
    middle = {count: {name: _between(recovered[count], "", name) for name in MILESTONES} for count in (few, many)}
    return {
        name: round((late - early) / (many - few) * 1000, 1)
        for name in MILESTONES
        if (late := middle[many][name]) is not None and (early := middle[few][name]) is not None
    }


# --- for people -----------------------------------------------------------------------------------------------


def lines(found: dict[str, Any], width: int) -> list[str]:
    """Return the figures as tables."""
    told = [f"{found['rounds']} rounds, each killed at one of {len(found['points'])} points; milliseconds", ""]
    rows = [["a start alone", _WORDS[name], *_shown(found["floor_ms"][name]), ""] for name in _FLOOR]
    for one in found["recovery"]:
        what = f"{one['old_runs']} old runs ({one['journal_bytes'] / (1 << 20):.1f} MiB)"
        for name in MILESTONES:
            adds = one["adds_ms"].get(name)
            rows.append([what, _WORDS[name], *_shown(one["ms"][name]), "" if adds is None else f"{adds:+.0f}"])
    told += table(("", "until", "p50", "p95", "more than a start"), rows, width=width, grow=1)
    names = [f"{one['old_runs']} old runs" for one in found["recovery"]]
    phases = [[name, *(_median(one["phases_ms"][name]) for one in found["recovery"])] for name in _PHASES]
    points = [
        [point, *(_median(one["goes_on_by_point_ms"].get(point)) for one in found["recovery"])]
        for point in found["points"]
    ]
    told += ["", *table(("phase, p50", *names), phases, width=width, grow=0)]
    told += ["", *table(("killed at, until it goes on, p50", *names), points, width=width, grow=0)]
    if found["per_1000_old_runs_ms"]:
        more = ", ".join(f"{_WORDS[name]} {ms:+.0f}" for name, ms in found["per_1000_old_runs_ms"].items())
        told += ["", f"for every 1000 old runs: {more}"]
    return told


def _shown(quantiles: dict[str, float] | None) -> tuple[str, str]:
    return ("-", "-") if quantiles is None else (f"{quantiles['p50']:.0f}", f"{quantiles['p95']:.0f}")


def _median(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
