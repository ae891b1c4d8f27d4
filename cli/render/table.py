"""Draw plain tables: columns as wide as they need, in cells, so that Korean and Chinese align. Needs no library."""

from __future__ import annotations

from collections.abc import Sequence

from cli.render.text import cell_width, clip, one_line, pad

_GAP = "  "


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, width: int, grow: int) -> list[str]:
    """Return the lines of a table at most `width` cells wide; column `grow` gives way where it is too wide."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(cell_width(line[at]) for line in (list(head), *cells)) for at in range(len(head))]
    over = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    if over > 0:
        widths[grow] = max(8, widths[grow] - over)
    return [_line(line, widths) for line in (list(head), *cells)]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(pad(clip(cell, room), room) for cell, room in zip(cells, widths, strict=True)).rstrip()
