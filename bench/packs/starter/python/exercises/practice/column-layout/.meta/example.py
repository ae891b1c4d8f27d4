"""Tables of plain text."""

_GAP = "  "


def layout(rows: list[list[str]], align: str = "") -> str:
    filled, widths = _measured(rows)
    return _set(filled, widths, align)


def with_head(rows: list[list[str]], align: str = "") -> str:
    filled, widths = _measured(rows)
    rule = ["-" * width for width in widths]
    return _set([*filled[:1], rule, *filled[1:]] if filled else [], widths, align)


def _measured(rows: list[list[str]]) -> tuple[list[list[str]], list[int]]:
    columns = len(rows[0]) if rows else 0
    for row in rows:
        if len(row) > columns:
            raise ValueError(f"a row has {len(row)} cells, and the first has {columns}")
        if any("\n" in cell for cell in row):
            raise ValueError("a cell holds a line break")
    filled = [[*row, *[""] * (columns - len(row))] for row in rows] if columns else []
    return filled, [max(len(row[at]) for row in filled) for at in range(columns)]


def _set(rows: list[list[str]], widths: list[int], align: str) -> str:
    if len(align) > len(widths) or set(align) - set("lrc"):
        raise ValueError(f"the alignment {align!r} does not fit {len(widths)} columns of l, r or c")
    sides = align.ljust(len(widths), "l")
    lines = (_GAP.join(_placed(*cell) for cell in zip(row, widths, sides, strict=True)) for row in rows)
    return "\n".join(line.rstrip(" ") for line in lines)


def _placed(cell: str, width: int, side: str) -> str:
    if side == "r":
        return cell.rjust(width)
    if side == "c":
        return (" " * ((width - len(cell)) // 2) + cell).ljust(width)
    return cell.ljust(width)
