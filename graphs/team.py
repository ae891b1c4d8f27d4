"""Everything a node of the graph may use: the team's voices, its checks, its questions.

One `Team` serves one execution of the graph. It knows ports only; where a model runs or a report comes from is not its
business, and whether an answer is live or from the journal even less.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar, cast

from langgraph.types import interrupt

from agents.call import call
from agents.context import Count, Section, uncut
from agents.loop import Bounds, Worked, first_prompt, uses_tools, work
from agents.marks import defused, restored
from agents.personas import Persona
from agents.replies import ReplyModel
from agents.tools.worktree import Used, Worktree
from graphs.installed import Installed
from graphs.phrases import phrase
from graphs.records import question_of, reply_in, reply_out, report_event, report_in, report_out
from graphs.state import State
from tandem.errors import TandemError
from tandem.ports import Checks, Flight, Guardrail, Models, Recorder, Repository
from tandem.types import (
    Adapter,
    CheckReport,
    CheckRequest,
    Chunk,
    CommitId,
    CompleteRequest,
    Decision,
    Difficulty,
    Environment,
    Json,
    Limits,
    Message,
    PrepareRequest,
    Question,
    QuestionKind,
    Reply,
    RequestId,
    Sampling,
    Seal,
    Slot,
    Task,
    Tool,
    ToolCall,
)

T = TypeVar("T", bound=ReplyModel)
_TOKENS_EVERY_S = 0.1
_LOOKED_AT = ("draft", "head")  # checks whose report is shown to the lead: why it does not pass yet, and what decides


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the configuration says, as far as the workflow cares."""

    models: Mapping[Slot, str]
    contexts: Mapping[Slot, int]
    rounds: Mapping[Difficulty, int]
    limits: Limits
    repeats: int  # further runs of the new tests over a change that is to be proven
    mutation_s: float  # how long small faults are put into a proven change
    artefacts: tuple[str, ...]  # patterns of files that are brought back from the checks a person looks at
    call_s: float
    prepare_s: float
    prepare_network: str
    work_s: float  # model and test time of one persona's work with tools
    counts: Mapping[Slot, Count]  # how a model's tokens are counted
    expected_s: Callable[[str, str], float | None]  # persona, model -> seconds, where known
    took: Callable[[str, str, float], None]  # persona, model, seconds


