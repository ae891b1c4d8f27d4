"""Draw figures over the runs as an SVG picture: small multiples, one panel a figure. Pure; needs no library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]

COLUMNS = 3
_WIDTH, _HEIGHT = 300.0, 190.0  # of a panel, in pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 12.0, 28.0, 26.0  # around what is drawn in it
_HEAD = 52.0
_COLOURS = ("#1f5fbf", "#c2570c", "#2f7d4f", "#7a3fa0")  # told apart on paper and by most who see few colours
_INK, _GRID, _SHADE = "#222222", "#d8d8d8", "#f3f1ea"
_TICKS = 4
LOG_LEAST = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One figure: its lines by name, each points from left to right.

    Where `log` is set both axes grow by factors; what is smaller than `LOG_LEAST` is drawn as that.
    """

    title: str
    unit: str
    series: Mapping[str, Sequence[Point]]
    log: bool = False


def svg(title: str, panels: Sequence[Panel], *, x_label: str, shaded: float = 0.0) -> str:
    """Return the picture; what lies left of `shaded` is marked as warm-up."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.series))
    colours = {name: _COLOURS[at % len(_COLOURS)] for at, name in enumerate(names)}
    rows = math.ceil(len(panels) / COLUMNS)
    width, height = COLUMNS * _WIDTH, _HEAD + rows * _HEIGHT + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
        f' height="{height:g}" font-family="sans-serif" font-size="11" fill="{_INK}">',
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>',
        _text(12, 22, title, size=14),
        *_legend(colours),
    ]
    for at, panel in enumerate(panels):
        x, y = (at % COLUMNS) * _WIDTH, _HEAD + (at // COLUMNS) * _HEIGHT
        parts += [f'<g transform="translate({x:g} {y:g})">', *_drawn(panel, colours, x_label, shaded), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _legend(colours: Mapping[str, str]) -> list[str]:
    parts: list[str] = []
    for at, (name, colour) in enumerate(colours.items()):
        x = 12 + at * 90
        parts.append(f'<rect x="{x}" y="33" width="14" height="4" fill="{colour}"/>')
        parts.append(_text(x + 19, 40, name))
    return parts


def _drawn(panel: Panel, colours: Mapping[str, str], x_label: str, shaded: float) -> list[str]:
    title = f"{panel.title} ({panel.unit})" if panel.unit else panel.title
    parts = [_text(_LEFT, 16, title, size=12)]
    series = {name: [_log(point) for point in line] if panel.log else line for name, line in panel.series.items()}
    points = [point for line in series.values() for point in line]
    if not points:
        return [*parts, _text(_LEFT, _HEIGHT / 2, "not told by this system")]
    begin = min(x for x, _ in points) if panel.log else 0.0
    right = max(x for x, _ in points) or 1.0
    ticks = nice(min(y for _, y in points), max(y for _, y in points))
    low, high = ticks[0], ticks[-1]

    def across(x: float) -> float:
        return _LEFT + (x - begin) / ((right - begin) or 1.0) * (_WIDTH - _LEFT - _RIGHT)

    def up(y: float) -> float:
        return _HEIGHT - _BOTTOM - (y - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    if shaded:
        parts.append(
            f'<rect x="{_LEFT:g}" y="{_TOP:g}" width="{across(min(shaded, right)) - _LEFT:.1f}"'
            f' height="{_HEIGHT - _TOP - _BOTTOM:g}" fill="{_SHADE}"/>'
        )
    for tick in ticks:
        parts.append(_rule(_LEFT, up(tick), _WIDTH - _RIGHT))
        parts.append(_text(_LEFT - 5, up(tick) + 4, _factor(tick) if panel.log else f"{tick:.6g}", anchor="end"))
    for name, line in series.items():
        drawn = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in line)
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colours[name]}" stroke-width="1.4"/>')
    first, last = (10**begin, 10**right) if panel.log else (0.0, right)
    parts.append(_text(_LEFT, _HEIGHT - 10, f"{first:.6g}"))
    parts.append(_text(_WIDTH - _RIGHT, _HEIGHT - 10, f"{last:.6g} {x_label}", anchor="end"))
    return parts


def _factor(power: float) -> str:
    return f"{10**power:,.0f}" if power >= 1 else f"{10**power:.2g}"


def _log(point: Point) -> Point:
    x, y = point
    return math.log10(max(x, LOG_LEAST)), math.log10(max(y, LOG_LEAST))


def nice(low: float, high: float) -> list[float]:
    """Return round numbers, at least two, that enclose `low` and `high` in equal steps of 1, 2 or 5 times a ten."""
    if high - low <= abs(high) * 1e-9:
        return [low - 1.0, low, low + 1.0] if low else [0.0, 1.0]
    rough = (high - low) / _TICKS
    ten = 10.0 ** math.floor(math.log10(rough))
    step = next(ten * factor for factor in (1, 2, 5, 10) if ten * factor >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [number * step for number in range(first, last + 1)]


def _rule(left: float, y: float, right: float) -> str:
    return f'<line x1="{left:g}" y1="{y:.1f}" x2="{right:g}" y2="{y:.1f}" stroke="{_GRID}" stroke-width="1"/>'


def _text(x: float, y: float, text: str, *, size: int = 11, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'
