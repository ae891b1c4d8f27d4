"""A human lead who comes back until it is done, whatever dies meanwhile, and writes down everything they are told.

What got no answer is looked up before it is asked again, as a careful person would.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.faults.ledger import Ledger
from tests.support.stack import Stack

T = TypeVar("T")
_GONE = (
    OSError,
    http.client.HTTPException,
    ValueError,
    AssertionError,
)  # what a router that dies looks like from outside
_LIFE_S = 180.0


class Gone(Exception):
    """The router died, or was dead; it is there again."""


class Lead:
    """Works with one stack and one repository. `deaths` counts how often the router had to be started again."""

    def __init__(self, stack: Stack, repo: Path, ledger: Ledger) -> None:
        self.stack, self.repo, self.ledger = stack, repo, ledger
        self.deaths = 0

    def submit(self, text: str, **more: Any) -> str:
        """Hand a task in and return its run."""
        known = self.ledger.runs("accepted")
        self.ledger.write("submit", text=text)

        def do() -> str:
            status, body = self._call("POST", "/v1/runs", {"repo": str(self.repo), "text": text, **more})
            assert status == 201, body
            return str(body["run"])

        def done() -> str | None:
            new = [run["run"] for run in self._call("GET", "/v1/runs")[1]["runs"] if run["run"] not in known]
            assert len(new) < 2, f"one task was handed in, and there are {new}"
            return new[0] if new else None

        run = self.insist(do, done)
        self.ledger.write("accepted", run=run)
        return run

    def wait(self, run: str, *, until: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return a run's details once it has stopped, and note what it shows."""

        def look() -> dict[str, Any]:
            end = time.monotonic() + 60
            while time.monotonic() < end:
                _, body = self._call("GET", f"/v1/runs/{run}")
                if body["state"] not in ("queued", "running") and (not until or body["state"] in until):
                    return body
                time.sleep(0.02)
            raise TimeoutError(f"run {run} is {body['state']}: {body.get('hold')}")

        body = self.insist(look)
        if body["state"] == "waiting":
            question = body["question"]
            self.ledger.write("shown", run=run, question=question["id"], digest=question["digest"])
        else:
            self.ledger.write("ended", run=run, state=body["state"], commit=body["commit"])
        return body

    def answer(self, run: str, choice: str) -> None:
        """Answer the question a run waits with."""
        question = self.wait(run)["question"]
        about = {"run": run, "question": question["id"], "choice": choice}
        self.ledger.write("answer", **about)
        body = {"question": question["id"], "digest": question["digest"], "choice": choice}
        self._do("POST", f"/v1/runs/{run}/decision", body)  # the same answer twice is one answer
        self.ledger.write("answered", **about)

    def cancel(self, run: str) -> None:
        """Cancel a run, whatever it does."""
        self._do("POST", f"/v1/runs/{run}/cancel")

    def states(self) -> dict[str, str]:
        """Return every run's state."""
        return {run["run"]: run["state"] for run in self._do("GET", "/v1/runs")["runs"]}

    def go_on(self, run: str) -> None:
        """Resume a run that failed or was cancelled."""
        self._do("POST", f"/v1/runs/{run}/resume")

    def undo(self, run: str) -> None:
        """Take a merged run back."""
        self.ledger.write("undo", run=run)
        body = self._do("POST", f"/v1/runs/{run}/undo")
        self.ledger.write("undone", run=run, commit=body["commit"])

    def export(self, run: str, file: Path, *, move: bool = False) -> None:
        """Write a run into a file."""
        self.ledger.write("export", run=run)
        body = {"file": str(file), "move": move}
        self.insist(lambda: self._ok("POST", f"/v1/runs/{run}/export", body), lambda: file.exists() or None)
        self.ledger.write("exported", run=run, file=str(file))

    def forget(self, run: str) -> None:
        """Have a run cleared away."""
        self.ledger.write("forget", run=run)

        def done() -> object:  # what was begun is ended by clearing up once more
            there = any(r["run"] == run for r in self._call("GET", "/v1/runs")[1]["runs"])
            return None if there else self._ok("POST", "/v1/clear", {"days": 30})

        self.insist(lambda: self._ok("POST", "/v1/clear", {"run": run}), done)
        self.ledger.write("forgotten", run=run)

    def take_in(self, run: str, file: Path) -> None:
        """Have a run taken in from a file."""
        self.ledger.write("import", run=run)
        body = {"file": str(file), "repo": str(self.repo)}

        def done() -> object:
            return self._call("GET", f"/v1/runs/{run}")[0] == 200 or None

        self.insist(lambda: self._ok("POST", "/v1/import", body), done)
        self.ledger.write("imported", run=run)

    def replay(self, run: str) -> None:
        """See that a run's journal leads to the same once more."""
        body = self._do("POST", f"/v1/runs/{run}/replay")
        assert body["same"], body

    def insist(self, do: Callable[[], T], done: Callable[[], T | None] = lambda: None) -> T:
        """Return what `do` does; where the router dies, start it again, and `do` it again unless it is `done`."""
        end = time.monotonic() + _LIFE_S
        again = False
        while time.monotonic() < end:
            try:
                self._be_there()
                found = done() if again else None
                return do() if found is None else found
            except Gone:
                again = True
        raise TimeoutError(f"not done within {_LIFE_S:g} s, after {self.deaths} deaths:\n{self.stack.log()}")

    def _do(self, method: str, path: str, body: Any = None) -> Any:
        return self.insist(lambda: self._ok(method, path, body))

    def _ok(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = self._call(method, path, body)
        assert status < 300, answer
        return answer

    def _call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Call the router.

        Raises:
            Gone: It died.
        """
        router = self.stack.router
        assert router is not None
        try:
            return self.stack.call(method, path, body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            router.wait(20)  # nothing but its death may break a call off
            raise Gone from error

    def _be_there(self) -> None:
        """See that the router is there; one that dies while it starts is started again.

        Raises:
            Gone: It was not.
        """
        router = self.stack.router
        if router is not None and router.poll() is None:
            return
        while True:
            try:
                self.stack.start()
            except AssertionError:
                if (
                    self.stack.router is None
                    or self.stack.router.returncode is None
                    or self.stack.router.returncode >= 0
                ):
                    raise
                self.deaths += 1
            else:
                break
        if router is not None:
            self.deaths += 1
            raise Gone