@dataclass(slots=True, kw_only=True)
class Team:
    """The ports of one execution, and what it has seen so far."""

    task: Task
    recorder: Recorder
    models: Models
    checks: Checks
    repo: Repository
    guard: Guardrail
    personas: Mapping[str, Persona]
    settings: Settings
    flight: Flight
    reports: dict[str, CheckReport] = field(default_factory=dict[str, CheckReport])
    turns: Counter[str] = field(default_factory=Counter[str])
    installed: Installed = field(default_factory=Installed)

    async def speak(
        self, step: str, name: str, reply_type: type[T], sections: Sequence[Section], *, slot: Slot | None = None
    ) -> T:
        """Return what persona `name` answers to `sections`.

        Raises:
            BadReply: It could not be understood, twice.
        """
        persona = replace(self.personas[name], slot=slot) if slot else self.personas[name]
        spoken = await call(
            persona,
            sections,
            language=self.task.language,
            context_tokens=self.settings.contexts[persona.slot],
            ask=lambda messages, schema: self._ask(step, persona, messages, schema, ()),
            count=self.settings.counts[persona.slot],
        )
        self._tell_repairs(persona, spoken.repairs)
        assert isinstance(spoken.value, reply_type)
        return spoken.value

    async def work(
        self,
        step: str,
        name: str,
        sections: Sequence[Section],
        worktree: Worktree,
        *,
        leaves: ReplyModel | None = None,
    ) -> Worked:
        """Let persona `name` work on `worktree` with its tools; one without tools is asked once.

        Raises:
            BadReply: It could not be understood, twice.
        """
        persona = self.personas[name]
        if not uses_tools(persona):
            return Worked(value=await self.speak(step, name, persona.reply, sections))
        worked = await work(
            persona,
            sections,
            worktree,
            language=self.task.language,
            bounds=self._bounds(persona),
            ask=lambda messages, schema, tools: self._ask(step, persona, messages, schema, tools),
            count=self.settings.counts[persona.slot],
            on_used=lambda call, used: self._tell_used(step, name, call, used),
            leaves=leaves,
        )
        self._tell_repairs(persona, worked.repairs)
        if worked.failure:
            words = f"{persona.title}: stopped after {worked.turns} turns ({worked.failure}: {worked.why})"
            self.recorder.emit("note", level="warning", text=words)
        return worked

    def _bounds(self, persona: Persona) -> Bounds:
        return Bounds(context_tokens=self.settings.contexts[persona.slot], seconds=self.settings.work_s)

    def _tell_repairs(self, persona: Persona, repairs: Sequence[str]) -> None:
        if repairs:
            self.recorder.emit("note", level="info", text=f"{persona.title}: {'; '.join(dict.fromkeys(repairs))}")

    def _tell_used(self, step: str, persona: str, call: ToolCall, used: Used) -> None:
        about = str(call.arguments.get("path") or call.arguments.get("pattern") or "")[:200]
        said = used.text.splitlines()[0][:200] if used.text else ""
        self.turns["tool"] += 1  # in a replay the same, so that nobody is told of it twice
        about_it: dict[str, Json] = {"tool": call.name, "about": about, "failed": used.failed, "said": said}
        self.recorder.emit("call.tool", step=step, persona=persona, number=self.turns["tool"], **about_it)

    def seen_whole(self, name: str, sections: Sequence[Section]) -> set[str]:
        """Return the titles of the sections that persona `name` is shown uncut."""
        persona = self.personas[name]
        count, context_tokens = self.settings.counts[persona.slot], self.settings.contexts[persona.slot]
        if uses_tools(persona):
            context_tokens = first_prompt(persona, self._bounds(persona), count)
        return uncut(persona, sections, language=self.task.language, context_tokens=context_tokens, count=count)

    async def _ask(
        self,
        step: str,
        persona: Persona,
        messages: tuple[Message, ...],
        schema: dict[str, Json] | None,
        tools: tuple[Tool, ...],
    ) -> Reply:
        self.turns[persona.name] += 1
        request = CompleteRequest(
            request_id=RequestId(f"{self.recorder.run_id}/{step}/{persona.name}.{self.turns[persona.name]}"),
            run_id=self.recorder.run_id,
            persona=persona.name,
            turn=self.turns[persona.name],
            model=self.settings.models[persona.slot],
            messages=tuple(defused(message) for message in messages),
            tools=tools,
            schema=schema,
            sampling=Sampling(temperature=persona.temperature, max_tokens=persona.max_tokens),
            context_tokens=self.settings.contexts[persona.slot],
            priority=self.task.priority,
            deadline_s=self.settings.call_s,
        )

        async def live(attempt: int) -> Json:
            self._call_event("call.started", step, request)
            asked = replace(request, attempt=attempt)
            try:
                reply = await self.models.complete(asked, self._show_tokens(step, persona.name))
            except TandemError as error:
                self.flight.note(asked, None, error.message)
                raise
            self.flight.note(asked, reply, "")
            self.settings.took(persona.name, request.model, reply.total_ms / 1000)
            self._call_event("call.finished", step, request, reply)
            return reply_out(reply)

        return restored(reply_in(await self.recorder.ask(step, "reply", question_of(request), live)))

    def _call_event(self, kind: Any, step: str, request: CompleteRequest, reply: Reply | None = None) -> None:
        about: dict[str, Json] = {"step": step, "persona": request.persona, "model": request.model}
        if reply is None:
            about["expected_s"] = self.settings.expected_s(request.persona, request.model)
        else:
            about |= {
                "node": reply.node,
                "backend": reply.backend,
                "rehearsed": reply.rehearsed,
                "seconds": reply.total_ms / 1000,
                "first_token_ms": reply.first_token_ms,
                "prompt_tokens": reply.prompt_tokens,
                "completion_tokens": reply.completion_tokens,
            }
        self.recorder.emit(kind, **about)

    def _show_tokens(self, step: str, persona: str) -> Callable[[Chunk], None]:
        started, shown, chars, tail = time.monotonic(), 0.0, 0, ""

        def on_chunk(chunk: Chunk) -> None:
            nonlocal shown, chars, tail
            chars, tail = chunk.offset + len(chunk.text), (tail + chunk.text)[-80:]
            now = time.monotonic()
            if now - shown < _TOKENS_EVERY_S:
                return
            shown = now
            tokens = chars // 4  # a guess for the eye; the reply brings the count
            rate = tokens / max(now - started, 0.05)
            self.recorder.emit(
                "call.tokens", step=step, persona=persona, tokens=tokens, tokens_s=round(rate, 1), tail=tail
            )

        return on_chunk

    async def check(self, step: str, state: State, commit: str, what: str, seal: Seal | None = None) -> str:
        """Run the tests over `commit` and return the key under which `reports` holds what they showed.

        With a `seal` the commit is held against what the tester left.
        """
        command = cast("tuple[str, ...]", tuple(state["check"]["command"]))
        self.turns["check"] += 1  # two checks of one step are two questions, whatever they are called
        key = f"{step}/{what}.{self.turns['check']}"
        request = CheckRequest(
            request_id=RequestId(f"{self.recorder.run_id}/{key}"),
            run_id=self.recorder.run_id,
            repo_id=self.repo.repo_id,
            commit=CommitId(commit),
            command=command,
            adapter=cast("Adapter", state["check"]["adapter"]),
            environment=state.get("environment", ""),
            folder=self.task.folder,
            limits=self.settings.limits,
            priority=self.task.priority,
            unsandboxed=self.task.unsandboxed,
            seal=seal,
            artefacts=self.settings.artefacts if what.split(".")[0] in _LOOKED_AT else (),
        )

        async def live(attempt: int) -> Json:
            self.recorder.emit("check.started", step=step, command=list(command), commit=commit, what=what)
            report = await self._checked(step, state, replace(request, attempt=attempt))
            self.recorder.emit("check.finished", step=step, what=what, **report_event(report))
            return report_out(report)

        question: dict[str, Json] = {
            "what": what,
            "commit": commit,
            "command": list(command),
            "environment": request.environment,
        }
        self.reports[key] = report_in(await self.recorder.ask(step, "report", question, live))
        return key

    async def prepare(self, step: str, state: State, commit: str, *, allow_network: bool) -> Environment:
        """Return the environment for `commit`; not ready where building it needs the lead's permission."""
        request = PrepareRequest(
            request_id=RequestId(f"{self.recorder.run_id}/{step}"),
            run_id=self.recorder.run_id,
            repo_id=self.repo.repo_id,
            commit=CommitId(commit),
            adapter=cast("Adapter", state["check"]["adapter"]),
            folder=self.task.folder,
            allow_network=allow_network,
            wall_s=self.settings.prepare_s,
        )

        async def live(attempt: int) -> Json:
            environment = await self.checks.prepare(replace(request, attempt=attempt), self._progress(step))
            return cast("Json", {**asdict(environment), "files": list(environment.files)})

        question: dict[str, Json] = {"commit": commit, "adapter": request.adapter, "network": allow_network}
        found: dict[str, Any] = dict(cast("Any", await self.recorder.ask(step, "environment", question, live)))
        found["files"] = tuple(found["files"])
        return Environment(**found)

    async def _checked(self, step: str, state: State, request: CheckRequest) -> CheckReport:
        if not request.environment:
            return await self.checks.check(request, self._progress(step))
        wanted = PrepareRequest(
            request_id=RequestId(f"{self.recorder.run_id}/{step}/again"),
            run_id=self.recorder.run_id,
            repo_id=self.repo.repo_id,
            commit=self.task.base,
            adapter=cast("Adapter", state["check"]["adapter"]),
            folder=self.task.folder,
            allow_network=self.settings.prepare_network == "allow" or state.get("prepare_choice") == "allow",
            wall_s=self.settings.prepare_s,
        )
        return await self.installed.check(self.checks, request, wanted, self._progress(step))

    def _progress(self, step: str) -> Callable[[str, str], None]:
        return lambda stage, message: self.recorder.emit("check.progress", step=step, stage=stage, message=message)

    async def put(
        self,
        step: str,
        kind: QuestionKind,
        choices: Sequence[str],
        *,
        details: Mapping[str, Json],
        by_yes: str = "",
        digest: str = "",
        text: str | None = None,
        **values: object,
    ) -> Decision:
        """Put a question to the lead and return the answer; without one, the graph stops here until there is.

        `by_yes` is the choice that `--yes` makes; empty where only a person may answer.
        """
        digest = digest or hashlib.sha256(json.dumps(details, sort_keys=True).encode()).hexdigest()
        question = Question(
            id=f"{step}.{digest[:8]}",
            kind=kind,
            text=text or phrase(kind, self.task.language, **values),
            choices=tuple(choices),
            digest=digest,
            details=details,
        )
        given = self.recorder.answer(question.id)
        if given is not None and given.digest == question.digest:
            return given
        await self.recorder.opened(question)
        if self.task.yes and by_yes:
            decision = Decision(question=question.id, choice=by_yes, digest=digest, by="--yes")
            await self.recorder.answered(decision)
            self.recorder.emit("answer", question=question.id, choice=by_yes, by="--yes")
            return decision
        interrupt(asdict(question))
        raise AssertionError("interrupt() returned without an answer in the journal")
