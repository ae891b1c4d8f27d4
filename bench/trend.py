"""Whether a figure grows with the number of runs: a straight line through its samples, and how far it can be trusted. Pure.

Ordinary least squares, with the standard error of Newey and West (Econometrica 55, 1987): what a process holds drifts, so
that each sample says little that the one before did not, and the usual error would be far too small.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[int, float]  # after so many runs, this value
# Share of the runs that are left out: caches fill, and allocators take what they need. Of 1,000 runs it ends after the
# last step there is, 2 MB once between the 300th and the 400th: a single block that doubles, CPython's table of names by
# its size.
WARM_UP = 0.4
ERRORS = 2.0  # standard errors within which a slope is noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A figure over the runs; `slope` and `error` are per run, after the warm-up; None where too few samples tell.

    `risen` is by how much the last sample is above the first after the warm-up.
    """

    first: float
    last: float
    risen: float
    slope: float | None
    error: float | None

    def steady(self, bound: float, allowed: float = 0.0) -> bool | None:
        """Return whether it does not grow: within noise, by less than `bound` a run, or by no more than `allowed`."""
        if self.slope is None or self.error is None:
            return None
        return self.slope < max(ERRORS * self.error, bound) or self.risen <= allowed


def trend(runs: Sequence[int], values: Sequence[float], *, warm_up: float = WARM_UP) -> Trend:
    """Return the trend of samples taken after so many `runs`, in order."""
    begin = warm_up * runs[-1]
    kept = [(run, value) for run, value in zip(runs, values, strict=True) if run >= begin]
    slope, error = line([run for run, _ in kept], [value for _, value in kept])
    return Trend(first=values[0], last=values[-1], risen=values[-1] - kept[0][1], slope=slope, error=error)


def per_run(points: Sequence[Point]) -> list[Point]:
    """Return by how much a sum grew with each run between two samples."""
    return [
        (runs, round((value - before) / (runs - earlier), 1))
        for (earlier, before), (runs, value) in itertools.pairwise(points)
    ]


def line(xs: Sequence[float], ys: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the slope of the line through points and its standard error; None, None for fewer than three."""
    count = len(xs)
    if count < 3 or len(set(xs)) < 2:
        return None, None
    middle_x, middle_y = sum(xs) / count, sum(ys) / count
    spread = sum((x - middle_x) ** 2 for x in xs)
    slope = sum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys, strict=True)) / spread
    pulls = [(x - middle_x) * (y - middle_y - slope * (x - middle_x)) for x, y in zip(xs, ys, strict=True)]
    return slope, math.sqrt(max(_together(pulls), 0.0) * count / (count - 2)) / spread


def _together(pulls: Sequence[float]) -> float:
    """Return the variance of the sum of what each point pulls at the slope, with near ones allowed to pull alike."""
    reach = math.floor(4 * (len(pulls) / 100) ** (2 / 9))  # the usual choice, 3 for 80 samples
    total = sum(pull * pull for pull in pulls)
    for lag in range(1, min(reach, len(pulls) - 1) + 1):
        alike = sum(now * before for now, before in zip(pulls[lag:], pulls, strict=False))
        total += 2 * (1 - lag / (reach + 1)) * alike
    return total
