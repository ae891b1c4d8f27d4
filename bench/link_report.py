"""What a bench of the link found: differences and ratios of pairs, aims, and all of it as a table for people. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench import aims as aimed
from cli.render.loose import mapping
from cli.render.table import table

Seconds = Mapping[str, Sequence[float]]  # of each side, what it took in each round

MB = 1_000_000
OURS = "paired"
_AIMS: Mapping[tuple[str, str], tuple[aimed.Sense, float]] = {  # of the median
    ("sync_small", "added_to_plain_ms"): ("at_most", 80.0),
    ("sync_large", "share_of_grpc"): ("at_least", 0.5),
}
_TITLES = {
    "rtt": "round trip",
    "token": "first token",
    "throughput": "stream",
    "sync_small": "sync, small change",
    "sync_large": "sync, large change",
}
_SIDES = {
    "tcp": "TCP alone",
    "grpc": "gRPC alone",
    "index": "git index-pack",
    "plain": "plain git push",
    "paired": "OURS",
}
_UNITS = {"us": "µs", "ms": "ms", "mb_s": "MB/s"}


def times(taken: Seconds, unit: str) -> dict[str, Any]:
    """Return what each side took, and what ours adds to each of the others; `unit` is "us" or "ms"."""
    factor = {"us": 1e6, "ms": 1e3}[unit]
    others = [side for side in taken if side != OURS]
    return {
        **{f"{side}_{unit}": _spread([value * factor for value in values]) for side, values in taken.items()},
        **{f"added_to_{side}_{unit}": _spread([(a - b) * factor for a, b in _pairs(taken, side)]) for side in others},
        **{f"ratio_to_{side}": _spread([a / b for a, b in _pairs(taken, side)]) for side in others},
    }


def speeds(taken: Seconds, size_bytes: int) -> dict[str, Any]:
    """Return how many millions of bytes each side carried in a second, and what share of each other's speed ours has."""
    others = [side for side in taken if side != OURS]
    return {
        "size_mb": size_bytes / MB,
        **{f"{side}_mb_s": _spread([size_bytes / MB / value for value in values]) for side, values in taken.items()},
        **{f"share_of_{side}": _spread([b / a for a, b in _pairs(taken, side)]) for side in others},
    }


def share(taken: Seconds, side: str, of: str) -> dict[str, float]:
    """Return what share of another's speed a side has."""
    return _spread([b / a for a, b in zip(taken[side], taken[of], strict=True)])


def _pairs(taken: Seconds, side: str) -> list[tuple[float, float]]:
    """Return what ours and another side took in each round."""
    return list(zip(taken[OURS], taken[side], strict=True))


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the quartiles."""
    cuts = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return dict(zip(("p25", "p50", "p75"), (round(cut, 3) for cut in cuts), strict=True))


def aims(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is aimed at, what was found, and whether that is met; both None where it was not measured."""
    return {
        f"{part}.{name}": aimed.judged(sense, aim, found[part][name]["p50"] if part in found else None)
        for (part, name), (sense, aim) in _AIMS.items()
    }


# --- for people -----------------------------------------------------------------------------------------------


def lines(found: dict[str, Any], width: int) -> list[str]:
    """Return the figures as a table, and what became of the aims."""
    machine = found["machine"]
    told = [
        f"{found['rounds']} rounds in pairs; median, and quartiles behind it; {machine['cores']} cores, "
        f"load {machine['load_before']} before",
        "",
    ]
    rows = [row for part in _TITLES if part in found for row in _rows(part, found[part])]
    told += [*table(("", "", "p50", "p25", "p75"), rows, width=width, grow=1), ""]
    return told + aimed.lines(found["aims"])


def _rows(part: str, figures: Mapping[str, Any]) -> list[list[str]]:
    spreads = {name: mapping(value) for name, value in figures.items() if isinstance(value, dict)}
    return [
        [_TITLES[part] if at == 0 else "", _named(name), *(f"{value[cut]:,.5g}" for cut in ("p50", "p25", "p75"))]
        for at, (name, value) in enumerate(spreads.items())
    ]


def _named(name: str) -> str:
    """Return a figure's name in words: `added_to_tcp_us` is "ours adds to TCP alone, µs"."""
    for prefix, words in (
        ("added_to_", "ours adds to "),
        ("ratio_to_", "ours, times "),
        ("share_of_", "ours, share of "),
    ):
        if name.startswith(prefix):
            side, _, unit = name.removeprefix(prefix).partition("_")
            return f"{words}{_SIDES[side]}" + (f", {_UNITS[unit]}" if unit else "")
    side, _, rest = name.partition("_")
    other = rest.removeprefix("share_of_")
    return f"{_SIDES[side]}, " + (f"share of {_SIDES[other]}" if other != rest else _UNITS[rest])
