"""`tandem demo`: the whole way of a task on a sample repository, where only the replies are a script.

Takes the same way as `tandem run`; the one difference is that the demo answers the questions, and says so.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import click

from cli import output, stage
from cli.ask import checked_diff, show_question
from cli.client import Client
from cli.commands.run import follow
from cli.commands.verify import prove, result_line, telling
from cli.follow import Answer
from cli.launch import ensure_router, spinner
from cli.render.loose import items, mapping, objects, text
from cli.render.summary import for_program, report_lines
from cli.render.text import duration, visible
from cli.show import Display, JsonDisplay, display
from cli.shutdown import shut_down
from tandem.errors import BadConfig, TandemError, Unavailable

WORDS = "a rehearsal: the replies are a script, everything else is real"
_TOKENS_S = 120.0  # at a terminal; a person wants to see them come
_WORKER_S = 30.0
_ANSWERS = {
    "approve": "approve",
    "plan": "approve",
    "guard": "go on",
    "route": "code medium",
    "prepare": "allow",
    "dispute": "the tests are right",
    "rounds": "stop",
}


class Stagehand:
    """Answers the run's questions in the person's place, aloud."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def ask(self, client: Client, run: Mapping[str, Any]) -> Answer | None:
        """Answer as a lead who trusts the proof would."""
        question: Mapping[str, Any] = run["question"]
        choice = _ANSWERS[str(question["kind"])]
        if not self._quiet:
            show_question(client, run)
            output.say(f"  the demo answers in your place: {choice}")
        elif question["kind"] == "approve":
            checked_diff(client, run)
        return Answer(choice=choice)


class _Events(JsonDisplay):
    """Events only: the demo's own last line follows."""

    def end(self, run: Mapping[str, Any]) -> None:
        """Leave the last line to the demo."""


@click.command()
@click.option("--script", default="good", show_default=True, metavar="good|wrong|FILE", help="The replies to play.")
@click.option("--keep", type=click.Path(), metavar="DIR", help="Work in this new folder and leave it there.")
@click.option("--json", "as_json", is_flag=True, help="Print events and, last, the summary; the folder stays.")
def demo(script: str, keep: str | None, as_json: bool) -> int:
    """Watch the team take a task through plan, failing tests, code, review, proof and merge.

    A rehearsal: the replies are a script, everything else is real. Exits with 0 if the commit was merged and verified.
    """
    began = time.monotonic()
    set_up = stage.build(stage.script_file(script), Path(keep).expanduser() if keep else None)
    kept = bool(keep) or as_json
    say = output.remark if as_json else output.say
    say(f"tandem demo: {WORDS}")
    try:
        with _on(set_up, tokens_s=_pace(as_json)):
            code, told = _play(set_up, as_json)
    finally:
        if kept:
            output.remark(f"kept: {set_up.folder}")
        else:
            shutil.rmtree(set_up.folder, ignore_errors=True)
    if as_json:
        output.say_json(told)
    else:
        words = "merged and verified" if told["verified"] else f"ended as '{told['state']}', nothing was merged"
        output.say(f"{words}, in {duration(time.monotonic() - began)}; {WORDS}")
    return code


def _play(set_up: stage.Stage, as_json: bool) -> tuple[int, dict[str, Any]]:
    """Run the task and prove what came of it; return the exit code and the summary."""
    client = ensure_router()
    screen: Display = _Events() if as_json else display(as_json=False)
    bare = not _has_sandbox(client)  # the sample's code is ours; nothing else may go without
    body = {"text": stage.task_text(), "repo": str(set_up.repo), "unsandboxed": bare}
    with spinner("the router is getting ready"):
        run = client.post("/v1/runs", body)
    code = follow(client, run, screen, Stagehand(quiet=as_json))
    end = client.get(f"/v1/runs/{run['run']}")
    verified = end["state"] == "merged" and _verify(client, set_up, str(end["commit"]), as_json, bare=bare)
    if not as_json and end["state"] == "merged":
        _show_merged(set_up, end)
    if code == 0 and not verified:
        code = 1
    return code, {**for_program(end), "verified": verified}


def _verify(client: Client, set_up: stage.Stage, commit: str, as_json: bool, *, bare: bool) -> bool:
    """Prove the merged commit again on a clean clone."""
    if not as_json:
        output.say("verifying on a clean clone, without the notes")
    try:
        result = prove(
            client, str(stage.clone(set_up)), commit, unsandboxed=bare, progress=telling("verify.progress", as_json)
        )
    except TandemError as error:
        output.remark(f"not verified: {error.message}")
        return False
    if not as_json:
        output.say(result_line(result))
    return result["verdict"] == "holds"


def _show_merged(set_up: stage.Stage, end: Mapping[str, Any]) -> None:
    for title, lines in (
        ("the branch now", visible(stage.git(set_up.repo, "log", "--oneline", "-5"), keep="\n").splitlines()),
        ("the commit", visible(stage.git(set_up.repo, "log", "-1", "--format=%B"), keep="\n").splitlines()),
        ("the report", report_lines(mapping(end.get("report")), output.width() - 2)),
    ):
        output.say(f"\n{title}")
        for line in lines:
            output.say(f"  {line}".rstrip())
    output.say()


def _has_sandbox(client: Client) -> bool:
    """Return whether a sandbox works here, once the worker has said so."""
    with spinner("the worker is getting ready"):
        client.get("/v1/runs")  # answered when the router is ready
        until = time.monotonic() + _WORKER_S
        while True:
            found = client.get("/v1/status", read_s=15)
            nodes = objects(found.get("nodes"))
            if nodes:
                return any(text(node, "sandbox") for node in nodes)
            if time.monotonic() > until:
                break
            time.sleep(0.1)
    why = "; ".join(map(str, items(found.get("trouble")))) or "`tandem doctor` looks for the cause"
    raise Unavailable(f"no worker came up within {_WORKER_S:.0f} s: {why}")


def _pace(as_json: bool) -> float:
    """Return tokens a second: what the variable says, else a pace for eyes, else as fast as it goes."""
    wish = os.environ.get("TANDEM_REHEARSAL_TOKENS_S")
    if wish is None:
        return 0.0 if as_json or not output.draws() else _TOKENS_S
    try:
        return max(float(wish), 0.0)
    except ValueError:
        raise BadConfig(f"TANDEM_REHEARSAL_TOKENS_S is {wish!r}; it must be a number of tokens a second") from None


@contextlib.contextmanager
def _on(set_up: stage.Stage, *, tokens_s: float) -> Generator[None]:
    """Have a private environment inside the block, and no router of it left afterwards."""
    before = dict(os.environ)
    for key in list(os.environ):
        if key.startswith("TANDEM_") and key != "TANDEM_FAULT":
            del os.environ[key]
    os.environ.update(set_up.env(tokens_s))
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, _leave)
    try:
        yield
    finally:
        try:
            _strike()
        finally:
            os.environ.clear()
            os.environ.update(before)


def _leave(number: int, frame: object) -> None:
    """Leave by way of every `finally`: a closed terminal must not leave the demo's router behind."""
    del frame
    sys.exit(128 + number)


def _strike() -> None:
    """Stop the demo's router and, with it, its worker: the router holds the pipe its worker lives by."""
    try:
        shut_down()
    except TandemError as error:
        output.remark(f"the demo's router is still there: {error.message}")
