"""Draw docs/live-view.svg: the command's own screen over the recorded events of a rehearsal.

`TANDEM_REHEARSAL_TOKENS_S=120 tandem demo --json > docs/live-view.jsonl` makes the record anew;
`python docs/make_live_view.py` draws it.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from cli.render import screen  # noqa: E402 - after the path to it
from cli.render.view import View, fold  # noqa: E402 - as above

CELLS = 110
MOMENT = "code.2"  # the picture is taken while this step's persona speaks


def main() -> None:
    """Draw the picture."""
    lines = [json.loads(line) for line in (HERE / "live-view.jsonl").read_text("utf-8").splitlines()]
    events, summary = [line for line in lines if "event" in line], lines[-1]
    console = Console(record=True, width=CELLS, file=io.StringIO(), markup=False, highlight=False, emoji=False)
    console.print(screen.title({**summary, "repo": "~/" + Path(summary["repo"]).name}, CELLS))
    view, now_s = View(), 0.0
    for event in events:
        kind, data = str(event["event"]), {key: value for key, value in event.items() if key != "event"}
        view, now_s = fold(view, kind, data), float(data.get("at_s") or now_s)
        if kind == "step.finished":
            console.print(screen.finished(_step(view, str(data["step"])), CELLS))
        elif kind == "note":
            console.print(screen.note(*view.notes[-1]))
        if (kind, data.get("step")) == ("call.tokens", MOMENT):
            break
    console.print(screen.under_way(view, now_s, CELLS))
    title = "tandem demo — a rehearsal: no model was asked"
    console.save_svg(str(HERE / "live-view.svg"), title=title)


def _step(view: View, name: str) -> Any:
    return next(step for step in view.steps if step.name == name)


if __name__ == "__main__":
    main()
