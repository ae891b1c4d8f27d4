"""What a run tells whoever watches it.

Events are for eyes: they are numbered, bounded and may be dropped. Nothing is decided from them; the journal holds what
counts. `data` is plain JSON, so that the same bytes serve the terminal, `--json` and a browser.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tandem.types import Json, RunId

EventKind = Literal[
    "state",  # {state, message?, commit?, verdict?}
    "step.started",  # {step, title}
    "step.finished",  # {step, summary, seconds}
    "call.started",  # {step, persona, model, node, expected_s?}
    "call.tokens",  # {step, persona, tokens, tokens_s, tail}: at most ten a second
    "call.finished",  # as started, and {node, backend, rehearsed, seconds, …, completion_tokens}
    "call.tool",  # {step, number, persona, tool, about, failed, said}: a tool was used
    "check.started",  # {step, command, commit, node, what}
    "check.progress",  # {step, stage, message}
    "check.finished",  # {step, verdict, reason, passed, failed, seconds, sandbox, failures}
    "hold",  # {what, text}: at work, but waiting-for-worker, paused-disk-full or retrying; "" when it goes on
    "note",  # {text, level}: something the person should know
    "question",  # {question: {...}}
    "answer",  # {question, choice, by}
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """One thing that happened in a run. `seq` counts from 1 within a router process; `at_s` is wall time."""

    seq: int
    run_id: RunId
    kind: EventKind
    at_s: float
    data: Mapping[str, Json] = field(default_factory=dict[str, Json])
