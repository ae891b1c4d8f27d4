"""`tandem run`: hand a task to the team and follow it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import output
from cli.exits import ENDED, WAITING, exit_code
from cli.exits import HELP as EXIT_CODES
from cli.follow import Asker, Follower, Nobody, cancel
from cli.launch import ensure_router, spinner
from cli.render.lines import note_line
from cli.render.loose import items
from cli.render.summary import for_program
from cli.show import Display, display
from tandem.errors import BadInput, BadTask

if TYPE_CHECKING:
    from cli.client import Client

BATCH_PRIORITY = 5
_TASK_BYTES_MAX = 4 << 20  # what we read at most; the router's own limit is lower and says so


@click.command(epilog=EXIT_CODES)
@click.argument("task", required=False)
@click.option("--file", "file", type=click.Path(), metavar="F", help="Read the task from a file.")
@click.option("--plan", "plan", type=click.Path(), metavar="F", help="Carry out the plan in this file.")
@click.option("--repo", default=".", show_default="this folder", metavar="PATH", help="The repository to work on.")
@click.option("--base", metavar="REV", help="Start from this commit instead of the branch's tip.")
@click.option("--branch", metavar="NAME", help="Deliver on a new branch instead of merging.")
@click.option("--path", "path", metavar="FOLDER", help="Work in this part of the repository only.")
@click.option("--check", "check", metavar="CMD", help="The command that runs the tests; found by itself if not given.")
@click.option("--image", "images", multiple=True, metavar="FILE", help="A picture that belongs to the task.")
@click.option("--priority", type=click.IntRange(1, 10), metavar="N", help="From 1, which goes first, to 10; usually 1.")
@click.option(
    "--queue", "queue", is_flag=True, help="Hand it over for later, behind tasks of persons who wait, and leave."
)
@click.option("--max-minutes", type=float, metavar="N", help="Stop after so many minutes of work.")
@click.option("--yes", is_flag=True, help="Say yes to questions about the plan, packages and the change.")
@click.option("--no-input", is_flag=True, help="Ask nothing here; exit with 3 where a person is needed.")
@click.option("--detach", is_flag=True, help="Hand it over and leave.")
@click.option("--json", "as_json", is_flag=True, help="Print events and, last, the summary: one object a line.")
def run(task: str | None, file: str | None, plan: str | None, images: tuple[str, ...], **options: Any) -> int:
    """Give the team a task, in any language, and watch it: TASK is its text, or - for standard input.

    Ctrl-C asks the team to stop; `tandem resume RUN` goes on later.
    """
    body: dict[str, Any] = {
        **({"text": task_text(task, file)} if plan is None else _planned(task, file, plan)),
        "repo": str(repository_path(options["repo"])),
        "images": [str(_picture(image)) for image in images],
        **{key: options[key] for key in ("base", "branch", "path", "check", "priority", "max_minutes", "yes")},
    }
    if options["queue"] and body["priority"] is None:
        body["priority"] = BATCH_PRIORITY
    body = {key: value for key, value in body.items() if value is not None}
    screen = display(as_json=options["as_json"])
    client = ensure_router()
    told = submit(client, body, options["as_json"])
    if options["detach"] or options["queue"]:
        output.say_json(for_program(told)) if options["as_json"] else output.say(str(told["run"]))
        if told.get("before"):
            output.remark(f"{told['before']} before it; `tandem runs` says how it stands")
        return 0
    return follow(client, told, screen, asker(no_input=options["no_input"] or options["as_json"]))


def submit(client: Client, body: Mapping[str, Any], as_json: bool) -> dict[str, Any]:
    """Hand a task over and return the run's summary; what the person should know is told."""
    try:
        with spinner("the router is getting ready"):
            told = client.post("/v1/runs", body)
    except KeyboardInterrupt:
        output.remark("`tandem runs` says whether the task was taken on")
        raise
    for note in items(told.pop("notes", None)):
        output.remark(note_line("warning", str(note)))
        if as_json:
            output.say_json({"event": "note", "run": told["run"], "level": "warning", "text": note})
    return told


def asker(*, no_input: bool) -> Asker:
    """Return who answers questions here: the person, if there is one and may be asked."""
    if no_input or not output.at_terminal():
        return Nobody()
    from cli.ask import Person

    return Person()


def follow(
    client: Client,
    run: Mapping[str, Any],
    screen: Display,
    who: Asker,
    *,
    since_s: float = 0.0,
    owns: bool = True,
    head: bool = True,
) -> int:
    """Follow a run, say how it stands at the end, and return the exit code.

    Where this command `owns` the run, Ctrl-C stops the run too; elsewhere it only leaves.
    """
    run_id = str(run["run"])
    try:
        if head:
            screen.begin(run)
        end = Follower(client, run_id, screen, who, since_s=since_s).to_the_end()
    except KeyboardInterrupt:
        screen.pause()
        return _interrupted(client, run_id, screen) if owns else 130
    screen.end(end)
    if end["state"] not in ENDED:
        output.remark(f"run {run_id} waits for a person: `tandem approve {run_id}` goes on with it")
        return WAITING
    return exit_code(str(end["state"]))


def _interrupted(client: Client, run_id: str, screen: Display) -> int:
    """Ask the router to stop the run; a second Ctrl-C leaves at once."""
    output.remark("stopping …")
    try:
        end = cancel(client, run_id)
    except KeyboardInterrupt:
        output.remark(f"left; `tandem cancel {run_id}` stops the run, `tandem watch {run_id}` watches it")
        os._exit(130)
    if end is None:
        output.remark(f"the run did not stop in time; `tandem cancel {run_id}` asks again")
        return 130
    screen.end(end)
    if end["state"] == "cancelled":
        output.remark(f"cancelled; `tandem resume {run_id}` goes on with it")
        return 130
    return exit_code(str(end["state"]))


def _planned(task: str | None, file: str | None, plan: str) -> dict[str, str]:
    """Return what is handed over where a plan is to be carried out: it brings its task along."""
    if task is not None or file is not None:
        raise BadInput("a plan brings its task along; leave TASK and --file out, or write into the plan")
    return {"text": "", "plan": task_text(None, plan)}


def task_text(task: str | None, file: str | None) -> str:
    """Return the task's words, from the argument, a file or standard input.

    Raises:
        BadTask: There are none, or they are no text.
        BadInput: Both a text and a file were given, or the file cannot be read.
    """
    if (task is None) == (file is None):
        raise BadInput("give the task as TASK, as - for standard input, or with --file, and only once")
    try:
        if file is not None:
            with Path(file).open("rb") as opened:
                raw = opened.read(_TASK_BYTES_MAX)
        elif task == "-":
            raw = sys.stdin.buffer.read(_TASK_BYTES_MAX)
        else:
            raw = os.fsencode(task or "")
    except OSError as error:
        raise BadInput(f"cannot read the task from {file or 'standard input'}: {error.strerror}") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadTask(f"the task is no UTF-8 text (byte {error.start}); save it as UTF-8") from error
    if not text.strip():
        raise BadTask("the task is empty; say what you want done")
    return text


def repository_path(path: str) -> Path:
    """Return the absolute path of a folder that is there.

    Raises:
        BadInput: It is not.
    """
    found = Path(path).expanduser().absolute()
    if not found.exists():
        raise BadInput(f"there is no folder {path!r}; --repo names the repository to work on")
    return found


def _picture(path: str) -> Path:
    found = Path(path).expanduser().absolute()
    if not found.is_file():
        raise BadInput(f"there is no picture {path!r}")
    return found
