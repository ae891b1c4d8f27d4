"""Notice that a persona goes nowhere: repetition, alternation, no progress, empty replies.

Pure but for its own memory of the call's turns. Each kind of trouble gets one nudge, in words for the model; when it goes
on all the same, the call ends with the trouble's name. Counted are *repeats*: a loop is nudged at its second and ended at
its third (at the second for empty replies, of which there is nothing to learn). What is compared leaves out durations,
line numbers and addresses, which differ between runs that are otherwise the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agents.failures import Failure
from tandem.types import ToolCall

NUDGE_AT, END_AT = 2, 3  # repeats
PERIOD_MAX = 4  # turns of the longest cycle that is looked for
_NOISE = re.compile(  # a count of failures is none: from 28 to 27 is a step forward
    r"\b\d+(?:\.\d+)?\s?(?:ns|µs|us|ms|s|sec|secs|seconds|m|min|minutes)\b"  # durations
    r"|\b\d+:\d\d(?::\d\d)?(?:\.\d+)?\b"  # clock times
    r"|(?<=:)\d+(?=[:)\s]|$)|\bline \d+|\b0x[0-9a-fA-F]+\b"  # line numbers, addresses
    r"|\bduration_ms\W+[\d.]+|\bpid[ =]\d+|/tmp/\S+",
    re.MULTILINE,
)

_WORDS: dict[str, str] = {
    "repetition": "You did exactly this before, and the result is the same. Do something else, or call `finish`.",
    "alternation": "You go back and forth between the same steps. Decide, do something else, or call `finish`.",
    "no progress": "This has failed the same way several times. Read the file again and try another way, or call "
    "`finish` and say what is in the way.",
    "empty replies": "Your reply was empty. Call a tool, or call `finish`.",
    "talk": "Nothing was done: your reply held no tool call. Call a tool, or call `finish` when you are done.",
    "malformed calls": "Your tool calls cannot be understood. Make one call, with plain JSON arguments.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of a call. `results` and `failed` have one entry per call; `tree` is the worktree's digest after it."""

    calls: tuple[ToolCall, ...] = ()
    results: tuple[str, ...] = ()
    failed: tuple[bool, ...] = ()
    text: str = ""
    tree: str = ""
    problems: tuple[str, ...] = ()  # attempts at a call that could not be understood


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What to do after a turn. `words` go to the model (nudge) or into the reason (end)."""

    action: Literal["go on", "nudge", "end"] = "go on"
    failure: Failure | Literal[""] = ""
    words: str = ""


GO_ON = Judgement()


class Watch:
    """Watches one call."""

    def __init__(self) -> None:
        self._exact: list[str] = []  # one print a turn: what was done and what came of it
        self._idle: dict[str, int] = {}  # trouble -> turns in a row
        self._refused: tuple[str, ...] = ()  # which tools failed on what, last turn
        self._refusals = 0
        self._verdicts: list[str] = []  # what the tests said, each time they were run
        self._trees: list[str] = []  # the worktree's digests, one per change
        self._nudged: set[Failure] = set()

    def look(self, turn: Turn) -> Judgement:
        """Take a turn in, and say whether the call goes on."""
        seen = [self._silence(turn), *((self._cycle(turn), self._stuck(turn)) if turn.calls else ())]
        failure, repeats = max(seen, key=lambda item: item[1])
        if repeats >= END_AT:
            return Judgement(action="end", failure=failure, words=f"{failure}: {repeats} repeats, after a nudge")
        if repeats < NUDGE_AT or failure in self._nudged:
            return GO_ON
        self._nudged.add(failure)
        return Judgement(action="nudge", failure=failure, words=_WORDS[failure])

    def _silence(self, turn: Turn) -> tuple[Failure, int]:
        """Return how often in a row nothing could be done."""
        kind: Failure | Literal[""] = ""
        if not turn.calls:
            kind = "malformed calls" if turn.problems else "talk" if turn.text.strip() else "empty replies"
            self._exact.append("")
        count = self._idle.get(kind, 0) + 1
        total = sum(self._idle.values()) + 1
        self._idle = {**self._idle, kind: count} if kind else {}
        if not kind:
            return "talk", 0
        # A reply without a call is answered with words anyway, so its first repeat is a nudge, and its second the end.
        return kind, max(count, total)

    def _cycle(self, turn: Turn) -> tuple[Failure, int]:
        """Return the most repeats of a block of turns at the end of the history."""
        self._exact.append(_print(turn))
        best: tuple[Failure, int] = ("repetition", 0)
        for period in range(1, PERIOD_MAX + 1):
            repeats = _repeats(self._exact, period)
            if repeats > best[1]:
                best = ("repetition" if period == 1 else "alternation", repeats)
        return best

    def _stuck(self, turn: Turn) -> tuple[Failure, int]:
        """Return how often in a row the same thing failed, or the worktree came back to where it was."""
        refused = tuple(_about(call) for call, failed in zip(turn.calls, turn.failed, strict=False) if failed)
        all_refused = bool(refused) and len(refused) == len(turn.calls)
        self._refusals = self._refusals + 1 if all_refused and refused == self._refused else 0
        self._refused = refused if all_refused else ()
        ran = _ran_tests(turn)
        self._verdicts += [_plain(text) for text in ran]
        same = _repeats(self._verdicts, 1) if ran else 0
        back = self._undone(turn)
        found: list[tuple[Failure, int]] = [("no progress", self._refusals), ("no progress", same)]
        return max([*found, ("alternation", back)], key=lambda item: item[1])

    def _undone(self, turn: Turn) -> int:
        """Return how often the worktree came back to the state it is in now."""
        if not turn.tree or (self._trees and self._trees[-1] == turn.tree):
            return 0
        self._trees.append(turn.tree)
        return self._trees.count(turn.tree) - 1


def _repeats(prints: Sequence[str], period: int) -> int:
    """Return how often the last `period` prints stand before themselves, without a gap."""
    block, count, end = list(prints[-period:]), 0, len(prints) - period
    if len(block) < period or (period > 1 and len(set(block)) == 1):
        return 0
    while end >= period and list(prints[end - period : end]) == block:
        count, end = count + 1, end - period
    return count


def _print(turn: Turn) -> str:
    calls = [[call.name, dict(call.arguments)] for call in turn.calls]
    told = [calls, [_plain(result) for result in turn.results], turn.tree]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode("utf-8", "replace")).hexdigest()


def _about(call: ToolCall) -> str:
    """Return which tool was used on what: the same for small variations of a failing call."""
    return f"{call.name} {call.arguments.get('path', '')}"


def _ran_tests(turn: Turn) -> list[str]:
    return [said for call, said in zip(turn.calls, turn.results, strict=False) if call.name == "run_tests"]


def _plain(result: str) -> str:
    return _NOISE.sub("#", result)
