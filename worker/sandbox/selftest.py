"""Whether a sandbox holds, found out by trying to get out of it: the attempts of `escapes.py`, on a rung, against bait."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from tandem.types import Limits
from worker.sandbox import bait
from worker.sandbox.spec import HOME, TREE, Mount, SandboxSpec
from worker.sandbox.toolchains import base_python

if TYPE_CHECKING:
    from worker.sandbox.ladder import Rung

ESCAPES = Path(__file__).with_name("escapes.py")
Says = Literal["held", "hole", "does not apply"]
_INSIDE = "/escapes.py"
_LIMITS = Limits(wall_s=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of one attempt. `kind` is what it was after: a hole of the kind "sight" gives nothing but a look."""

    name: str
    kind: str
    says: Says
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Escape:
    """An attempt by its name; whether it is tried at every start, and only succeeds outside for a root without bounds."""

    name: str
    quick: bool
    root: bool


@cache
def escapes() -> tuple[Escape, ...]:
    """Return all attempts, read from the list's own text: it is run inside, and never imported here."""
    found = re.findall(r"^@attempt\(([^\n]*)\)\ndef (\w+)\(", ESCAPES.read_text(), re.MULTILINE)
    return tuple(
        Escape(name=name.replace("_", "-"), quick="quick=True" in how, root="root=True" in how) for how, name in found
    )


async def attempt(rung: Rung, *, quick: bool = False) -> list[Finding]:
    """Return what came of every attempt on a rung, or of the quick ones (some 100 ms) alone.

    Raises:
        OSError: The rung's launcher is not there.
        ValueError: The list did not run to its end; the message says what it printed.
    """
    names = [one.name for one in escapes() if one.quick or not quick]
    with tempfile.TemporaryDirectory(prefix="tandem-probe-") as made:
        folder = Path(made)
        folder.chmod(0o755)  # what lies in it is to be kept by the sandbox alone
        (folder / "tree").mkdir()
        with bait.laid_out(folder, folder / "tree") as file:
            return await _attempted(rung, folder / "tree", file, names)


async def _attempted(rung: Rung, tree: Path, file: str, names: list[str]) -> list[Finding]:
    from worker.sandbox.runner import run

    spec = SandboxSpec(
        argv=(base_python(), "-I", "-S", _INSIDE, file, *names),
        cwd=TREE,
        mounts=(Mount(source=tree, target=TREE, writable=True), Mount(source=ESCAPES, target=_INSIDE)),
        limits=_LIMITS,
        env={"PATH": os.defpath, "HOME": HOME},
    )
    result = await run(rung, spec)
    try:
        found = read(result.output)
    except ValueError:
        found = []
    if [one.name for one in found] != names:
        last = result.output.strip().splitlines()[-1:] or [f"it ended with status {result.exit_code}"]
        raise ValueError(last[0] if not result.breach else f"its {result.breach} limit was passed")
    return found


def read(said: str) -> list[Finding]:
    """Return the findings in what the list printed.

    Raises:
        ValueError: A line is none.
    """
    found: list[Finding] = []
    for line in said.splitlines():
        about = cast("dict[str, str]", json.loads(line))
        try:
            says = cast("Says", about["says"])
            found.append(Finding(name=about["name"], kind=about["kind"], says=says, reason=about["reason"]))
        except (KeyError, TypeError):
            raise ValueError(f"{line!r} tells of no attempt") from None
    return found


def holes(found: Iterable[Finding], conceded: frozenset[str]) -> list[Finding]:
    """Return the holes that a rung does not openly have."""
    return [one for one in found if one.says == "hole" and one.name not in conceded]
