"""Show a run while it goes: repainted at a terminal, line by line elsewhere, as JSON for programs.

A `Display` takes events and ticks; it owns what is on the screen and decides nothing. At most ten redraws a second.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from cli import output
from cli.render import lines, summary
from cli.render.view import View, fold

_REDRAW_S = 0.12
_BEAT_S_MAX = 16.0  # plain output says it is alive after 1, 2, 4, 8, 16, 16, … seconds of silence


class Display(Protocol):
    """What a follower needs of a screen."""

    def begin(self, run: Mapping[str, Any]) -> None:
        """Show which run it is about."""
        ...

    def event(self, kind: str, data: Mapping[str, Any], *, past: bool) -> None:
        """Take an event in; one of the `past` is known, not news."""
        ...

    def tick(self) -> None:
        """Redraw if it is time."""
        ...

    def pause(self) -> None:
        """Leave the screen to somebody else; the next event takes it back."""
        ...

    def end(self, run: Mapping[str, Any]) -> None:
        """Show how the run stands now."""
        ...


def display(*, as_json: bool) -> Display:
    """Return the display that fits where standard output goes."""
    if as_json:
        return JsonDisplay()
    return LiveDisplay() if output.draws() else PlainDisplay()


class JsonDisplay:
    """One object a line: events with the key `event`, then the summary."""

    def begin(self, run: Mapping[str, Any]) -> None:
        """Say nothing; the events name the run."""

    def event(self, kind: str, data: Mapping[str, Any], *, past: bool) -> None:
        """Print the event."""
        if not past:
            output.say_json({"event": kind, **data})

    def tick(self) -> None:
        """Do nothing."""

    def pause(self) -> None:
        """Do nothing."""

    def end(self, run: Mapping[str, Any]) -> None:
        """Print the summary, the last line."""
        output.say_json(summary.for_program(run))


class PlainDisplay:
    """One line an event, and a sign of life on anything that lasts."""

    def __init__(self) -> None:
        self._view = View()
        self._quiet_since, self._beat_s = time.monotonic(), 1.0

    def begin(self, run: Mapping[str, Any]) -> None:
        """Print the run's id and task."""
        output.say(lines.one_line(f"run {run.get('run')}: {run.get('title')}"))
        output.say(lines.one_line(f"  {run.get('repo')} → {run.get('branch')}"))

    def event(self, kind: str, data: Mapping[str, Any], *, past: bool) -> None:
        """Print the event's line; a step that a restarted router passes through again is told once."""
        known = {step.name for step in self._view.steps if step.seconds is not None}
        again = kind.startswith("step.") and data.get("step") in known
        self._view = fold(self._view, kind, data)
        if past or again or kind == "state":
            return
        for line in lines.event_lines(self._view, kind, data, output.width()):
            output.say(line)
            self._quiet_since, self._beat_s = time.monotonic(), 1.0

    def tick(self) -> None:
        """Print a sign of life where nothing was said for a while."""
        if time.monotonic() - self._quiet_since < self._beat_s:
            return
        self._quiet_since, self._beat_s = time.monotonic(), min(self._beat_s * 2, _BEAT_S_MAX)
        line = lines.progress_line(self._view, time.time())
        if line:
            output.say(line)

    def pause(self) -> None:
        """Do nothing; lines stay where they are."""

    def end(self, run: Mapping[str, Any]) -> None:
        """Print how it stands."""
        for line in summary.ending_lines(run):
            output.say(line)


class LiveDisplay:
    """Finished steps go to the scrollback; what is under way is repainted below them."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False, no_color=not output.colours(), markup=False, emoji=False)
        self._view = View()
        self._live: Any = None
        self._drawn_s = 0.0
        self._printed: set[str] = set()

    def begin(self, run: Mapping[str, Any]) -> None:
        """Print the head."""
        from cli.render import screen

        self._console.print(screen.title(run, self._console.width))

    def event(self, kind: str, data: Mapping[str, Any], *, past: bool) -> None:
        """Take the event in; print what is finished."""
        self._view = fold(self._view, kind, data)
        if past:
            self._printed.update(step.name for step in self._view.steps if step.seconds is not None)
            return
        for news in self._news(kind, data):
            if self._live is not None:  # it is drawn again below the news, and must not be stale then
                self._live.update(self._block())
            self._console.print(news)

    def _news(self, kind: str, data: Mapping[str, Any]) -> list[Any]:
        """Return what goes to the scrollback for an event."""
        from cli.render import screen

        if kind == "step.finished" and str(data.get("step")) not in self._printed:
            step = next(step for step in self._view.steps if step.name == str(data.get("step")))
            self._printed.add(step.name)
            return [screen.finished(step, self._console.width)]
        if kind == "note":
            return [screen.note(*self._view.notes[-1])]
        if kind == "answer":
            return list(lines.event_lines(self._view, kind, data, self._console.width))
        return []

    def _block(self) -> Any:
        from cli.render import screen

        return screen.under_way(self._view, time.time(), self._console.width)

    def tick(self) -> None:
        """Repaint what is under way, ten times a second at most."""
        from rich.live import Live

        if time.monotonic() - self._drawn_s < _REDRAW_S:
            return
        self._drawn_s = time.monotonic()
        block = self._block()
        if self._live is None:
            self._live = Live(block, console=self._console, auto_refresh=False, transient=True)
            self._live.start(refresh=True)
        else:
            self._live.update(block, refresh=True)

    def pause(self) -> None:
        """Take the repainted block away."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def end(self, run: Mapping[str, Any]) -> None:
        """Print how it stands."""
        from cli.render import screen

        self.pause()
        self._console.print(screen.ending(run, summary.ending_lines(run)))
