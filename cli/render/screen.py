"""Draw a view with rich: finished steps as lines for the scrollback, what is under way as a small block to repaint.

Pure apart from importing rich, which is why nothing but a drawing command imports this. Words come from `lines`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from cli.render import diff as diffs
from cli.render.lines import (
    MARKS,
    call_line,
    check_good,
    check_line,
    failure_lines,
    hold_line,
    note_line,
    proof_lines,
    state_words,
    step_line,
    tail_line,
    tool_line,
)
from cli.render.text import clip, duration, one_line
from cli.render.view import REHEARSAL, Step, View

_SPIN = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_DIFF_STYLE = {
    "file": "bold",
    "meta": "dim",
    "hunk": "cyan",
    "same": "",
    "added": "green",
    "removed": "red",
}
_STATE_STYLE = {**dict.fromkeys(("merged", "delivered", "answered", "planned"), "bold green"), "failed": "bold red"}


def title(summary: Mapping[str, Any], cells: int) -> RenderableType:
    """Return the head of a run: its id, its task, where it works."""
    head = Text.assemble(("tandem ", "bold"), (one_line(str(summary.get("run", ""))), "bold cyan"))
    head.append("  " + clip(one_line(str(summary.get("title", ""))), max(cells - len(head) - 2, 10)))
    place = clip(f"  {one_line(str(summary.get('repo', '')))} → {one_line(str(summary.get('branch', '')))}", cells)
    return Group(head, Text(place, style="dim"))


def finished(step: Step, cells: int) -> RenderableType:
    """Return a finished step, with who worked and what the checks found."""
    spent = step.began_s + (step.seconds or 0.0)
    lines: list[Text] = [Text(clip(step_line(step, spent), cells), style="green")]
    lines += [Text(clip(f"    {call_line(call, spent)}", cells), style="dim") for call in step.calls]
    for check in step.checks:
        good = check_good(check)
        mark = MARKS["done" if good else "failed"]
        lines.append(Text(clip(f"    {mark} {check_line(check, spent)}", cells), style="green" if good else "yellow"))
        lines += [Text(f"        {line}", style="red") for line in failure_lines(check, cells - 8)]
    return Group(*lines)


def note(level: str, text: str) -> RenderableType:
    """Return a remark, loud if it is a warning."""
    return Text(note_line(level, text), style="yellow" if level in ("warning", "error") else "dim")


def under_way(view: View, now_s: float, cells: int) -> RenderableType:
    """Return the block that is repainted: the step at work, who speaks, the last words, and the foot."""
    lines: list[Text] = []
    for step in view.running:
        lines.append(Text(clip(step_line(step, now_s), cells), style="bold"))
        if step.calls:
            call = step.calls[-1]
            lines.append(Text(clip(f"    {call_line(call, now_s)}", cells), style="cyan"))
            if call.used:
                lines.append(
                    Text(clip(f"      {tool_line(call)}", cells), style="yellow" if call.used_failed else "dim")
                )
            if call.tail:
                lines.append(Text(f"      {tail_line(call, cells - 6)}", style="dim italic"))
        if step.checks:
            lines.append(Text(clip(f"    {check_line(step.checks[-1], now_s)}", cells), style="cyan"))
    if view.hold[0]:
        lines.append(Text(clip(f"  {hold_line(*view.hold)}", cells), style="bold yellow"))
    lines.append(foot(view, now_s, cells))
    return Group(*lines)


def foot(view: View, now_s: float, cells: int) -> Text:
    """Return the last line: a sign of life, the state, the time, and the rehearsal mark."""
    spin = _SPIN[int(now_s * 8) % len(_SPIN)]
    state = state_words(view.state, view.hold[0], view.before)
    words = f"{spin} {state} · {duration(now_s - view.began_s if view.began_s else 0)} · Ctrl-C stops"
    line = Text(clip(words, cells), style="dim")
    if view.rehearsed:
        line.append(f"  {REHEARSAL}", style="magenta")
    return line


def proof(question: Mapping[str, Any]) -> RenderableType:
    """Return what was proven about the change under decision."""
    lines = proof_lines(question)
    loud = any("NOT PROVEN" in line or "WITHOUT A SANDBOX" in line for line in lines)
    return Group(*(Text(line, style="bold yellow" if loud and at < 2 else "") for at, line in enumerate(lines)))


def diff(rows: Iterable[diffs.Row], cells: int) -> RenderableType:
    """Return a diff in colours."""
    return Group(*(Text(text, style=_DIFF_STYLE[kind]) for kind, text in diffs.lines(rows, cells)))


def ending(summary: Mapping[str, Any], lines: Iterable[str]) -> RenderableType:
    """Return how a run ended, in the colour of its state."""
    first, *rest = lines
    return Group(Text(first, style=_STATE_STYLE.get(str(summary.get("state")), "bold yellow")), *map(Text, rest))
