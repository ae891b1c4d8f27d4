"""`tandem approve`, `reject`, `answer`: a person's answer, from any terminal, and then the rest of the run.

Which choice a yes or a no means depends on what the run asks; where it is not plain, the choice must be named.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from cli import output
from cli.ask import Person, checked_diff, draw_diff, parse_comment
from cli.commands.run import asker, follow
from cli.follow import Answer, decide
from cli.launch import ensure_router
from cli.params import RUN
from cli.render.diff import summary as diff_summary
from cli.render.lines import proof_lines
from cli.render.loose import items
from cli.render.summary import for_program
from cli.show import display
from tandem.errors import BadInput, Conflict, StaleApproval

if TYPE_CHECKING:
    from cli.client import Client

_YES = {"approve": "approve", "plan": "approve", "guard": "go on", "prepare": "allow"}
_NO = {"approve": "reject"} | dict.fromkeys(("plan", "guard", "prepare", "route", "dispute", "rounds"), "stop")

_detach = click.option("--detach", is_flag=True, help="Answer and leave; do not follow the run.")
_json = click.option("--json", "as_json", is_flag=True, help="Print events and, last, the summary: one object a line.")
_digest = click.option("--digest", metavar="D", help="Answer only if this is (the beginning of) the question's digest.")


@click.command()
@click.argument("run", type=RUN, default="latest")
@_digest
@_detach
@_json
def approve(run: str, digest: str | None, detach: bool, as_json: bool) -> int:
    """Say yes to what RUN asks. At a terminal the change is shown first; --digest says you have seen it."""
    client = ensure_router()
    found = _asking(client, run, digest)
    kind = str(found["question"]["kind"])
    began_s = time.time()
    if output.at_terminal() and not as_json and not digest:
        answer = Person().ask(client, found)
        if answer is None:
            output.remark(f"nothing was answered; run {found['run']} still waits")
            return 3
    else:
        if kind == "approve" and not as_json:
            _show_briefly(client, found)
        answer = Answer(choice=_choice(found, _YES))
    return _go_on(client, found, answer, began_s, detach=detach, as_json=as_json)


@click.command()
@click.argument("run", type=RUN, default="latest")
@click.option("--comment", "comments", multiple=True, metavar="PATH:LINE:TEXT", help="Send the coder back to a line.")
@click.option("--message", default="", help="Say why.")
@_digest
@_detach
@_json
def reject(run: str, comments: tuple[str, ...], message: str, digest: str | None, detach: bool, as_json: bool) -> int:
    """Say no to what RUN asks, which ends it; with --comment the coder gets another round instead."""
    client = ensure_router()
    found = _asking(client, run, digest)
    began_s = time.time()
    if comments:
        if "change" not in items(found["question"]["choices"]):
            raise BadInput(f"comments belong to a change; run {found['run']} asks: {_choices(found)}")
        answer = Answer(choice="change", text=message, comments=tuple(_comment(text) for text in comments))
    else:
        answer = Answer(choice=_choice(found, _NO), text=message)
    return _go_on(client, found, answer, began_s, detach=detach, as_json=as_json)


@click.command()
@click.argument("run", type=RUN)
@click.argument("choice")
@click.option("--text", default="", help="Words that go with the choice.")
@_digest
@_detach
@_json
def answer(run: str, choice: str, text: str, digest: str | None, detach: bool, as_json: bool) -> int:
    """Answer RUN's question with one of its choices; `tandem show RUN` lists them."""
    client = ensure_router()
    found = _asking(client, run, digest)
    allowed = [str(one) for one in items(found["question"]["choices"])]
    fitting = [one for one in allowed if one == choice] or [one for one in allowed if one.startswith(choice)]
    if len(fitting) != 1:
        raise BadInput(f"{choice!r} is not one of the choices of run {found['run']}: {_choices(found)}")
    return _go_on(client, found, Answer(choice=fitting[0], text=text), time.time(), detach=detach, as_json=as_json)


def _asking(client: Client, run: str, digest: str | None) -> dict[str, Any]:
    found = client.get(f"/v1/runs/{run}")
    question = found.get("question")
    if not question:
        raise Conflict(f"run {found['run']} asks nothing; it is {found['state']}")
    if digest and not str(question["digest"]).startswith(digest):
        raise StaleApproval(
            f"run {found['run']} asks about {question['digest'][:12]}, not {digest[:12]};"
            f" see `tandem show {found['run']}`"
        )
    return found


def _choice(found: Mapping[str, Any], meaning: Mapping[str, str]) -> str:
    question = found["question"]
    choice = meaning.get(str(question["kind"]), "")
    if choice not in items(question["choices"]):
        raise BadInput(
            f"run {found['run']} asks: {question['text']}\nname a choice, as in"
            f" `tandem answer {found['run']} CHOICE`: {_choices(found)}"
        )
    return choice


def _choices(found: Mapping[str, Any]) -> str:
    return ", ".join(repr(str(choice)) for choice in items(found["question"]["choices"]))


def _comment(typed: str) -> dict[str, Any]:
    comment = parse_comment(typed)
    if comment is None:
        raise BadInput(f"{typed!r} is not PATH:LINE:TEXT, as in 'src/app.py:12:handle the empty list'")
    return comment


def _show_briefly(client: Client, found: Mapping[str, Any]) -> None:
    rows = checked_diff(client, found)
    draw_diff(rows)
    for line in [*diff_summary(rows), *proof_lines(found["question"])]:
        output.say(f"  {line}")


def _go_on(
    client: Client, found: Mapping[str, Any], given: Answer, began_s: float, *, detach: bool, as_json: bool
) -> int:
    told = decide(client, found, given)
    if detach:
        output.say_json(for_program(told)) if as_json else output.say(f"{told['run']}: {given.choice}")
        return 0
    who = asker(no_input=as_json)
    return follow(client, told, display(as_json=as_json), who, since_s=began_s, owns=False, head=False)
