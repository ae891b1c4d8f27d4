"""A router with its worker, reused for a whole pack, and a throw-away repository for each run.

Real processes, asked over the router's API. A rehearsed coder gets nothing of the caller's configuration or `TANDEM_*`; one
that asks models gets all of it but the state folder.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import shutil
import threading
import time
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import pair
from bench.pair import Pair, Project
from bench.tasks import hidden
from bench.tasks.exercise import Exercise
from bench.tasks.plays import Play, script
from bench.tasks.results import Ran
from cli import stage
from cli.follow import cancel
from cli.render.loose import mapping, objects, text, whole
from cli.render.text import one_line
from tandem.errors import NoSandbox, TandemError, Unavailable
from tandem.types import ENDED

SCRIPTS = "pack"  # the folder's name, and so the model's: rehearsal/pack
_CHECK_S = 120  # of a rehearsed coder's checks; a cheat may hang
_REASON = 600  # characters
_LINGER_S = 60  # of a router whose owner was killed


def rehearsed(state: Path, scripts: Path, *, wrong: int, jobs: int) -> dict[str, str]:
    """Return the variables of a router that plays the scripts of a folder, with rounds for `wrong` drafts and two more."""
    model = f"rehearsal/{scripts.name}"
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("TANDEM_")},
        "TANDEM_STATE": str(state),
        "TANDEM_CONFIG": os.devnull,
        "TANDEM_MODELS_ROUTER": model,
        "TANDEM_MODELS_WORKER": model,
        "TANDEM_REHEARSAL_SCRIPT": str(scripts),
        "TANDEM_CONTEXT_ROUTER": "131072",  # nobody reads it, and what is cut may not be written
        "TANDEM_CONTEXT_WORKER": "131072",
        "TANDEM_ROUNDS_LOW": "1",
        "TANDEM_ROUNDS_MEDIUM": str(wrong + 2),
        "TANDEM_CHECK_WALL_S": str(_CHECK_S),
        "TANDEM_CHECK_MUTATION_S": "0",  # advice that nothing is decided by
        "TANDEM_ROUTER_ACTIVE_RUNS": str(jobs),
        "TANDEM_ROUTER_LINGER_S": str(_LINGER_S),
        "TANDEM_WORKER_CALLS": str(jobs),
        "TANDEM_WORKER_CHECKS": str(jobs),
    }


def configured(state: Path, *, jobs: int) -> dict[str, str]:
    """Return the variables of a router that asks the caller's own models, over a state folder of its own."""
    return {**os.environ, "TANDEM_STATE": str(state), "TANDEM_ROUTER_ACTIVE_RUNS": str(jobs)}


