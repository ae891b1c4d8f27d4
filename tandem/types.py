"""The values that travel between rooms: plain, frozen, comparable.

Nothing here does anything. Contents of files live in Git; what stands here are ids, texts a model needs, and verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NewType, TypeAlias

RunId = NewType("RunId", str)
RequestId = NewType("RequestId", str)
CommitId = NewType("CommitId", str)
TreeId = NewType("TreeId", str)
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

Difficulty = Literal["low", "medium", "high"]
Kind = Literal["code", "docs", "question", "vision"]
RunState = Literal[
    "queued",  # accepted, waits for its turn
    "running",
    "waiting",  # for a person; `question` says for what
    "merged",  # the checkout's branch has the commit
    "delivered",  # the commit is on a branch of its own
    "answered",  # a question, answered without a commit
    "planned",  # a plan was wanted, and is written
    "rejected",  # by the lead
    "blocked",  # by the guardrail, or by the lead asked by it
    "rounds spent",  # never got green
    "cancelled",
    "failed",  # an error; `message` says which and what to do; `tandem resume` goes on
]
ENDED: frozenset[RunState] = frozenset(
    ("merged", "delivered", "answered", "planned", "rejected", "blocked", "rounds spent", "cancelled", "failed")
)
Role = Literal["system", "user", "assistant", "tool"]
Outcome = Literal["passed", "failed", "error", "skipped"]
CheckVerdict = Literal["passed", "failed", "not run", "tampered", "flaky", "resource limit"]
Adapter = Literal["pytest", "unittest", "node", "jest", "vitest", "go", "cargo", "plain"]
JUDGE = 3  # the version of the judge's rules; a proof names the one it was made under
Controls = Literal["", "held", "absent", "unbuilt"]
Slot = Literal["router", "worker"]
OVERRIDE = "merge without proof"  # a choice that says what it does; it wants a reason beside it
QuestionKind = Literal["guard", "route", "plan", "prepare", "dispute", "approve", "rounds"]


# --- asking a model -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A model's wish to use a tool; `arguments` is a JSON object."""

    id: str
    name: str
    arguments: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation. `images` are encoded picture files (PNG, JPEG)."""

    role: Role
    content: str
    images: tuple[bytes, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool a model may call; `parameters` is a JSON schema."""

    name: str
    description: str
    parameters: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to draw tokens. `max_tokens` bounds the reply; `seed` makes a backend repeat itself where it can."""

    temperature: float = 0.2
    top_p: float = 0.95
    max_tokens: int = 4096
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteRequest:
    """Everything a persona call needs; a worker remembers nothing else.

    `persona` and `turn` name the call for logs, the live view and the rehearsal backend. `schema` is a JSON schema
    the reply's text must follow. `deadline_s` counts from the moment the request is sent.
    """

    request_id: RequestId
    attempt: int = 1
    run_id: RunId
    persona: str
    turn: int
    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    schema: Mapping[str, Json] | None = None
    sampling: Sampling = field(default_factory=Sampling)
    context_tokens: int = 16384
    priority: int = 1
    deadline_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a reply; `offset` counts the characters before it, so that a lost stream can be picked up."""

    offset: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A model's whole answer, with what it cost. `rehearsed` says that no model was asked."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Literal["stop", "length", "tool_calls"] = "stop"
    model: str = ""
    node: str = ""
    backend: str = ""
    rehearsed: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_token_ms: float = 0.0
    total_ms: float = 0.0


