"""A soak's figures for people: a table, and a picture with a panel a figure. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.plot import Panel, svg
from bench.samples import Kept
from bench.trend import WARM_UP, Point, per_run
from cli.render.table import table

HELD = ("memory_bytes", "own_bytes", "descriptors", "threads", "children")
SPENT = ("cpu_ms", "children_cpu_ms")  # by a process itself, and by what it started: git, the sandbox, tests
KEPT = tuple(Kept.__dataclass_fields__)


def lines(found: dict[str, Any], width: int) -> list[str]:
    """Return the figures as a table with a few words around it."""
    ended = ", ".join(f"{count} {state}" for state, count in found["ended"].items())
    head = [
        f"{found['runs']} runs ({found['checks']} checks, {found['together']} at a time) in {found['seconds']:.0f} s:"
        f" {ended}; the worker was started {found['worker_starts']} time(s)",
        *found["messages"],
        "",
    ]
    rows: list[list[str]] = []
    for part in ("router", "worker", "state"):
        left = found["after_gc"][part]
        rows += [_row(part, name, told, left.get(name)) for name, told in found[part].items() if told]
    rows.append(_row("", "run_ms", found["run_ms"], None))
    columns = ("", "figure", "first", "last", "a run", "± error", "after gc", "")
    foot = [
        f"slopes without the first {found['warm_up_share']:.0%} of the runs; memory is the {found['memory']}",
        f"steady: a slope within {found['steady_within_errors']:g} standard errors, or below its bound; memory is judged"
        f" from {found['judged_from_runs']['own_bytes']} runs on",
    ]
    return [*head, *table(columns, rows, width=width, grow=1), "", *foot]


def _row(part: str, name: str, told: dict[str, Any], left: float | None) -> list[str]:
    shown = [figure(name, told[key]) for key in ("first", "last", "slope_per_run", "standard_error")]
    steady = told.get("steady")
    word = "" if steady is None else "steady" if steady else "GROWS"
    return [part, _title(name), *shown, figure(name, left), word]


def figure(name: str, value: float | None) -> str:
    """Return a value in the unit that its name ends with."""
    if value is None:
        return "-"
    if not name.endswith("_bytes"):
        return f"{value:.4g}{' ms' if '_ms' in name else ''}"
    if abs(value) >= 10 << 20:
        return f"{value / (1 << 20):.1f} MiB"
    return f"{value / 1024:.2f} KiB" if abs(value) >= 1024 else f"{value:.0f} B"


def plot(found: dict[str, Any]) -> str:
    """Return the samples as an SVG picture, a panel a figure."""
    samples: list[dict[str, Any]] = found["samples"]
    both = {name: {part: _drawn(samples, part, name) for part in ("router", "worker")} for name in (*HELD, *SPENT)}
    spent = {f"{name}_per_run": {part: per_run(both[name][part]) for part in both[name]} for name in SPENT}
    state = {name: {"state": _drawn(samples, "state", name)} for name in KEPT}
    pace = {"run_ms": {"run": [(one["runs"], one["run_ms"]) for one in samples if one["run_ms"] is not None]}}
    figures = {**{name: both[name] for name in HELD}, **spent, **pace, **state}
    return svg(
        f"{found['runs']} runs, {found['checks']} checks: what router, worker and state folder hold",
        [_panel(name, series) for name, series in figures.items()],
        x_label="runs",
        shaded=WARM_UP * found["runs"],
    )


def _drawn(samples: Sequence[dict[str, Any]], part: str, name: str) -> list[Point]:
    return [(one["runs"], one[part][name]) for one in samples if one[part][name] is not None]


def _panel(name: str, series: dict[str, list[Point]]) -> Panel:
    """Return the panel of a figure; bytes are drawn as MiB."""
    size = name.endswith("_bytes")
    known = {who: [(x, y / (1 << 20) if size else y) for x, y in points] for who, points in series.items()}
    unit = "MiB" if size else "ms" if "_ms" in name else ""
    return Panel(title=_title(name), unit=unit, series=known)


def _title(name: str) -> str:
    if name == "own_bytes":
        return "own memory"
    return name.removesuffix("_bytes").replace("_ms", "").replace("_", " ")
