"""`tandem show`: one run, whole; its change; what was said to models in it; what its checks left."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import output
from cli.launch import ensure_router
from cli.params import RUN
from cli.render.summary import detail_lines, for_program
from tandem.errors import BadInput

if TYPE_CHECKING:
    from cli.client import Client


@click.command()
@click.argument("run", type=RUN, default="latest")
@click.option("--diff", "with_diff", is_flag=True, help="Show the change; its plain bytes where output is no terminal.")
@click.option("--calls", "with_calls", is_flag=True, help="Show what was said to models, and what they said.")
@click.option("--persona", metavar="NAME", help="With --calls or --export: only this one's.")
@click.option("--full", is_flag=True, help="With --calls: long messages whole.")
@click.option("--export", "export", type=click.Path(), metavar="FILE", help="Write the calls as JSONL; - for here.")
@click.option(
    "--artefacts", "artefacts", type=click.Path(), metavar="DIR", help="Write what its checks left (coverage, logs)."
)
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def show(
    run: str,
    with_diff: bool,
    with_calls: bool,
    persona: str | None,
    full: bool,
    export: str | None,
    artefacts: str | None,
    as_json: bool,
) -> None:
    """Show one run: how it stands, plan, calls, checks, question, report. RUN is an id, its beginning, or latest."""
    client = ensure_router()
    found = client.get(f"/v1/runs/{run}")
    if artefacts is not None:
        from cli.leavings import write

        write(client, found, Path(artefacts).expanduser(), as_json=as_json)
        return
    if with_calls or export is not None:
        calls = _calls(client, str(found["run"]), persona)
        _export(calls, export) if export is not None else _show_calls(calls, full=full, as_json=as_json)
        return
    raw = client.get_bytes(f"/v1/runs/{run}/diff") if with_diff else b""
    if as_json:
        shown = for_program(found)
        output.say_json({**shown, "diff": raw.decode("utf-8", "backslashreplace")} if with_diff else shown)
        return
    if with_diff:
        _show_diff(raw)
        return
    for line in detail_lines(found, output.width()):
        output.say(line)


def _show_diff(raw: bytes) -> None:
    if not output.draws():
        sys.stdout.buffer.write(raw)  # for `git apply`; a terminal gets it made visible instead
        sys.stdout.buffer.flush()
        return
    from cli.ask import page
    from cli.render.diff import parse

    page(parse(raw))


def _calls(client: Client, run: str, persona: str | None) -> list[Mapping[str, Any]]:
    rows = client.get_bytes(f"/v1/runs/{run}/calls").decode("utf-8", "replace").splitlines()
    calls: list[Mapping[str, Any]] = [json.loads(row) for row in rows if row]
    kept = [call for call in calls if persona in (None, call.get("persona"))]
    if not kept:
        whose = f" of the {persona}" if persona else ""
        raise BadInput(f"run {run} has no recorded calls{whose}; calls are kept from their run on, on this machine")
    return kept


def _show_calls(calls: list[Mapping[str, Any]], *, full: bool, as_json: bool) -> None:
    if as_json:
        output.say_json({"calls": calls})
        return
    from cli.render.calls import call_lines

    for line in call_lines(calls, output.width(), full=full):
        output.say(line)


def _export(calls: list[Mapping[str, Any]], target: str | None) -> None:
    text = "".join(json.dumps(call, ensure_ascii=False) + "\n" for call in calls)
    if target in (None, "-"):
        sys.stdout.buffer.write(text.encode("utf-8", "replace"))
        sys.stdout.buffer.flush()
        return
    file = Path(str(target)).expanduser()
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as opened:
            opened.write(text)
    except FileExistsError:
        raise BadInput(f"{file} exists; name another file for --export") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise BadInput(
            f"cannot write {str(target)!r}: {getattr(error, 'strerror', error)}; name another file for --export"
        ) from error
    output.remark(f"{len(calls)} calls written to {file}")