# --- running tests --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a check may use; beyond it the whole process tree is killed."""

    wall_s: float = 300.0
    memory_bytes: int = 4 << 30
    processes: int = 256
    output_bytes: int = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What the tester left: `files` as they are in the commit `tests`, which the checked commit may not have changed.

    With `controls`, tests of the judge's own run among them: that tells whether the command finds planted tests at all.
    With `twins`, the files also run under other names, in another order, beside controls and copies that must fail, and
    each changed file of code is put back once, which they have to notice; `repeats` more runs have to end the same. For
    `mutation_s` seconds, small faults are put
    into the change, and those that the files notice are counted.
    """

    tests: CommitId
    files: tuple[str, ...]
    controls: bool = False
    twins: bool = False
    repeats: int = 0
    mutation_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """Run `command` (an argv, never a shell line) over the tree of `commit` in the sandbox."""

    request_id: RequestId
    attempt: int = 1
    run_id: RunId
    repo_id: str
    commit: CommitId
    command: tuple[str, ...]
    adapter: Adapter = "plain"
    environment: str = ""  # the key Prepare answered with; empty: the worker's bare toolchain
    folder: str = ""  # inside the tree, "" is its root
    limits: Limits = field(default_factory=Limits)
    priority: int = 1
    unsandboxed: bool = False  # only the demo, whose code is ours; the proof says so
    seal: Seal | None = None  # what the tester wrote, where that is to be held against the commit
    artefacts: tuple[str, ...] = ()  # patterns of files the command leaves that are wanted (`tandem.artefacts`)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtefactPiece:
    """A piece of a file that a check left, or, with `left_out`, why none of it comes.

    `spool` names what the worker keeps the check's files in, so that a broken stream is picked up: in one spool, the
    pieces are always the same. `size_bytes` is the whole file's.
    """

    spool: str
    name: str
    size_bytes: int
    data: bytes = b""
    last: bool = False
    left_out: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """One test's outcome. `id` is stable between runs; `file` is relative to the tree, "" where unknown.

    `cause` is the class of the error it ended with, as its language names it, "" where unknown.
    """

    __test__ = False  # not a test itself, whatever pytest thinks of the name

    id: str
    outcome: Outcome
    file: str = ""
    message: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What a check found. `verdict` comes from the exit status and the per-test report, never from a model.

    With a seal: `controls` says what became of the planted tests (held; absent: the command does not find them;
    unbuilt: nothing could be built to run), `missing` names the tester's tests that were not told of, `twins` counts the
    tests whose changed copy failed as it must, `untwinned` those in which nothing could be changed, or whose changed copy
    did not end, as `cut` says; `unnoticed` names
    the changed files that could be put back without any of the tester's tests failing; of `mutants`, `killed` made one
    fail. `judge` is the version of the rules that were applied, 0 for those before controls.
    """

    verdict: CheckVerdict
    reason: str = ""
    exit_code: int | None = None
    tests: tuple[TestResult, ...] = ()
    output: str = ""
    duration_s: float = 0.0
    adapter: Adapter = "plain"
    sandbox: str = ""
    node: str = ""
    controls: Controls = ""
    missing: tuple[str, ...] = ()
    twins: int = 0
    untwinned: int = 0
    cut: bool = False
    unnoticed: tuple[str, ...] = ()
    mutants: int = 0
    killed: int = 0
    judge: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareRequest:
    """Build the environment that the lock and requirement files of `commit` describe, once per content hash."""

    request_id: RequestId
    attempt: int = 1
    run_id: RunId
    repo_id: str
    commit: CommitId
    adapter: Adapter
    folder: str = ""
    allow_network: bool = False
    wall_s: float = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What Prepare made. `key` is empty where nothing was needed; `files` are those it was made from."""

    key: str = ""
    kind: Literal["none", "python", "node", "go"] = "none"
    ready: bool = True
    files: tuple[str, ...] = ()
    built_s: float = 0.0


# --- machines -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model a node offers. `resident` says whether it is in memory now, None where its backend does not tell.

    `size_bytes` is what it takes on disk, and roughly in memory; 0 where unknown.
    """

    name: str
    backend: str
    rehearsal: bool = False
    resident: bool | None = None
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one of a node's schedulers has at a moment: its places, and by priority how many run and how many wait."""

    places: int
    running: Mapping[int, int] = field(default_factory=dict[int, int])
    waiting: Mapping[int, int] = field(default_factory=dict[int, int])


Medium: TypeAlias = Literal["thunderbolt", "ethernet", "wifi", "inside", "unknown"]
"""What carries an address: `inside` is this machine itself; `unknown` is one without an interface that leads there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An address a node listens on for paired routers, `HOST:PORT`, and what its interface there is."""

    address: str
    medium: Medium


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What a machine is made of, as far as a model cares. None is what its system does not say.

    `model_bytes` is what models may take, `limit` in words where that number comes from. `room_bytes` is free on the disk
    that Ollama keeps models on; None also where that is another machine's.
    """

    system: str
    chip: str | None
    memory_bytes: int | None
    model_bytes: int | None
    limit: str
    room_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInfo:
    """A worker's answer to Describe."""

    name: str
    boot_id: str
    version: str
    protocol: int
    platform: str
    models: tuple[ModelInfo, ...] = ()
    sandbox: str = ""  # the rung of the ladder in use, "" where none works
    sandbox_remedy: str = ""
    backend_trouble: str = ""  # why a backend lists no models, with the remedy
    calls: Load | None = None  # to models; None where the node does not say
    checks: Load | None = None
    free_bytes: int | None = None  # memory a program could take now without others being pushed out
    places: tuple[Place, ...] = ()
    build: str = ""  # the commit of the checkout it runs from
    now_s: float | None = None  # its clock, in seconds since 1970
    hardware: Hardware | None = None  # what it is made of; None where it does not say


# --- the task and its way -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a person asks for, as the router accepted it."""

    text: str
    repo: str  # absolute path of the checkout's top folder
    base: CommitId
    target: str  # the branch to deliver to, short name
    deliver: Literal["merge", "branch"] = "merge"
    language: str = "en"
    images: tuple[str, ...] = ()
    folder: str = ""  # the part of the repository it is for, "" for all of it
    check: str = ""  # the lead's own check command, "" to detect
    priority: int = 1
    yes: bool = False
    max_minutes: float = 60.0
    unsandboxed: bool = False
    plan_only: bool = False  # a plan is all that is wanted
    plan: str = ""  # a plan's document to carry out, "" to make one


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a worker is to keep when it clears up: of each repository (by id) these commits and their history."""

    repositories: Mapping[str, tuple[CommitId, ...]]
    environments_s: float  # those unused for longer go
    dry_run: bool = False  # only say what could be freed


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """What clearing up freed, or would: a kind of thing, how many, and their bytes on disk."""

    what: str
    count: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One file of a change: its whole new text, or None to delete it."""

    path: str
    content: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A line that a search found; `line` counts from 1."""

    path: str
    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """A person's remark on a line of the diff."""

    path: str
    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a waiting run asks. `digest` binds the answer to exactly the bytes that are shown."""

    id: str
    kind: QuestionKind
    text: str
    choices: tuple[str, ...]
    digest: str = ""
    details: Mapping[str, Json] = field(default_factory=dict[str, "Json"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A person's answer. `by` says who: the local user, or `--yes`."""

    question: str
    choice: str
    digest: str = ""
    text: str = ""
    comments: tuple[Comment, ...] = ()
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Screening:
    """The guardrail's answer. `reasons` are fit for a person and hold no secret's value."""

    verdict: Literal["allow", "ask", "block"]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Where the commit went. `left_on_branch` names the branch it was left on, where the checkout could not take it."""

    commit: CommitId
    branch: str
    merged: bool
    message: str = ""
