"""Tables of plain text."""


def layout(rows: list[list[str]], align: str = "") -> str:
    raise NotImplementedError


def with_head(rows: list[list[str]], align: str = "") -> str:
    raise NotImplementedError