@dataclass(slots=True, kw_only=True)
class Desk:
    """Where exercises are handed in, and what comes back is looked at."""

    pair: Pair
    folder: Path
    verify: bool
    _numbers: Iterable[int] = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def rehearse(self, exercise: Exercise, play: Play) -> Ran:
        """Have a play run by the team."""
        with self._place() as place:
            name = f"{place.name}-{_slug(exercise.name)}"
            file = self.folder / SCRIPTS / f"{name}.yaml"
            file.write_text(script(name, exercise, play), "utf-8")
            try:
                return self._run(exercise, place, f"{exercise.task}\n\nRehearsal: {name}")
            finally:
                file.unlink()

    def team(self, exercise: Exercise) -> Ran:
        """Have the configured models do an exercise, and judge what came of it by the exercise's own tests."""
        with self._place() as place:
            return self._run(exercise, place, exercise.task, judged=True)

    @contextlib.contextmanager
    def _place(self) -> Generator[Path]:
        """Have a folder of its own inside the block."""
        with self._lock:
            place = self.folder / f"{next(iter(self._numbers)):04}"
        place.mkdir()
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _run(self, exercise: Exercise, place: Path, task: str, *, judged: bool = False) -> Ran:
        repo, began = repository(place / "repo", exercise), time.monotonic()
        project = Project(repo=repo, task=task, check=shlex.join(exercise.command))
        try:
            run = pair.submit(self.pair.client, project, yes=True)
        except Unavailable:
            raise
        except TandemError as error:  # a task that is not taken on is a result like another
            return Ran(state="refused", reason=one_line(error.message)[:_REASON], solved=False if judged else None)
        end = pair.to_its_end(self.pair.client, run)
        if end["state"] not in ENDED:
            cancel(self.pair.client, run)
        ran = replace(_ran(end), seconds=round(time.monotonic() - began, 2))
        if ran.merged and self.verify:
            why = self._trouble(place, repo, ran.commit)
            ran = replace(ran, verified=not why, reason=why or ran.reason)
        return self._judged(ran, exercise, repo) if judged else ran

    def _trouble(self, place: Path, repo: Path, commit: str) -> str:
        """Return why a commit's proof cannot be made again on a clean clone, without the notes; "" where it can."""
        clone = place / "clone"
        stage.git(place, "clone", "-q", "--no-hardlinks", str(repo), str(clone))
        body = {"repo": str(clone), "commit": commit, "prepare": True}
        stream = self.pair.client.open_stream("/v1/verify", body=body)
        try:
            told = [event.data for event in stream if event.kind in ("result", "error")]
        finally:
            stream.close()
            stream.release()
        last = told[-1] if told else {}
        if last.get("verdict") == "holds":
            return ""
        why = text(last, "reason") or text(last, "message") or "the router told no result"
        return one_line(f"{text(last, 'verdict') or 'not verified'}: {why}")[:_REASON]

    def _judged(self, ran: Ran, exercise: Exercise, repo: Path) -> Ran:
        """Return how a run ended with what the exercise's own tests say of what it merged."""
        if not ran.merged:
            return replace(ran, solved=False)
        try:
            report = hidden.judged(self.pair.state, exercise, repo)
        except TandemError as error:
            return replace(ran, solved=False, reason=f"not judged: {one_line(error.message)[:_REASON]}")
        return replace(ran, solved=hidden.solved(report), reason=ran.reason or hidden.words(report))

    def stop(self) -> None:
        """End router and worker at once; who waits for a run is told that they are gone."""
        pair.stop(self.pair.process)


@contextlib.contextmanager
def opened(folder: Path, env: Mapping[str, str], *, verify: bool) -> Generator[Desk]:
    """Have a desk inside the block.

    Raises:
        NoSandbox: No sandbox works here, and exercises are run in one or not at all.
        Unavailable: The router did not get ready.
    """
    (folder / SCRIPTS).mkdir()
    with pair.running(Path(env["TANDEM_STATE"]), env) as started:
        if not started.sandbox:
            raise NoSandbox("no sandbox works here, and exercises are run in one or not at all; see `tandem doctor`")
        yield Desk(pair=started, folder=folder, verify=verify)


def repository(folder: Path, exercise: Exercise) -> Path:
    """Make a repository with what a team starts from, and return it."""
    for path, content in exercise.base.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, "utf-8", newline="")
    for command in (("init", "-q", "-b", "main"), ("add", "-A", "-f"), ("commit", "-q", "-m", "The exercise")):
        stage.git(folder, *command)
    return folder


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in name.lower())


def _ran(end: Mapping[str, Any]) -> Ran:
    question = mapping(end.get("question"))
    calls = objects(end.get("calls"))
    return Ran(
        state=str(end["state"]),
        verdict=text(end, "verdict"),
        rounds=whole(end, "round"),
        reason=_reason(end, question),
        commit=text(end, "commit"),
        run=text(end, "run"),
        prompt_tokens=sum(whole(call, "prompt_tokens") for call in calls),
        completion_tokens=sum(whole(call, "completion_tokens") for call in calls),
        asked=_asked(end, question),
    )


def _reason(end: Mapping[str, Any], question: Mapping[str, Any]) -> str:
    said = text(end, "message") or (f"it waits for a person: {text(question, 'text')}" if question else "")
    return one_line(said)[:_REASON]


def _asked(end: Mapping[str, Any], question: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the kinds of questions that `yes` did not answer."""
    given = [one for one in objects(end.get("answers")) if one.get("by") != "--yes"]
    answered = [text(one, "question").split(".")[0].removeprefix("ask_") for one in given]
    return (*answered, *([text(question, "kind")] if question else ()))
