"""`tandem verify`: establish a commit's proof anew, with no word of a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import output
from cli.launch import ensure_router, spinner
from cli.render.text import one_line
from tandem.errors import Unavailable, revive

if TYPE_CHECKING:
    from cli.client import Client

GOOD = ("holds", "unproven")  # "unproven": documentation only, and nothing that passed before is broken


@click.command()
@click.argument("commit", default="HEAD", metavar="COMMIT|RANGE")
@click.option("--repo", default=".", show_default="this folder", metavar="PATH", help="Any clone that has the commit.")
@click.option("--prepare", is_flag=True, help="Allow installing the packages the tests need.")
@click.option("--json", "as_json", is_flag=True, help="Print progress and, last, the result: one object a line.")
def verify(commit: str, repo: str, prepare: bool, as_json: bool) -> int:
    """Prove COMMIT again: its tests must fail on its base and pass on itself, and their twins must fail.

    A range such as main..topic is proven commit by commit. Exits with 0 where the proof holds (or a commit is
    documentation and says so), else with 1: also where a person merged it without a proof.
    """
    client, tell = ensure_router(), telling("progress", as_json)
    result = prove(client, str(Path(repo).expanduser().absolute()), commit, prepare=prepare, progress=tell)
    if as_json:
        output.say_json(result)
    else:
        output.say(range_line(result) if "commits" in result else result_line(result))
    return 0 if result["verdict"] in GOOD else 1


def prove(
    client: Client,
    repo: str,
    commit: str,
    *,
    prepare: bool = False,
    unsandboxed: bool = False,
    progress: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Return the router's result for a commit, telling `progress` on the way.

    Raises:
        TandemError: What the router told instead of a result.
    """
    body: dict[str, Any] = {"repo": repo, "commit": commit, "prepare": prepare, "unsandboxed": unsandboxed}
    stream = client.open_stream("/v1/verify", body=body)
    try:
        for kind, data in _told(stream):
            if kind == "result":
                return data
            if kind == "error":
                raise revive(str(data.get("class")), str(data.get("message")))
            progress(data)
    finally:
        stream.close()
        stream.release()
    raise Unavailable(f"the router left before it was done with {commit}; ask again")


def _told(stream: Any) -> Any:
    events = iter(stream)
    while True:
        with spinner("working"):
            event = next(events, None)
        if event is None:
            return
        yield event.kind, event.data


def telling(event: str, as_json: bool) -> Callable[[dict[str, Any]], None]:
    """Return what says how far a proof is, as a line or as an object named `event`."""

    def tell(data: dict[str, Any]) -> None:
        if as_json:
            output.say_json({"event": event, **data})
        else:
            output.say(f"  {progress_line(data)}")

    return tell


def progress_line(data: dict[str, Any]) -> str:
    """Return a line for one progress event."""
    if "commit" in data:
        return result_line(data)
    if "verdict" not in data:
        return one_line(str(data.get("message") or data.get("stage") or ""))
    found = f"{data.get('passed', 0)} passed, {data.get('failed', 0)} failed"
    return one_line(f"{data.get('stage')}: {found}" + (f" ({data['reason']})" if data.get("reason") else ""))


def range_line(result: dict[str, Any]) -> str:
    """Return the verdict on a range in one line."""
    mark = "✓" if result["verdict"] in GOOD else "✗"
    return f"{mark} {result['verdict']}  {one_line(str(result['range']))}: {one_line(str(result['reason']))}"


def result_line(result: dict[str, Any]) -> str:
    """Return the verdict in one line."""
    mark = "✓" if result["verdict"] == "holds" else "✗" if result["verdict"] not in GOOD else "·"
    reason = f": {result['reason']}" if result.get("reason") else ""
    return f"{mark} {result['verdict']}  commit {one_line(str(result['commit']))[:12]}{one_line(reason)}"
