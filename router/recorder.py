"""A run's journal as its steps see it: resume and replay in one path.

The graph always runs from its first step. Each question a step asks is answered by the journal while it has the answer,
and from outside where it ends. Offline, going outside is the first difference, and named.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any, TypeVar, cast

from router.journal import Entry, Journal
from tandem.errors import (
    BadInput,
    BrokenJournal,
    Cancelled,
    DiskFull,
    ReplayDiffers,
    StaleApproval,
    TandemError,
    Unavailable,
    Unreachable,
)
from tandem.events import EventKind
from tandem.faults import failpoint
from tandem.types import OVERRIDE, Comment, Decision, Json, Question, RunId

log = logging.getLogger(__name__)
Emit = Callable[[EventKind, dict[str, Json]], None]
AGAIN_S = (0.5, 2.0)  # pauses before asking again where nobody answered
T = TypeVar("T")
_LOOSE = frozenset(("state", "opened", "answered", "failed", "intent", "cut"))


def digest(value: Any) -> str:
    """Return a short hash of plain JSON, the same for equal values."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=list)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


class RunRecorder:
    """Implements `tandem.ports.Recorder` for one execution of the graph."""

    def __init__(
        self,
        journal: Journal,
        run_id: RunId,
        entries: list[Entry],
        *,
        emit: Emit,
        offline: bool = False,
        progressed: Callable[[], None] = lambda: None,
    ) -> None:
        self._journal = journal
        self._run_id = run_id
        self._emit = emit
        self._offline = offline
        self._progressed = progressed  # told of every entry: the run gets on
        self._next: defaultdict[str, int] = defaultdict(int)
        self._load(entries)

    def _load(self, entries: list[Entry]) -> None:
        self._recorded = {(e.step, e.ordinal): e for e in entries if e.kind not in _LOOSE}
        self._intents = {(e.step, e.ordinal) for e in entries if e.kind == "intent"}
        self._tries: defaultdict[tuple[str, int], int] = defaultdict(int)
        for entry in entries:
            if entry.kind == "failed":
                self._tries[entry.step, entry.ordinal] += 1
        # What was left behind may still be kept somewhere under its request id: asking anew is another attempt.
        self._cuts = sum(entry.kind == "cut" for entry in entries)
        self._last = next((e.kind for e in reversed(entries) if e.kind != "state"), "")
        self._opened = {e.step for e in entries if e.kind == "opened"}
        self._answers = {e.step: decision_in(e.value) for e in entries if e.kind == "answered"}

    @property
    def run_id(self) -> RunId:
        """Return the run's id."""
        return self._run_id

    def emit(self, kind: EventKind, **data: Json) -> None:
        """Tell whoever watches."""
        self._emit(kind, data)

    async def ask(
        self, step: str, kind: str, question: Mapping[str, Json], live: Callable[[int], Awaitable[Json]]
    ) -> Json:
        """Return the recorded answer, or a live one that is recorded before it is returned."""
        key, asked = self._key(step), digest(question)
        recorded = await self._fitting(key, kind, asked)
        if recorded is not None:
            return recorded.value
        self._must_be_live(step, kind)
        for pause_s in (*AGAIN_S, None):
            attempt = self._tries[key] + 1 + self._cuts
            try:
                value = await live(attempt)
            except (Cancelled, Unreachable, DiskFull):  # no answer at all: the same attempt is asked for again later
                raise
            except TandemError as error:
                self._tries[key] += 1
                text: Json = {"class": type(error).__name__, "message": error.message[:2000]}
                await self._append(key, "failed", asked, text, attempt)
                if pause_s is None or not isinstance(error, Unavailable):
                    raise
                self.emit("note", text=f"{error.message}; trying again", level="warning")
                self.emit("hold", what="retrying", text=error.message)
                await asyncio.sleep(pause_s)
            else:
                await self._append(key, kind, asked, value, attempt)
                return value
        raise AssertionError("unreachable")

    async def effect(self, step: str, kind: str, intent: Mapping[str, Json], do: Callable[[], Awaitable[Json]]) -> Json:
        """Do something outside once: intent before, result after."""
        key, asked = self._key(step), digest(intent)
        recorded = await self._fitting(key, kind, asked)
        if recorded is not None:
            return recorded.value
        self._must_be_live(step, kind)
        if key not in self._intents:
            await self._append(key, "intent", asked, dict(intent), 1)
        failpoint(f"effect.intended.{kind}")
        return await to_the_end(self._perform(key, kind, asked, do))

    async def _perform(self, key: tuple[str, int], kind: str, asked: str, do: Callable[[], Awaitable[Json]]) -> Json:
        value = await do()
        failpoint(f"effect.done.{kind}")
        await self._append(key, kind, asked, value, 1)
        return value

    async def derive(self, step: str, kind: str, make: Callable[[], Awaitable[Json]]) -> Json:
        """Return what follows from earlier answers alone, made anew each time and compared with what was recorded.

        Raises:
            ReplayDiffers: It came out otherwise than recorded, with the same inputs.
        """
        key = self._key(step)
        value = await make()
        recorded = self._recorded.get(key)
        if recorded is not None and recorded.kind == kind and recorded.value == value:
            return value
        if recorded is not None and self._offline:
            raise ReplayDiffers(f"step {step!r}: {kind} is {value!r} and was {recorded.value!r}")
        if recorded is not None:
            await self._cut(recorded)
        self._must_be_live(step, kind)
        await self._append(key, kind, "", value, 1)
        return value

    async def now(self, step: str) -> int:
        """Return the wall clock in whole seconds, the same on every replay."""

        async def live(attempt: int) -> Json:
            del attempt
            return int(time.time())

        return int(cast("int", await self.ask(step, "clock", {}, live)))

    def answer(self, question_id: str) -> Decision | None:
        """Return the recorded answer to a question, if there is one."""
        return self._answers.get(question_id)

    async def opened(self, question: Question) -> None:
        """Record that a question is open; once."""
        if question.id in self._opened or self._offline:
            return
        self._opened.add(question.id)
        await self._append((question.id, 0), "opened", question.digest, cast("Json", asdict(question)), 1)

    async def answered(self, decision: Decision) -> None:
        """Record an answer given in the person's name."""
        self._must_be_live(decision.question, "answered")
        await self._append((decision.question, 0), "answered", decision.digest, cast("Json", asdict(decision)), 1)
        self._answers[decision.question] = decision

    def _key(self, step: str) -> tuple[str, int]:
        ordinal = self._next[step]
        self._next[step] += 1
        return step, ordinal

    async def _fitting(self, key: tuple[str, int], kind: str, asked: str) -> Entry | None:
        recorded = self._recorded.get(key)
        if recorded is None or (recorded.kind == kind and recorded.question == asked):
            return recorded
        if self._offline:
            what = "another question was asked" if recorded.kind == kind else f"{kind} instead of {recorded.kind}"
            raise ReplayDiffers(f"step {key[0]!r}, entry {key[1] + 1}: {what}; everything before it is the same")
        await self._cut(recorded)
        return None

    async def forget_last_step(self) -> None:
        """Leave the last step's answers behind, because they led nowhere: asking again may get different ones.

        Where it was a call that failed, no answer is to blame, and asking again is another attempt already.
        """
        if self._last == "failed":
            return
        steps = [entry for entry in self._recorded.values() if entry.step]
        last = max(steps, key=lambda entry: entry.id, default=None)
        if last is not None:
            first = min((e for e in steps if e.step == last.step), key=lambda entry: entry.id)
            await self._cut(first, f"step {first.step!r} is done again, with fresh answers")

    async def _cut(self, first: Entry, text: str = "") -> None:
        """Leave everything from `first` on behind: the workflow, a persona or the configuration has changed."""
        if any(entry.kind == "delivery" and entry.id >= first.id for entry in self._recorded.values()):
            raise BrokenJournal("the change was delivered already, and what led to it is left as it was")
        text = text or (
            f"from step {first.step!r} on this run is done again: its workflow, personas or configuration changed"
        )
        log.info("journal was cut", extra={"run_id": self._run_id, "step": first.step, "entry": first.id})
        self.emit("note", text=text, level="warning")
        await self._append(("", 0), "cut", "", first.id, 1)
        self._load(await self._journal.entries(self._run_id))

    def _must_be_live(self, step: str, kind: str) -> None:
        if self._offline:
            raise ReplayDiffers(f"the journal ends before step {step!r} ({kind}); everything before it is the same")

    async def _append(self, key: tuple[str, int], kind: str, question: str, value: Json, attempt: int) -> None:
        entry = await self._journal.append(
            self._run_id,
            step=key[0],
            ordinal=key[1],
            attempt=attempt,
            kind=kind,
            question=question,
            value=value,
            at_s=time.time(),
        )
        if kind != "failed":
            self._progressed()
        if kind == "intent":
            self._intents.add(key)
        elif kind not in _LOOSE:
            self._recorded[key] = entry


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Await `work`; when cancelled meanwhile, let it finish first, so that no effect is left without its record."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def cut_since_it_stopped(entries: Iterable[Entry]) -> bool:
    """Return whether a run's last answers were left behind already since its state was last recorded."""
    last = next((e.kind for e in reversed(list(entries)) if e.kind in ("state", "cut")), "")
    return last == "cut"


