"""What Go and Rust share: their command line under a script of ours, which reads what the tool itself tells."""

from __future__ import annotations

from pathlib import PurePosixPath

from worker.adapters.base import Plan, Selection, misfit, replaced
from worker.adapters.web import SETTING
from worker.sandbox.spec import OUT, REPORTERS


def plan(command: tuple[str, ...], selection: Selection, tool: str, verbs: tuple[str, ...], script: str) -> Plan:
    """Return `tool verb ...` under our script.

    Raises:
        BadInput: That is not what the command calls.
    """
    at = next((i for i in range(len(command) - 1) if _calls(command[i : i + 2], tool, verbs)), -1)
    if at < 0:
        raise misfit(command, f"{tool} {verbs[0]}", f"{tool} {verbs[0]}")
    own = [f"{OUT}/report.jsonl", *(f"--only={path}" for path in selection.only)]
    own += [f"--seed={selection.seed}"] if selection.seed is not None else []
    arguments = replaced(command[at + 2 :], selection.stand_ins)
    settings = [part.partition("=") for part in command[:at] if SETTING.fullmatch(part)]
    return Plan(
        argv=("python", "-I", f"{REPORTERS}/{script}", *own, "--", *arguments),
        report="report.jsonl",
        env={name: value for name, _, value in settings},
    )


def _calls(words: tuple[str, ...], tool: str, verbs: tuple[str, ...]) -> bool:
    return PurePosixPath(words[0]).name == tool and words[1] in verbs
