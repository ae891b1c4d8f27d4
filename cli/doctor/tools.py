"""What the repository in the current folder needs to be tested here: Node, Go, Cargo."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from cli.doctor.finding import Finding, ill, well
from cli.doctor.look import Look
from cli.doctor.programs import words_of
from tandem.detect import CheckPlan, detect_check

_READ_BYTES = 1 << 20
_PROGRAMS = {"node": "node", "jest": "node", "vitest": "node", "go": "go", "cargo": "cargo"}
_INSTALL = {
    "node": "https://nodejs.org, `brew install node` or `sudo apt install nodejs npm`",
    "go": "https://go.dev/dl, `brew install go` or `sudo apt install golang-go`",
    "cargo": "https://rustup.rs, `brew install rust` or `sudo apt install cargo`",
}


def findings(look: Look) -> Iterator[Finding]:
    """Yield whether the tools of the repository here are installed; nothing outside a repository."""
    plan = plan_for(look.folder)
    needed = program_for(plan) if plan else ""
    if plan is None or not needed:
        return
    found = shutil.which(needed)
    if found:
        yield well(f"{needed} for this repository", found)
        return
    text = f"not found, and this repository is tested by `{' '.join(plan.command)}` ({plan.why})"
    remedy = f"install it on each machine that runs tests: {_INSTALL[needed]}"
    yield ill(f"{needed} for this repository", "toolchain-missing", text, remedy)


def plan_for(folder: Path) -> CheckPlan | None:
    """Return how the repository around `folder` is tested, or None where there is none or nothing tells."""
    top = (words_of(["git", "rev-parse", "--show-toplevel"], cwd=folder) or "").strip()
    if not top:
        return None
    files = (words_of(["git", "ls-files", "-z"], cwd=Path(top)) or "").split("\0")
    return detect_check([name for name in files if name], lambda name: _text(Path(top) / name))


def program_for(plan: CheckPlan) -> str:
    """Return which of Node, Go and Cargo a plan calls, or nothing."""
    return _PROGRAMS.get(plan.adapter, "node" if plan.command[:1] in (("npm",), ("npx",)) else "")


def _text(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(_READ_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
