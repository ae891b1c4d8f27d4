"""Figures against targets: what was met, missed, or not measured, as an object and as a page. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Literal

from bench.accept.figures import Figure
from bench.accept.targets import TARGETS, Target

Verdict = Literal["met", "missed", "recorded", "not measured"]
_MARKS: Mapping[Verdict, str] = {"met": "✓", "missed": "✗", "recorded": "·", "not measured": "–"}


def verdict(figure: Figure) -> Verdict:
    """Return what a figure comes to beside its target."""
    target = TARGETS[figure.name]
    if figure.value is None:
        return "not measured"
    if target.limit is None:
        return "recorded"
    good = figure.value <= target.limit if target.sense == "at most" else figure.value >= target.limit
    return "met" if good else "missed"


def report(figures: Sequence[Figure], machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole report; `machine` says where and when. What no figure is there for counts as not measured."""
    there = {figure.name for figure in figures}
    missing = [Figure(name=name, value=None, note="time was over") for name in TARGETS if name not in there]
    rows = [_row(figure) for figure in (*figures, *missing)]
    counts = {kind: sum(row["verdict"] == kind for row in rows) for kind in _MARKS}
    return {"machine": dict(machine), "counts": counts, "results": rows}


def _row(figure: Figure) -> dict[str, Any]:
    target = TARGETS[figure.name]
    return {
        "name": figure.name,
        "row": target.row,
        "what": target.what,
        "of": figure.of,
        "value": figure.value,
        "unit": target.unit,
        "target": _wanted(target),
        "limit": target.limit,
        "verdict": verdict(figure),
        "note": figure.note,
    }


def _wanted(target: Target) -> str:
    return "" if target.limit is None else f"{target.sense} {number(target.limit)} {target.unit}".strip()


def number(value: float) -> str:
    """Return a figure with three digits that mean something."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def lines(found: Mapping[str, Any]) -> list[str]:
    """Return the report as lines for a terminal."""
    said: list[str] = []
    for reason, rows in groupby(found["results"], key=_reason):
        said += [line for row in rows for line in _line(row, with_note=not reason)]
        said += [f"    {reason}"] if reason else []
    return said


def _reason(row: Mapping[str, Any]) -> str:
    """Return why a figure was not measured: what several were not for one reason is said once."""
    return row["note"] if row["value"] is None else ""


def _line(row: Mapping[str, Any], *, with_note: bool) -> list[str]:
    of = f" ({row['of']})" if row["of"] else ""
    value = row["verdict"] if row["value"] is None else f"{number(row['value'])} {row['unit']}".strip()
    wanted = f", wanted {row['target']}" if row["target"] and row["value"] is not None else ""
    line = f"{_MARKS[row['verdict']]} {row['what']}{of}: {value}{wanted}"
    return [line, f"    {row['note']}"] if with_note and row["note"] else [line]


def markdown(found: Mapping[str, Any]) -> str:
    """Return the report as a page."""
    machine, counts = found["machine"], found["counts"]
    about = "\n".join(f"- {key}: {value}" for key, value in machine.items())
    head = "| | row | what | of | measured | wanted | note |\n|---|---|---|---|---|---|---|\n"
    rows = "\n".join(_table_row(row) for row in found["results"])
    summed = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return f"# Tandem on this machine\n\n{about}\n\n{summed}.\n\n{head}{rows}\n"


def _table_row(row: Mapping[str, Any]) -> str:
    value = "not measured" if row["value"] is None else f"{number(row['value'])} {row['unit']}".strip()
    cells = (_MARKS[row["verdict"]], row["row"], row["what"], row["of"], value, row["target"], row["note"])
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
