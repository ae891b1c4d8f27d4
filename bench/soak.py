"""Many runs one after another through one router and one worker: what each holds meanwhile, and whether that grows.

Each run is a whole one: handed in, watched, approved at its question, merged into a repository whose branch has moved since
the last, and taken back there by a commit. Two repositories, so that two runs work at a time. Samples are taken while
nothing is at work. What the journal and the records keep grows by design until `tandem gc`; what that leaves is measured
last, after clearing everything that ended.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench import pair
from bench.pair import Pair, Project
from bench.processes import children
from bench.samples import MEMORY, Held, Kept, held, kept
from bench.soak_report import HELD, KEPT, SPENT, figure, lines, plot
from bench.trend import ERRORS, WARM_UP, Point, per_run, trend
from cli.render.loose import mapping, whole
from tandem.errors import Unavailable

__all__ = ["lines", "plot", "run"]
RUNS, QUICK = 500, 20
TOGETHER = 2
_IDLE_S = 10.0  # longest wait for what a run started to be gone
_SETTLE_S = 0.25  # for connections to close and descriptors with them
_MESSAGES = 5  # of runs that did not merge
_CPUS = os.cpu_count() or 1
# By how much a figure may grow per run and still be called steady: of memory, what 10,000 runs would not make 10 MB of.
BOUNDS = {"memory_bytes": 1024.0, "own_bytes": 1024.0, "descriptors": 0.001, "threads": 0.001, "children": 0.001}
# And by how much in all: the threads of a pool come when that many first wait at once.
ALLOWED = {"threads": float(min(32, _CPUS + 4))}
# Runs from which on it is judged; before, most of what grows is a cache that fills, or a table that doubles.
JUDGED_FROM = {"memory_bytes": 1000, "own_bytes": 1000, "descriptors": 100, "threads": 100, "children": 100}
Checks = Literal["noop", "real"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What there was after so many runs; `run_ms` is the median of those since the last sample."""

    runs: int
    run_ms: float | None
    router: Held
    worker: Held
    state: Kept