def decision_in(value: Json) -> Decision:
    """Return the decision an entry holds."""
    data: dict[str, Any] = dict(cast("dict[str, Any]", value))
    data["comments"] = tuple(Comment(**comment) for comment in data.get("comments", ()))
    return Decision(**data)


def is_new(question: Question | None, decision: Decision, earlier: Decision | None) -> bool:
    """Return whether a decision is to be recorded now; False means it was recorded before, with the same content.

    Raises:
        StaleApproval: Nothing like it is asked, it was answered otherwise, or it is about other bytes.
    """
    if earlier is not None:
        if replace(earlier, by="") == replace(decision, by=""):
            return False
        raise StaleApproval(f"question {decision.question!r} was already answered with {earlier.choice!r}")
    if question is None or question.id != decision.question:
        open_one = f"; open is {question.id!r}" if question else ", the run waits for nothing"
        raise StaleApproval(f"question {decision.question!r} is not open{open_one}")
    if decision.digest != question.digest:
        raise StaleApproval(
            f"the answer is about {decision.digest[:12] or 'nothing'} and the question about {question.digest[:12]}; "
            "look at it again with `tandem show`"
        )
    if decision.choice not in question.choices:
        raise StaleApproval(f"{decision.choice!r} is no choice here; choose {', '.join(question.choices)}")
    if decision.choice == OVERRIDE and not decision.text.strip():
        raise BadInput(f"{OVERRIDE!r} needs a reason, which the commit will carry; say it with --text")
    return True
