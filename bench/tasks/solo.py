"""One persona alone on an exercise: what the configured model does without a team, at the same budget.

It sees the instructions and the files of the base, never a test, and answers with whole files. What it made is judged by
the exercise's own tests; where they do not pass, it is told that and nothing more, and may try again while there is budget.
The model is asked and the tests are run by a worker, as in a team's runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import cast

from agents.call import call
from agents.context import Section
from agents.personas import Persona, load, own_folder
from agents.replies import Code, CodeFile
from bench.tasks import desk, hidden
from bench.tasks.exercise import Exercise
from bench.tasks.results import Ran
from router import local_worker
from router.dispatcher import Dispatcher
from router.node import Node
from tandem.config import Config
from tandem.entry import APP_ROOT
from tandem.errors import BadReply, NoSandbox, TandemError, Unavailable
from tandem.paths import private_dir, socket_path
from tandem.types import Chunk, CompleteRequest, Json, Message, Reply, RequestId, RunId, Sampling

_LEAVE_S = 10.0
_PROMPT = """You are a senior developer. You get instructions and the files of a small project, and complete it.

Answer with one JSON object: `files`, each changed file with its `path` and its whole new `content`, and `note`, one
sentence on what you did. Leave `dispute` empty. Keep the names and signatures that are there. Handle the errors that the
instructions name. Tests that you do not see will judge what you wrote."""
_NOT_PASSED = "The hidden tests do not all pass on your last files. Read the instructions again and correct them."


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may be spent on an exercise: attempts, and completion tokens after which no further one begins (None: any)."""

    attempts: int
    tokens: int | None = None


@dataclass(slots=True, kw_only=True)
class Solo:
    """A worker, and the one who asks it."""

    process: subprocess.Popen[bytes]
    folder: Path
    state: Path
    config: Config

    def do(self, exercise: Exercise, budget: Budget) -> Ran:
        """Have the model do an exercise, and return what came of it; `rounds` are its attempts."""
        began, place = time.monotonic(), self.folder / uuid.uuid4().hex
        try:
            repo = desk.repository(place, exercise)
            ran = asyncio.run(self._do(exercise, repo, budget))
        except Unavailable:
            raise
        except TandemError as error:
            ran = Ran(state="failed", reason=error.message, solved=False)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        return replace(ran, seconds=round(time.monotonic() - began, 2))

    async def _do(self, exercise: Exercise, repo: Path, budget: Budget) -> Ran:
        dispatcher = Dispatcher([Node.at_socket(socket_path(self.state, "worker"))], lambda repo_id: repo / ".git")
        try:
            return await _Alone(dispatcher, exercise, repo, self.config).attempts(budget)
        finally:
            await dispatcher.close()

    def stop(self) -> None:
        """End the worker."""
        self.process.terminate()
        try:
            self.process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class _Alone:
    """The attempts at one exercise."""

    def __init__(self, dispatcher: Dispatcher, exercise: Exercise, repo: Path, config: Config) -> None:
        self._dispatcher = dispatcher
        self._exercise = exercise
        self._repo = repo
        self._config = config
        self._persona = _persona()
        self._run = RunId(f"solo-{uuid.uuid4().hex[:12]}")
        self._replies: list[Reply] = []
        self._asked = 0

    async def attempts(self, budget: Budget) -> Ran:
        """Try until the tests pass or the budget is spent."""
        now, ran = dict(self._exercise.base), Ran(state="not solved", solved=False)
        for number in range(1, budget.attempts + 1):
            try:
                said = await self._attempt(now, again=number > 1)
            except BadReply as error:
                ran = replace(ran, rounds=number, reason=error.message)
            else:
                now |= _taken(said, self._exercise)
                _write(self._repo, now)
                report = await hidden.check(self._dispatcher, self._exercise, self._repo)
                solved, words = hidden.solved(report), hidden.words(report)
                ran = replace(ran, rounds=number, verdict=report.verdict, reason=words, solved=solved)
            if ran.solved or (budget.tokens is not None and self._spent() >= budget.tokens):
                break
        return replace(
            ran,
            state="solved" if ran.solved else "not solved",
            prompt_tokens=sum(reply.prompt_tokens for reply in self._replies),
            completion_tokens=self._spent(),
        )

    def _spent(self) -> int:
        return sum(reply.completion_tokens for reply in self._replies)

    async def _attempt(self, now: Mapping[str, str], *, again: bool) -> Sequence[CodeFile]:
        sections = [
            Section(title="instructions", text=self._exercise.task, keep=9),
            *(Section(title=f"file {path}", text=text, keep=6) for path, text in now.items()),
            Section(title="what became of your last files", text=_NOT_PASSED if again else "", keep=8),
        ]
        spoken = await call(
            self._persona,
            sections,
            language="en",
            context_tokens=self._config.context.worker,
            ask=self._ask,
        )
        return cast("Code", spoken.value).files

    async def _ask(self, messages: tuple[Message, ...], schema: dict[str, Json]) -> Reply:
        self._asked += 1
        request = CompleteRequest(
            request_id=RequestId(f"{self._run}/{self._asked}"),
            run_id=self._run,
            persona=self._persona.name,
            turn=self._asked,
            model=self._config.models.worker,
            messages=messages,
            schema=schema,
            sampling=Sampling(temperature=self._persona.temperature, max_tokens=self._persona.max_tokens),
            context_tokens=self._config.context.worker,
            deadline_s=self._config.router.call_s,
        )
        reply = await self._dispatcher.complete(request, _unseen)
        self._replies.append(reply)
        return reply


@contextlib.contextmanager
def opened(folder: Path, env: Mapping[str, str], config: Config) -> Generator[Solo]:
    """Have a worker inside the block; should this process be killed, it leaves by itself.

    Raises:
        Unavailable: It did not start.
        NoSandbox: No sandbox works here, and exercises are run in one or not at all.
    """
    state = private_dir(Path(env["TANDEM_STATE"]))
    argv = local_worker.command(socket_path(state, "worker"), state)
    with subprocess.Popen(
        argv, env=env, cwd=APP_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        solo = Solo(process=process, folder=folder, state=state, config=config)
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise Unavailable(f"the worker left with status {process.wait(_LEAVE_S)} before it was ready")
            threading.Thread(
                target=process.stdout.read, daemon=True
            ).start()  # its signs of life must not fill the pipe
            if not asyncio.run(_sandbox(state)):
                raise NoSandbox(
                    "no sandbox works here, and exercises are run in one or not at all; see `tandem doctor`"
                )
            yield solo
        finally:
            solo.stop()


async def _sandbox(state: Path) -> str:
    node = Node.at_socket(socket_path(state, "worker"))
    try:
        return (await node.describe()).sandbox
    finally:
        await node.channels.calls.close()


def _persona() -> Persona:
    """Return the coder with its model and its temperature, without tools and without what a team tells it."""
    return replace(load(own_folder())["coder"], tools=(), steps=1, prompt=_PROMPT)


def _taken(files: Sequence[CodeFile], exercise: Exercise) -> dict[str, str]:
    """Return the files of a reply that lie in the project and are none of its tests."""
    return {
        file.path: file.content for file in files if file.content is not None and _inside(file.path, exercise.tests)
    }


def _inside(path: str, tests: Mapping[str, str]) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and not {"..", ".git"} & set(parts) and path not in tests


def _write(repo: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).write_text(text, "utf-8", newline="")


def _unseen(chunk: Chunk) -> None:
    del chunk
