"""Say in lines where the calls of a run went, and why. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.render.loose import number, objects, text, whole
from cli.render.text import one_line

_WAIT_S = 0.05  # shorter waits are not worth a word


def placement_lines(found: Mapping[str, Any]) -> list[str]:
    """Return a paragraph for each time a node took a call: what it was, the node and why, then the others."""
    rows = objects(found.get("placements"))
    if not rows:
        return [f"where the calls of run {text(found, 'run')} went was not kept; it is from this version on"]
    return [line for row in rows for line in _lines(row)]


def _lines(row: Mapping[str, Any]) -> list[str]:
    what = text(row, "persona") or text(row, "kind")
    waited_s = number(row, "waited_s")
    waited = f", after {waited_s:.1f} s of waiting for a place" if waited_s >= _WAIT_S else ""
    taken = f", taken over from {one_line(text(row, 'from'))}" if row.get("from") else ""
    lines = [f"{one_line(what)} ({one_line(text(row, 'request'))}): {one_line(text(row, 'node'))}{taken}{waited}"]
    lines.append(f"  because: {one_line(text(row, 'why'))}")
    lines += [
        f"  not {one_line(text(one, 'node'))}: {one_line(text(one, 'why'))}" for one in objects(row.get("others"))
    ]
    unnamed = whole(row, "unnamed")
    return lines + ([f"  nor {unnamed} more"] if unnamed else [])
