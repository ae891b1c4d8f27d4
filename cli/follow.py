"""Follow a run to its end: read its events, put its questions to whoever can answer, go on.

Knows the API's order of things (a stream ends with the run or with an open question) and how to pick a stream up again.
Who answers is an `Asker`'s business; what is on the screen a `Display`'s.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cli.client import Client, Event, EventStream
from cli.exits import ENDED
from cli.launch import ensure_router
from cli.output import remark
from cli.show import Display
from tandem.errors import StaleApproval, TandemError, Unavailable

_TICK_S = 0.1
_QUEUE = 1000  # events read ahead of the screen
_SETTLE_S = 10.0  # longest wait for a run to leave a question that was answered
_RECONNECTS = 5  # in a row, without an event between them
CANCEL_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What somebody decided: one of the question's choices, words, comments on lines."""

    choice: str
    text: str = ""
    comments: tuple[dict[str, Any], ...] = ()


class Asker(Protocol):
    """Puts a question to somebody."""

    def ask(self, client: Client, run: Mapping[str, Any]) -> Answer | None:
        """Return the answer to the run's question, or None to leave it waiting."""
        ...


class Nobody:
    """There is nobody to ask: the run waits."""

    def ask(self, client: Client, run: Mapping[str, Any]) -> Answer | None:
        """Leave it waiting."""
        del client, run


def decide(client: Client, run: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    """Send an answer, bound to the question as it was shown; return the run's summary."""
    question: Mapping[str, Any] = run["question"]
    body: dict[str, Any] = {
        "question": question["id"],
        "digest": question["digest"],
        "choice": answer.choice,
    }
    if answer.text:
        body["text"] = answer.text
    if answer.comments:
        body["comments"] = list(answer.comments)
    return client.post(f"/v1/runs/{run['run']}/decision", body)


class Follower:
    """One run, followed. `run` is its id; events older than `since_s` (wall clock) are known, not news."""

    def __init__(self, client: Client, run: str, screen: Display, asker: Asker, *, since_s: float = 0.0) -> None:
        self._client, self._run, self._screen, self._asker = client, run, screen, asker
        self._since_s = since_s
        self._seq = 0
        self._pid: int | None = None
        self._tries = 0

    def to_the_end(self) -> dict[str, Any]:
        """Follow until the run has ended or waits for somebody who is not here; return how it stands."""
        answered, settle_until = ("", ""), 0.0
        try:
            while True:
                run = self._next_stop()
                if run["state"] in ENDED:
                    return run
                question = run.get("question")
                if not question or _name(question) == answered:  # on its way, or not yet taken note of
                    settle_until = settle_until or time.monotonic() + _SETTLE_S
                    if question and time.monotonic() > settle_until:
                        raise StaleApproval(f"run {self._run} still asks what was answered; see `tandem show`")
                    time.sleep(_TICK_S)
                    continue
                self._screen.pause()
                answer = self._asker.ask(self._client, run)
                if answer is None:
                    return run
                answered, settle_until = _name(question), 0.0
                try:
                    decide(self._client, run, answer)
                except StaleApproval as error:
                    remark(f"{error.message}; going on with what was decided")
        finally:
            self._screen.pause()

    def _next_stop(self) -> dict[str, Any]:
        """Show events until they stop, and return how the run stands; a lost router is found again."""
        while True:
            seen = self._seq
            try:
                self._pid = self._pid or _pid(self._client)
                self._show_stream()
                return self._client.get(f"/v1/runs/{self._run}")
            except Unavailable:
                self._tries = 1 if self._seq != seen else self._tries + 1
                if self._tries > _RECONNECTS:
                    raise
                time.sleep(min(0.1 * 2**self._tries, 2.0))
                self._reconnect()

    def _reconnect(self) -> None:
        """Find the router again, or start one: the journal has the run, and a new router goes on with it."""
        self._client = ensure_router()
        pid = _pid(self._client)
        if pid != self._pid:
            self._pid, self._seq = pid, 0  # a new process counts its events anew

    def _show_stream(self) -> None:
        with Pump(self._client.open_stream(f"/v1/runs/{self._run}/events?after={self._seq}")) as pump:
            while True:
                event = pump.next(_TICK_S)
                if event is not None:
                    self._seq = max(self._seq, event.seq)
                    past = float(event.data.get("at_s") or 0.0) < self._since_s
                    self._screen.event(event.kind, event.data, past=past)
                elif pump.over:
                    return
                self._screen.tick()


def _name(question: Mapping[str, Any]) -> tuple[str, str]:
    return str(question["id"]), str(question["digest"])


def _pid(client: Client) -> int:
    return int(client.get("/v1/status").get("pid") or 0)


class Pump:
    """Reads a stream in a thread of its own, so that the screen and Ctrl-C never wait for the network."""

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream
        self._events: queue.Queue[Event | BaseException | None] = queue.Queue(_QUEUE)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="events", daemon=True)
        self.over = False

    def __enter__(self) -> Pump:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._stream.close()
        self._thread.join(5.0)

    def next(self, wait_s: float) -> Event | None:
        """Return the next event, or None where none came in time or the stream is `over`.

        Raises:
            TandemError: What reading the stream raised.
        """
        if self.over:
            return None
        try:
            item = self._events.get(timeout=wait_s)
        except queue.Empty:
            return None
        if item is None:
            self.over = True
            return None
        if isinstance(item, Event):
            return item
        self.over = True
        raise item

    def _read(self) -> None:
        try:
            for event in self._stream:
                self._put(event)
            self._put(None)
        except BaseException as error:  # handed to the thread that can act on it
            self._put(error)
        finally:
            self._stream.release()

    def _put(self, item: Event | BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                self._events.put(item, timeout=0.5)
                return
            except queue.Full:
                continue


def cancel(client: Client, run: str) -> dict[str, Any] | None:
    """Ask the router to stop a run and wait for its end, `CANCEL_S` at most; None where it did not end in time."""
    try:
        told = client.post(f"/v1/runs/{run}/cancel", read_s=CANCEL_S)
        until = time.monotonic() + CANCEL_S
        while told["state"] not in ENDED and time.monotonic() < until:
            time.sleep(_TICK_S)
            told = client.get(f"/v1/runs/{run}", read_s=CANCEL_S)
    except TandemError:
        return None
    return told if told["state"] in ENDED else None
