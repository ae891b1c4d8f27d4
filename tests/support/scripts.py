"""Rehearsal scripts for tests: the demo's, with some personas' replies replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.support.stack import DEMO

DOCS = {"reason": "text", "difficulty": "low", "kind": "docs", "reflect": False, "sure": True}
README = {"files": [{"path": "README.md", "content": "# words\n\nHelpers.\n"}], "note": "shorter", "dispute": ""}
FINE = {"findings": [], "verdict": "approve"}


def script(folder: Path, name: str, **replies: Any) -> Path:
    """Write the demo's script with some personas' replies replaced, one a turn."""
    data = yaml.safe_load((DEMO / "good.yaml").read_text("utf-8"))
    kept = [entry for entry in data["replies"] if entry["persona"] not in replies]
    new = [
        {"persona": persona, "turn": turn, "reply": reply}
        for persona, said in replies.items()
        for turn, reply in enumerate(said, 1)
    ]
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({"name": "demo", "replies": kept + new}, allow_unicode=True))
    return folder / f"{name}.yaml"


def good(persona: str, turn: int = 1) -> dict[str, Any]:
    """Return what a persona of the demo's script says."""
    data = yaml.safe_load((DEMO / "good.yaml").read_text("utf-8"))["replies"]
    return next(e["reply"] for e in data if e["persona"] == persona and e.get("turn", 1) == turn)


def said(persona: str, turn: int) -> dict[str, Any]:
    """Return what a persona of the demo's script says at its turn: the reply of the nearest turn not after it."""
    data = yaml.safe_load((DEMO / "good.yaml").read_text("utf-8"))["replies"]
    known = [entry for entry in data if entry["persona"] == persona and entry.get("turn", 1) <= turn]
    return max(known, key=lambda entry: entry.get("turn", 1))["reply"]
