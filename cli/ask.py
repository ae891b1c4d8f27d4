"""Put a run's question to the person at the terminal: show what it rests on, then read one choice.

The question's own words come from the run, in the task's language. For an approval the diff's bytes are fetched and
hashed here: what is shown is what is answered, or nothing is answered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from cli import output
from cli.checklist import ask_all, checklist_of
from cli.client import Client
from cli.follow import Answer
from cli.render import diff as diffs
from cli.render import summary
from cli.render.lines import proof_lines
from cli.render.loose import items, text
from cli.render.text import one_line
from tandem.errors import StaleApproval
from tandem.types import OVERRIDE

INLINE_ROWS = 200  # a longer diff is shown in part, and not approved unseen
_WORDS_FOR = frozenset(("change", "reject", "more", "the tests are right", "the coder is right", OVERRIDE))
_RESERVED = {"approve": "cdq"}  # keys of our own, beside the choices' first letters


class Person:
    """The one at this terminal."""

    def ask(self, client: Client, run: Mapping[str, Any]) -> Answer | None:
        """Return the person's answer, or None where the person leaves the run waiting."""
        question: Mapping[str, Any] = run["question"]
        rows, unseen = show_question(client, run), False
        unseen = len(rows) > INLINE_ROWS
        comments: list[dict[str, Any]] = []
        keys = choice_keys(question)
        while True:
            typed = _read(_prompt(question, keys, len(comments)))
            if typed is None or typed in ("q", "quit"):
                return None
            if question.get("kind") == "approve" and typed in ("d", "diff"):
                page(rows)
                unseen = False
            elif question.get("kind") == "approve" and (typed == "c" or typed.startswith("c ")):
                comments += read_comments(typed[1:].strip(), rows)
            elif (choice := keys.get(typed)) is not None:
                if choice == "approve" and unseen and not _sure("you have not seen the whole diff; approve it anyway?"):
                    continue
                if choice == "approve" and comments and not _sure("approve, and drop your comments?"):
                    continue
                items = checklist_of(question) if choice == "approve" else []
                words = ask_all(items, _read) if items else ""
                return None if words is None else _answer(choice, comments, words)
            else:
                output.say(f"  '{one_line(typed)}' is none of the choices")


def _answer(choice: str, comments: list[dict[str, Any]], words: str = "") -> Answer:
    words = (_read("  in your words (Enter for none): ") or "") if choice in _WORDS_FOR else words
    kept = tuple(comments) if choice in ("change", "reject") else ()
    return Answer(choice=choice, text=words, comments=kept)


def choice_keys(question: Mapping[str, Any]) -> dict[str, str]:
    """Return what may be typed for each choice: its word, and its first letter where that is free, else a number."""
    reserved = _RESERVED.get(text(question, "kind"), "q")
    keys: dict[str, str] = {}
    for at, choice in enumerate(map(str, items(question.get("choices"))), start=1):
        first = next((c for c in choice.lower() if c.isalpha() and c not in keys and c not in reserved), "")
        short = first if first == choice[:1].lower() else str(at)
        keys |= {short: choice, choice: choice}
    return keys


def _prompt(question: Mapping[str, Any], keys: Mapping[str, str], comments: int) -> str:
    shown = [_keyed(key, one_line(choice)) for key, choice in keys.items() if key != choice]
    if question.get("kind") == "approve":
        count = f" ({comments})" if comments else ""
        shown += [f"[c]omment on a line{count}", "[d]iff again"]
    return ", ".join([*shown, "[q]uit and leave it waiting"]) + " > "


def _keyed(key: str, choice: str) -> str:
    return f"[{key}]{choice[1:]}" if choice[:1].lower() == key else f"[{key}] {choice}"


def show_question(client: Client, run: Mapping[str, Any]) -> list[diffs.Row]:
    """Show a run's question with all it rests on; return the rows of the diff under decision.

    Raises:
        StaleApproval: The diff is not the one the question is about.
    """
    question: Mapping[str, Any] = run["question"]
    rows: list[diffs.Row] = []
    if question.get("kind") == "approve":
        rows = checked_diff(client, run)
        draw_diff(rows[:INLINE_ROWS])
        if len(rows) > INLINE_ROWS:
            output.say(f"  … {len(rows) - INLINE_ROWS} more lines; [d] shows all")
        for line in [*diffs.summary(rows), *proof_lines(question)]:
            output.say(f"  {line}")
    for line in summary.question_lines(question):
        output.say(line)
    return rows


def checked_diff(client: Client, run: Mapping[str, Any]) -> list[diffs.Row]:
    """Return the rows of the diff under decision, after its bytes were found to be the question's.

    Raises:
        StaleApproval: They are not.
    """
    raw = client.get_bytes(f"/v1/runs/{run['run']}/diff")
    digest = text(run["question"], "digest")
    found = hashlib.sha256(raw).hexdigest()
    if found != digest:
        raise StaleApproval(
            f"run {run['run']} asks about a diff {digest[:12]} and shows {found[:12]}; nothing was answered."
            f" See `tandem show {run['run']}`"
        )
    return diffs.parse(raw)


def draw_diff(rows: list[diffs.Row]) -> None:
    """Draw a diff: in colours where the terminal has them."""
    if not output.draws():
        for _, line in diffs.lines(rows, output.width()):
            output.say(line)
        return
    from rich.console import Console

    from cli.render import screen

    console = Console(highlight=False, no_color=not output.colours(), markup=False, emoji=False)
    console.print(screen.diff(rows, console.width))


def page(rows: list[diffs.Row]) -> None:
    """Show a whole diff, through the pager where it is longer than the screen."""
    import shutil

    import click

    drawn = diffs.lines(rows, output.width())
    if len(drawn) < shutil.get_terminal_size().lines - 2:
        draw_diff(rows)
        return
    colour = {"hunk": "cyan", "added": "green", "removed": "red"}
    coloured = (click.style(line, fg=colour.get(kind), bold=kind == "file") for kind, line in drawn)
    click.echo_via_pager((f"{line}\n" for line in coloured), color=output.colours())


def read_comments(first: str, rows: list[diffs.Row]) -> list[dict[str, Any]]:
    """Read comments `PATH:LINE: TEXT` until an empty line."""
    found: list[dict[str, Any]] = []
    typed: str | None = first
    if not typed:
        output.say("  PATH:LINE: TEXT, one a line; an empty line ends it")
        typed = _read("  > ")
    while typed:
        comment = parse_comment(typed)
        known = {change.path for change in diffs.files(rows)}
        if comment is None:
            output.say("  that is not PATH:LINE: TEXT, as in src/app.py:12: handle the empty list")
        elif known and comment["path"] not in known:
            output.say(f"  the diff has no file '{one_line(comment['path'])}'; it has {', '.join(sorted(known))}")
        else:
            found.append(comment)
        typed = _read("  > ")
    return found


def parse_comment(typed: str) -> dict[str, Any] | None:
    """Return a comment written as `PATH:LINE:TEXT`, or None where it is none."""
    import re

    match = re.fullmatch(r"(?s)(.+?):(\d{1,9}):\s*(\S.*)", typed.strip())
    return {"path": match[1], "line": int(match[2]), "text": match[3]} if match else None


def _sure(words: str) -> bool:
    return (_read(f"  {words} [y/N] ") or "").lower() in ("y", "yes")


def _read(prompt: str) -> str | None:
    """Return what was typed, without blanks around it; None at the end of input."""
    try:
        return input(prompt).strip()
    except EOFError:
        output.say()
        return None
