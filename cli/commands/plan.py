"""`tandem plan`: from a task or an issue to a plan as a document; nothing else is touched.

The document goes to standard output or into a file. Everything beside it, questions too, goes to standard error.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import output
from cli.commands.run import follow, repository_path, submit, task_text
from cli.exits import HELP as EXIT_CODES
from cli.exits import exit_code
from cli.follow import Answer
from cli.launch import ensure_router
from cli.params import RUN
from cli.render.loose import text
from cli.render.text import visible
from cli.show import display
from tandem.errors import BadInput, Conflict

if TYPE_CHECKING:
    from cli.client import Client


class Lead:
    """Answers for a plan: the person where there is one; where there is none, the suggestions stand."""

    def __init__(self, *, here: bool) -> None:
        self._here = here

    def ask(self, client: Client, run: Mapping[str, Any]) -> Answer | None:
        """Return the person's answer; without a person, only a plan is let pass."""
        if self._here:
            from cli.ask import Person

            return Person().ask(client, run)
        return Answer(choice="approve") if run["question"].get("kind") == "plan" else None


@click.command(epilog=EXIT_CODES)
@click.argument("task", required=False)
@click.option("--issue", type=click.IntRange(1), metavar="N", help="Plan this issue of the repository, read with `gh`.")
@click.option("--file", "file", type=click.Path(), metavar="F", help="Read the task or issue from a file.")
@click.option("--run", "run", type=RUN, metavar="RUN", help="Show the plan that this run made.")
@click.option("--repo", default=".", show_default="this folder", metavar="PATH", help="The repository it is about.")
@click.option("--base", metavar="REV", help="Plan for this commit instead of the branch's tip.")
@click.option("--path", "path", metavar="FOLDER", help="Plan for this part of the repository only.")
@click.option("--check", "check", metavar="CMD", help="The command that runs the tests; found by itself if not given.")
@click.option("--out", type=click.Path(), metavar="FILE", help="Write the plan here instead of to standard output.")
@click.option("--force", is_flag=True, help="Let --out replace a file that is there.")
@click.option("--max-minutes", type=float, metavar="N", help="Stop after so many minutes of work.")
@click.option("--yes", is_flag=True, help="Ask nothing: the suggestions stand, and the router's choices too.")
@click.option("--no-input", is_flag=True, help="Ask nothing: the suggestions stand; exit with 3 if a guard asks.")
@click.option("--json", "as_json", is_flag=True, help="Print events and, last, the summary with the `document`.")
def plan(task: str | None, issue: int | None, file: str | None, run: str | None, **options: Any) -> int:
    """Have a plan written: options, steps, risks, scenarios, and a checklist for you. TASK is a text, or - for stdin.

    Nothing is changed: no commit, no branch, no pull request. `tandem run --plan FILE` carries the plan out.
    """
    if sum(given is not None for given in (task, issue, file, run)) != 1:
        raise BadInput("name one thing to plan: TASK, --issue N or --file F; or --run RUN for a plan that was made")
    out = _target(options["out"], force=options["force"])
    as_json = bool(options["as_json"])
    with _beside_the_result(as_json):
        client, told, code = _made(run) if run else _make(task, issue, file, options)
    if code == 0:
        _give(text(client.get(f"/v1/runs/{told}"), "document"), out, told, as_json=as_json, force=options["force"])
    return code


def _make(task: str | None, issue: int | None, file: str | None, options: Mapping[str, Any]) -> tuple[Client, str, int]:
    """Have the team make a plan; return who can tell it, the run and the exit code."""
    repo, as_json = repository_path(options["repo"]), bool(options["as_json"])
    if issue is not None:
        from cli.issues import issue_text

        words = issue_text(issue, repo)
    else:
        words = task_text(task, file)
    given = {key: options[key] for key in ("base", "path", "check", "max_minutes", "yes") if options[key] is not None}
    screen, client = display(as_json=as_json), ensure_router()
    told = submit(client, {"text": words, "repo": str(repo), "plan_only": True, **given}, as_json)
    here = not (options["no_input"] or as_json) and output.at_terminal()
    code = follow(client, told, screen, Lead(here=here))
    return ensure_router(), str(told["run"]), code


def _made(run: str) -> tuple[Client, str, int]:
    """Return who can tell the plan of an earlier run, the run and the exit code.

    Raises:
        Conflict: That run has made no plan as a document.
    """
    client = ensure_router()
    found = client.get(f"/v1/runs/{run}")
    if not text(found, "document"):
        raise Conflict(f"run {found['run']} is {found['state']} and has no plan as a document; `tandem plan` makes one")
    return client, str(found["run"]), exit_code("planned")


@contextlib.contextmanager
def _beside_the_result(as_json: bool) -> Generator[None]:
    """Send what is said meanwhile to standard error, so that the result stands alone; JSON is the result."""
    with contextlib.nullcontext() if as_json else contextlib.redirect_stdout(sys.stderr):
        yield


def _target(out: str | None, *, force: bool) -> Path | None:
    """Return the file to write, after seeing that it can be; before any work is done for it.

    Raises:
        BadInput: It is there already, or its folder is not.
    """
    if out is None:
        return None
    path = Path(out).expanduser().absolute()
    if path.is_dir() or not path.parent.is_dir():
        raise BadInput(f"the plan cannot be written to {out!r}; name a file in a folder that is there")
    if path.exists() and not force:
        raise _there(path)
    return path


def _there(path: Path) -> BadInput:
    return BadInput(f"{str(path)!r} is there already; name another file, or --force to replace it")


def _give(document: str, out: Path | None, run: str, *, as_json: bool, force: bool) -> None:
    if out is not None:
        try:
            with out.open("w" if force else "x", encoding="utf-8") as opened:
                opened.write(document)
        except FileExistsError:
            raise _there(out) from None
        except OSError as error:
            words = f"cannot write {str(out)!r}: {error.strerror}; `tandem plan --run {run} --out FILE` tries again"
            raise BadInput(words) from error
        output.remark(f"the plan is in {out}; `tandem run --plan {out}` carries it out")
    elif not as_json:
        output.say((visible(document, keep="\n") if output.draws() else document).rstrip("\n"))
