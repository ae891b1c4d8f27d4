"""How far something long has come, on standard error: a bar at a terminal, a line each time elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Generator

from cli import output


@contextlib.contextmanager
def progress(total: int, noun: str) -> Generator[Callable[..., None]]:
    """Show how many of `total` are done, 0 where that is not known yet.

    What it yields is told how many are done, the last of them in words, and how many there are, where that was not known.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":

        def line(done: int, words: str, total: int | None = total) -> None:
            output.remark(f"{done} of {total} {noun}  {words}".rstrip())

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        MofNCompleteColumn(),
        TextColumn(noun),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    console = Console(stderr=True, no_color=bool(os.environ.get("NO_COLOR")), highlight=False)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total or None)

        def draw(done: int, words: str, total: int | None = total) -> None:
            bar.update(task, completed=done, total=total, description=words, refresh=True)

        yield draw
