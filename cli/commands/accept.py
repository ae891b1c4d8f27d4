"""`tandem accept`: measure on the real machines what only they can show, and write down how it stands to its target."""

from __future__ import annotations

import importlib
import json
import logging
import time
from pathlib import Path

import click

from cli import output
from cli.launch import ensure_router
from cli.progress import progress
from tandem.config import load, state_dir
from tandem.errors import BadInput

AREAS = ("doctor", "sandbox", "metal", "link", "team", "models")


@click.command()
@click.option(
    "--only", type=click.Choice(AREAS), multiple=True, help="Measure this alone; may be given more than once."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder for the two reports (the current one).",
)
@click.option("--minutes", type=click.FloatRange(0.1, 60), default=10.0, help="Stop measuring after so long (10).")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def accept(only: tuple[str, ...], out: Path, minutes: float, as_json: bool) -> int:
    """Measure this machine against its targets, in ten minutes, and write the result as JSON and as a page of Markdown.

    Ways out of the sandbox, the GPU, the way to paired workers, the demo, and how soon the configured models answer. Run
    it on each machine, with nothing else at work. Exits with 1 where a target was missed; what could not be measured is
    said, and is not a miss.
    """
    if not out.is_dir():
        raise BadInput(f"{out} is no folder; name one that is there with --out")
    logging.getLogger().addHandler(logging.NullHandler())  # the report has what goes wrong
    ensure_router()  # with its worker, which has the models
    with progress(len(AREAS), "areas") as tell:
        module = importlib.import_module("bench.accept.run")
        found = module.run(state_dir(), load(), only=only, budget_s=minutes * 60, tell=tell)
    report = importlib.import_module("bench.accept.report")
    stem = out / time.strftime("tandem-accept-%Y%m%d-%H%M%S")
    try:
        stem.with_suffix(".json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
        stem.with_suffix(".md").write_text(report.markdown(found), "utf-8")
    except OSError as error:
        raise BadInput(
            f"the reports could not be written to {out}: {error.strerror}; name another folder with --out"
        ) from error
    if as_json:
        output.say_json(found | {"files": [str(stem.with_suffix(".json")), str(stem.with_suffix(".md"))]})
    else:
        for line in report.lines(found):
            output.say(line)
        output.say(f"written to {stem}.json and {stem}.md")
    return 1 if found["counts"]["missed"] else 0