@dataclass(slots=True, kw_only=True)
class _Soak:
    """A soak under way."""

    pair: Pair
    projects: Sequence[Project]
    ended: Counter[str] = field(default_factory=Counter[str])
    messages: list[str] = field(default_factory=list[str])
    took_ms: list[float] = field(default_factory=list[float])
    samples: list[Sample] = field(default_factory=list[Sample])

    def batch(self, count: int) -> None:
        """Have so many more runs, each repository its share of them."""
        shares = [count // TOGETHER + (number < count % TOGETHER) for number in range(TOGETHER)]
        with ThreadPoolExecutor(TOGETHER) as lanes:
            for ran in [lanes.submit(self._lane, *lane) for lane in zip(self.projects, shares, strict=True)]:
                for end, took_ms in ran.result():
                    self._count(end, took_ms)

    def _lane(self, project: Project, count: int) -> list[tuple[dict[str, Any], float]]:
        """Have runs on one repository, and return how each ended and its milliseconds."""
        ran: list[tuple[dict[str, Any], float]] = []
        for _ in range(count):
            started = time.monotonic()
            run = pair.submit(self.pair.client, project, unsandboxed=not self.pair.sandbox)
            ran.append((pair.to_its_end(self.pair.client, run), (time.monotonic() - started) * 1000))
            if ran[-1][0]["state"] == "merged":
                project.take_back()
        return ran

    def _count(self, end: dict[str, Any], took_ms: float) -> None:
        self.ended[end["state"]] += 1
        self.took_ms.append(took_ms)
        if end["state"] != "merged" and len(self.messages) < _MESSAGES:
            self.messages.append(f"run {end['run']} ended {end['state']}: {end['message']}")

    def sample(self) -> Sample:
        """Wait until nothing is at work, then look."""
        worker, took_ms = self._idle_worker(), self.took_ms
        taken = Sample(
            runs=self.ended.total(),
            run_ms=round(statistics.median(took_ms), 1) if took_ms else None,
            router=held(self.pair.process.pid, without=(worker, *children(worker))),
            worker=held(worker),
            state=kept(self.pair.state),
        )
        self.samples.append(taken)
        self.took_ms = []
        return taken

    def _idle_worker(self) -> int:
        """Return the worker's process once nothing is at work, or work has gone on for too long."""
        end = time.monotonic() + _IDLE_S
        while True:
            time.sleep(_SETTLE_S)
            at_work = whole(mapping(self.pair.client.get("/v1/status").get("runs")), "active")
            worker = self.pair.worker_pid()
            if worker and (time.monotonic() > end or not (at_work or children(worker))):
                return worker
            if time.monotonic() > end + _IDLE_S:
                raise Unavailable("the worker is gone and does not come back; its log says why")


def run(
    runs: int = RUNS,
    checks: Checks = "noop",
    every: int | None = None,
    tell: Callable[[int, str], None] = lambda done, words: None,
) -> dict[str, Any]:
    """Measure and return plain JSON; sizes in bytes, times in milliseconds.

    Args:
        runs: How many.
        checks: What each of them has to be tested by: the demo's tests, or a script that only looks for files.
        every: Runs between two samples; without it, a hundredth of them.
        tell: Called with every sample: how many runs were made, and how it looks, in words.
    """
    every = every or max(TOGETHER, runs // 100)
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as name:
        made = [pair.MAKE[checks](Path(name, f"{number}")) for number in range(TOGETHER)]
        state = Path(name, "state")
        with pair.running(state, pair.environment(state, made[0][1])) as measured:
            soak, began = _Soak(pair=measured, projects=[project for project, _ in made]), time.monotonic()
            soak.sample()
            for done in range(0, runs, every):
                soak.batch(min(every, runs - done))
                tell(*_words(soak.sample()))
            seconds = time.monotonic() - began
            measured.client.post("/v1/clear", {"days": 0}, read_s=600)
            left = soak.sample()
    return _found(soak, checks, seconds, left)


def _words(sample: Sample) -> tuple[int, str]:
    told = [
        f"{part} {figure('memory_bytes', one.memory_bytes)}, {one.descriptors or '-'} descriptors"
        for part, one in (("router", sample.router), ("worker", sample.worker))
    ]
    return sample.runs, "; ".join(told)


def _found(soak: _Soak, checks: Checks, seconds: float, left: Sample) -> dict[str, Any]:
    samples = soak.samples[:-1]  # the last is what clearing up left
    return {
        "runs": samples[-1].runs,
        "checks": checks,
        "together": TOGETHER,
        "sandbox": soak.pair.sandbox,
        "seconds": round(seconds, 1),
        "ended": dict(soak.ended),
        "messages": soak.messages,
        "worker_starts": len({sample.worker.pid for sample in samples}),
        "memory": MEMORY,
        "warm_up_share": WARM_UP,
        "steady_within_errors": ERRORS,
        "steady_below_per_run": BOUNDS,
        "steady_within": ALLOWED,
        "judged_from_runs": JUDGED_FROM,
        "run_ms": _judged([(sample.runs, sample.run_ms) for sample in samples if sample.run_ms is not None]),
        "router": _process(samples, "router"),
        "worker": _process(samples, "worker"),
        "state": {name: _judged(_series(samples, "state", name)) for name in KEPT},
        "after_gc": asdict(left),
        "samples": [asdict(sample) for sample in samples],
    }


def _process(samples: Sequence[Sample], part: str) -> dict[str, Any]:
    """Return what became of a process: what it holds, and what a run cost it."""
    holds = {name: _judged(_series(samples, part, name), name) for name in HELD}
    if holds["own_bytes"] and holds["memory_bytes"]:
        holds["memory_bytes"]["steady"] = None  # a share depends on other programs, and what is one's own does not
    spent = {f"{name}_per_run": _judged(per_run(_series(samples, part, name))) for name in SPENT}
    return {**holds, **spent}


def _series(samples: Sequence[Sample], part: str, name: str) -> list[Point]:
    """Return a figure over the runs; empty where the system does not tell it."""
    return [(sample.runs, value) for sample in samples if (value := getattr(getattr(sample, part), name)) is not None]


def _judged(points: Sequence[Point], name: str = "") -> dict[str, Any] | None:
    """Return a figure's trend and, where it has a bound, whether it is steady; None where the system does not tell it.

    Too short a soak is not judged: `steady` is None.
    """
    if not points:
        return None
    found = trend([runs for runs, _ in points], [value for _, value in points])
    told: dict[str, Any] = {
        "first": found.first,
        "last": found.last,
        "slope_per_run": _rounded(found.slope),
        "standard_error": _rounded(found.error),
    }
    if name not in BOUNDS:
        return told
    judged = points[-1][0] >= JUDGED_FROM[name]
    return {**told, "steady": found.steady(BOUNDS[name], ALLOWED.get(name, 0.0)) if judged else None}


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
