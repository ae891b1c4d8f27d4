"""The picture of a soak: whole XML, every line in its panel, inside it, and round numbers beside it."""

import itertools
import xml.etree.ElementTree as ElementTree

import pytest

from bench.plot import Panel, nice, svg

SVG = "{http://www.w3.org/2000/svg}"


def test_every_panel_has_its_title_and_its_lines_inside_it() -> None:
    panels = [
        Panel(title="memory", unit="MiB", series={"router": [(0, 80), (10, 120)], "worker": [(0, 33), (10, 34)]}),
        Panel(title="journal", unit="MiB", series={"state": [(0, 0.0), (10, 3.5)]}),
    ]
    root = ElementTree.fromstring(svg("a <soak> & more", panels, x_label="runs", shaded=2))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"a <soak> & more", "memory (MiB)", "journal (MiB)", "router", "worker", "state", "10 runs"} <= {*texts}
    lines = list(root.iter(f"{SVG}polyline"))
    assert len(lines) == 3
    assert len({line.get("stroke") for line in lines}) == 3
    for line in lines:
        for point in (line.get("points") or "").split():
            x, y = map(float, point.split(","))
            assert 52 <= x <= 288
            assert 28 <= y <= 164


def test_a_figure_that_never_moves_and_one_that_is_not_told_are_drawn_all_the_same() -> None:
    panels = [
        Panel(title="children", unit="", series={"router": [(0, 0), (10, 0)]}),
        Panel(title="descriptors", unit="", series={"router": []}),
    ]
    root = ElementTree.fromstring(svg("still", panels, x_label="runs"))
    assert "not told by this system" in [text.text for text in root.iter(f"{SVG}text")]
    assert len(list(root.iter(f"{SVG}polyline"))) == 1


@pytest.mark.parametrize(
    ("low", "high", "first", "last"),
    [(0, 1, 0, 1), (33, 120, 0, 150), (5, 5, 4, 6), (0, 0, 0, 1), (0.013, 0.017, 0.012, 0.018), (-3, 8, -5, 10)],
)
def test_ticks_are_round_and_enclose_the_values(low: float, high: float, first: float, last: float) -> None:
    ticks = nice(low, high)
    assert (ticks[0], ticks[-1]) == (pytest.approx(first), pytest.approx(last))
    assert 2 <= len(ticks) <= 7
    steps = {round(right - left, 9) for left, right in itertools.pairwise(ticks)}
    assert len(steps) == 1
