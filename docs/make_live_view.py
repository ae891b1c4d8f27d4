"""Draw docs/live-view.svg: the command's own screen over the recorded events of a rehearsal.

`python docs/make_live_view.py` draws it from docs/live-view.jsonl. To make that record anew:
`TANDEM_REHEARSAL_TOKENS_S=120 tandem demo --json | python docs/make_live_view.py record`.
"""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

HERE = Path(__file__).resolve().parent
RECORD = HERE / "live-view.jsonl"
sys.path.insert(0, str(HERE.parent))

from cli.render import screen  # noqa: E402 - after the path to it
from cli.render.view import View, fold  # noqa: E402 - as above

# rich's look, with the reader's own monospaced font: a picture should not fetch one from elsewhere.
LOOK = re.sub(r"\s*@font-face \{\{.*?\n\s*\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
CELLS = 110
STEP, MOMENT_TOKENS = "code.2", 60  # the picture is taken while this step's persona speaks


def record() -> None:
    """Keep the events up to the moment of the picture, without this machine's paths."""
    *events, summary = [json.loads(line) for line in sys.stdin]
    kept: list[dict[str, Any]] = []
    for event in events:
        for failure in event.get("failures", []):
            last = failure["message"].strip().splitlines()[-1:]
            failure["message"] = "" if "/" in "".join(last) else "".join(last)
        kept.append(event)
        if (event["event"], event.get("step")) == ("call.tokens", STEP) and event["tokens"] >= MOMENT_TOKENS:
            break
    about = {key: summary[key] for key in ("run", "title", "branch")} | {"repo": "~/" + Path(summary["repo"]).name}
    lines = [json.dumps(line, ensure_ascii=False) for line in (about, *kept)]
    RECORD.write_text("\n".join(lines) + "\n", "utf-8")


def draw(to: Path = HERE / "live-view.svg") -> None:
    """Draw the picture."""
    about, *events = [json.loads(line) for line in RECORD.read_text("utf-8").splitlines()]
    console = Console(record=True, width=CELLS, file=io.StringIO(), markup=False, highlight=False, emoji=False)
    console.print(screen.title(about, CELLS))
    view, now_s = View(), 0.0
    for event in events:
        kind, data = str(event["event"]), {key: value for key, value in event.items() if key != "event"}
        view, now_s = fold(view, kind, data), float(data["at_s"])
        if kind == "step.finished":
            step = next(step for step in view.steps if step.name == data["step"])
            console.print(screen.finished(step, CELLS))
        elif kind == "note":
            console.print(screen.note(*view.notes[-1]))
    console.print(screen.under_way(view, now_s, CELLS))
    title = "tandem demo · a rehearsal: no model was asked"
    console.save_svg(str(to), title=title, code_format=LOOK, unique_id="live-view")


if __name__ == "__main__":
    record() if sys.argv[1:] == ["record"] else draw()
