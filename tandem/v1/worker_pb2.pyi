from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CallHeader(_message.Message):
    __slots__ = ("request_id", "attempt", "priority", "deadline_s", "run_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_S_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    attempt: int
    priority: int
    deadline_s: float
    run_id: str
    def __init__(self, request_id: _Optional[str] = ..., attempt: _Optional[int] = ..., priority: _Optional[int] = ..., deadline_s: _Optional[float] = ..., run_id: _Optional[str] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ("protocol", "version")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    version: str
    def __init__(self, protocol: _Optional[int] = ..., version: _Optional[str] = ...) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("name", "boot_id", "version", "protocol", "platform", "models", "sandbox", "sandbox_remedy", "backend_trouble", "calls", "checks", "free_bytes", "places", "build", "now_s", "hardware")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    SANDBOX_FIELD_NUMBER: _ClassVar[int]
    SANDBOX_REMEDY_FIELD_NUMBER: _ClassVar[int]
    BACKEND_TROUBLE_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    BUILD_FIELD_NUMBER: _ClassVar[int]
    NOW_S_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_FIELD_NUMBER: _ClassVar[int]
    name: str
    boot_id: str
    version: str
    protocol: int
    platform: str
    models: _containers.RepeatedCompositeFieldContainer[ModelInfo]
    sandbox: str
    sandbox_remedy: str
    backend_trouble: str
    calls: Load
    checks: Load
    free_bytes: int
    places: _containers.RepeatedCompositeFieldContainer[Place]
    build: str
    now_s: float
    hardware: Hardware
    def __init__(self, name: _Optional[str] = ..., boot_id: _Optional[str] = ..., version: _Optional[str] = ..., protocol: _Optional[int] = ..., platform: _Optional[str] = ..., models: _Optional[_Iterable[_Union[ModelInfo, _Mapping]]] = ..., sandbox: _Optional[str] = ..., sandbox_remedy: _Optional[str] = ..., backend_trouble: _Optional[str] = ..., calls: _Optional[_Union[Load, _Mapping]] = ..., checks: _Optional[_Union[Load, _Mapping]] = ..., free_bytes: _Optional[int] = ..., places: _Optional[_Iterable[_Union[Place, _Mapping]]] = ..., build: _Optional[str] = ..., now_s: _Optional[float] = ..., hardware: _Optional[_Union[Hardware, _Mapping]] = ...) -> None: ...

class Hardware(_message.Message):
    __slots__ = ("system", "chip", "memory_bytes", "model_bytes", "limit", "room_bytes")
    SYSTEM_FIELD_NUMBER: _ClassVar[int]
    CHIP_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MODEL_BYTES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    ROOM_BYTES_FIELD_NUMBER: _ClassVar[int]
    system: str
    chip: str
    memory_bytes: int
    model_bytes: int
    limit: str
    room_bytes: int
    def __init__(self, system: _Optional[str] = ..., chip: _Optional[str] = ..., memory_bytes: _Optional[int] = ..., model_bytes: _Optional[int] = ..., limit: _Optional[str] = ..., room_bytes: _Optional[int] = ...) -> None: ...

class Place(_message.Message):
    __slots__ = ("address", "medium")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    MEDIUM_FIELD_NUMBER: _ClassVar[int]
    address: str
    medium: str
    def __init__(self, address: _Optional[str] = ..., medium: _Optional[str] = ...) -> None: ...

class UpgradeRequest(_message.Message):
    __slots__ = ("commit", "look")
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    LOOK_FIELD_NUMBER: _ClassVar[int]
    commit: str
    look: bool
    def __init__(self, commit: _Optional[str] = ..., look: _Optional[bool] = ...) -> None: ...

class UpgradeResponse(_message.Message):
    __slots__ = ("log", "state", "words", "build")
    LOG_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    BUILD_FIELD_NUMBER: _ClassVar[int]
    log: str
    state: str
    words: str
    build: str
    def __init__(self, log: _Optional[str] = ..., state: _Optional[str] = ..., words: _Optional[str] = ..., build: _Optional[str] = ...) -> None: ...

class MeasureRequest(_message.Message):
    __slots__ = ("bytes",)
    BYTES_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    def __init__(self, bytes: _Optional[int] = ...) -> None: ...

class MeasureResponse(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class Load(_message.Message):
    __slots__ = ("places", "running", "waiting")
    PLACES_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    places: int
    running: _containers.RepeatedCompositeFieldContainer[ClassCount]
    waiting: _containers.RepeatedCompositeFieldContainer[ClassCount]
    def __init__(self, places: _Optional[int] = ..., running: _Optional[_Iterable[_Union[ClassCount, _Mapping]]] = ..., waiting: _Optional[_Iterable[_Union[ClassCount, _Mapping]]] = ...) -> None: ...

class ClassCount(_message.Message):
    __slots__ = ("priority", "count")
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    priority: int
    count: int
    def __init__(self, priority: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class ModelInfo(_message.Message):
    __slots__ = ("name", "backend", "rehearsal", "resident", "size_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    REHEARSAL_FIELD_NUMBER: _ClassVar[int]
    RESIDENT_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    backend: str
    rehearsal: bool
    resident: bool
    size_bytes: int
    def __init__(self, name: _Optional[str] = ..., backend: _Optional[str] = ..., rehearsal: _Optional[bool] = ..., resident: _Optional[bool] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class ToolCall(_message.Message):
    __slots__ = ("id", "name", "arguments_json")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    arguments_json: str
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., arguments_json: _Optional[str] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("role", "content", "images", "tool_calls", "tool_call_id")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    role: str
    content: str
    images: _containers.RepeatedScalarFieldContainer[bytes]
    tool_calls: _containers.RepeatedCompositeFieldContainer[ToolCall]
    tool_call_id: str
    def __init__(self, role: _Optional[str] = ..., content: _Optional[str] = ..., images: _Optional[_Iterable[bytes]] = ..., tool_calls: _Optional[_Iterable[_Union[ToolCall, _Mapping]]] = ..., tool_call_id: _Optional[str] = ...) -> None: ...

class Tool(_message.Message):
    __slots__ = ("name", "description", "parameters_json")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_JSON_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    parameters_json: str
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., parameters_json: _Optional[str] = ...) -> None: ...

class Sampling(_message.Message):
    __slots__ = ("temperature", "top_p", "max_tokens", "seed")
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    temperature: float
    top_p: float
    max_tokens: int
    seed: int
    def __init__(self, temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., max_tokens: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class CompleteRequest(_message.Message):
    __slots__ = ("header", "persona", "turn", "model", "messages", "tools", "schema_json", "sampling", "context_tokens", "resume_offset")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    PERSONA_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_JSON_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RESUME_OFFSET_FIELD_NUMBER: _ClassVar[int]
    header: CallHeader
    persona: str
    turn: int
    model: str
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    tools: _containers.RepeatedCompositeFieldContainer[Tool]
    schema_json: str
    sampling: Sampling
    context_tokens: int
    resume_offset: int
    def __init__(self, header: _Optional[_Union[CallHeader, _Mapping]] = ..., persona: _Optional[str] = ..., turn: _Optional[int] = ..., model: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., tools: _Optional[_Iterable[_Union[Tool, _Mapping]]] = ..., schema_json: _Optional[str] = ..., sampling: _Optional[_Union[Sampling, _Mapping]] = ..., context_tokens: _Optional[int] = ..., resume_offset: _Optional[int] = ...) -> None: ...

class CompleteResponse(_message.Message):
    __slots__ = ("chunk", "reply", "attempt")
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    chunk: Chunk
    reply: Reply
    attempt: int
    def __init__(self, chunk: _Optional[_Union[Chunk, _Mapping]] = ..., reply: _Optional[_Union[Reply, _Mapping]] = ..., attempt: _Optional[int] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("offset", "text")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    offset: int
    text: str
    def __init__(self, offset: _Optional[int] = ..., text: _Optional[str] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("text", "tool_calls", "finish", "model", "node", "backend", "rehearsed", "prompt_tokens", "completion_tokens", "first_token_ms", "total_ms")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    REHEARSED_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FIRST_TOKEN_MS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MS_FIELD_NUMBER: _ClassVar[int]
    text: str
    tool_calls: _containers.RepeatedCompositeFieldContainer[ToolCall]
    finish: str
    model: str
    node: str
    backend: str
    rehearsed: bool
    prompt_tokens: int
    completion_tokens: int
    first_token_ms: float
    total_ms: float
    def __init__(self, text: _Optional[str] = ..., tool_calls: _Optional[_Iterable[_Union[ToolCall, _Mapping]]] = ..., finish: _Optional[str] = ..., model: _Optional[str] = ..., node: _Optional[str] = ..., backend: _Optional[str] = ..., rehearsed: _Optional[bool] = ..., prompt_tokens: _Optional[int] = ..., completion_tokens: _Optional[int] = ..., first_token_ms: _Optional[float] = ..., total_ms: _Optional[float] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("stage", "message")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    stage: str
    message: str
    def __init__(self, stage: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class PrepareRequest(_message.Message):
    __slots__ = ("header", "repo_id", "commit", "adapter", "folder", "allow_network", "wall_s")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    REPO_ID_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    ALLOW_NETWORK_FIELD_NUMBER: _ClassVar[int]
    WALL_S_FIELD_NUMBER: _ClassVar[int]
    header: CallHeader
    repo_id: str
    commit: str
    adapter: str
    folder: str
    allow_network: bool
    wall_s: float
    def __init__(self, header: _Optional[_Union[CallHeader, _Mapping]] = ..., repo_id: _Optional[str] = ..., commit: _Optional[str] = ..., adapter: _Optional[str] = ..., folder: _Optional[str] = ..., allow_network: _Optional[bool] = ..., wall_s: _Optional[float] = ...) -> None: ...

class PrepareResponse(_message.Message):
    __slots__ = ("progress", "environment", "attempt")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    environment: Environment
    attempt: int
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., environment: _Optional[_Union[Environment, _Mapping]] = ..., attempt: _Optional[int] = ...) -> None: ...

class Environment(_message.Message):
    __slots__ = ("key", "toolchain", "ready", "files", "built_s")
    KEY_FIELD_NUMBER: _ClassVar[int]
    TOOLCHAIN_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    BUILT_S_FIELD_NUMBER: _ClassVar[int]
    key: str
    toolchain: str
    ready: bool
    files: _containers.RepeatedScalarFieldContainer[str]
    built_s: float
    def __init__(self, key: _Optional[str] = ..., toolchain: _Optional[str] = ..., ready: _Optional[bool] = ..., files: _Optional[_Iterable[str]] = ..., built_s: _Optional[float] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("wall_s", "memory_bytes", "processes", "output_bytes")
    WALL_S_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_BYTES_FIELD_NUMBER: _ClassVar[int]
    wall_s: float
    memory_bytes: int
    processes: int
    output_bytes: int
    def __init__(self, wall_s: _Optional[float] = ..., memory_bytes: _Optional[int] = ..., processes: _Optional[int] = ..., output_bytes: _Optional[int] = ...) -> None: ...

class CheckRequest(_message.Message):
    __slots__ = ("header", "repo_id", "commit", "command", "adapter", "environment", "folder", "limits", "unsandboxed", "seal", "artefacts", "spool", "spool_messages")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    REPO_ID_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    UNSANDBOXED_FIELD_NUMBER: _ClassVar[int]
    SEAL_FIELD_NUMBER: _ClassVar[int]
    ARTEFACTS_FIELD_NUMBER: _ClassVar[int]
    SPOOL_FIELD_NUMBER: _ClassVar[int]
    SPOOL_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    header: CallHeader
    repo_id: str
    commit: str
    command: _containers.RepeatedScalarFieldContainer[str]
    adapter: str
    environment: str
    folder: str
    limits: Limits
    unsandboxed: bool
    seal: Seal
    artefacts: _containers.RepeatedScalarFieldContainer[str]
    spool: str
    spool_messages: int
    def __init__(self, header: _Optional[_Union[CallHeader, _Mapping]] = ..., repo_id: _Optional[str] = ..., commit: _Optional[str] = ..., command: _Optional[_Iterable[str]] = ..., adapter: _Optional[str] = ..., environment: _Optional[str] = ..., folder: _Optional[str] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., unsandboxed: _Optional[bool] = ..., seal: _Optional[_Union[Seal, _Mapping]] = ..., artefacts: _Optional[_Iterable[str]] = ..., spool: _Optional[str] = ..., spool_messages: _Optional[int] = ...) -> None: ...

class Seal(_message.Message):
    __slots__ = ("tests", "files", "controls", "twins", "mutation_s", "repeats")
    TESTS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    CONTROLS_FIELD_NUMBER: _ClassVar[int]
    TWINS_FIELD_NUMBER: _ClassVar[int]
    MUTATION_S_FIELD_NUMBER: _ClassVar[int]
    REPEATS_FIELD_NUMBER: _ClassVar[int]
    tests: str
    files: _containers.RepeatedScalarFieldContainer[str]
    controls: bool
    twins: bool
    mutation_s: float
    repeats: int
    def __init__(self, tests: _Optional[str] = ..., files: _Optional[_Iterable[str]] = ..., controls: _Optional[bool] = ..., twins: _Optional[bool] = ..., mutation_s: _Optional[float] = ..., repeats: _Optional[int] = ...) -> None: ...

class CheckResponse(_message.Message):
    __slots__ = ("progress", "report", "artefact", "attempt", "spool")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    ARTEFACT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SPOOL_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    report: CheckReport
    artefact: Artefact
    attempt: int
    spool: str
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., report: _Optional[_Union[CheckReport, _Mapping]] = ..., artefact: _Optional[_Union[Artefact, _Mapping]] = ..., attempt: _Optional[int] = ..., spool: _Optional[str] = ...) -> None: ...

class Artefact(_message.Message):
    __slots__ = ("spool", "name", "size", "data", "last", "left_out")
    SPOOL_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    spool: str
    name: str
    size: int
    data: bytes
    last: bool
    left_out: str
    def __init__(self, spool: _Optional[str] = ..., name: _Optional[str] = ..., size: _Optional[int] = ..., data: _Optional[bytes] = ..., last: _Optional[bool] = ..., left_out: _Optional[str] = ...) -> None: ...

class TestResult(_message.Message):
    __slots__ = ("id", "outcome", "file", "message", "cause")
    ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    id: str
    outcome: str
    file: str
    message: str
    cause: str
    def __init__(self, id: _Optional[str] = ..., outcome: _Optional[str] = ..., file: _Optional[str] = ..., message: _Optional[str] = ..., cause: _Optional[str] = ...) -> None: ...

class CheckReport(_message.Message):
    __slots__ = ("verdict", "reason", "exit_code", "tests", "output", "duration_s", "adapter", "sandbox", "node", "controls", "missing", "twins", "untwinned", "judge", "unnoticed", "mutants", "killed", "cut")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    TESTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    SANDBOX_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    CONTROLS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    TWINS_FIELD_NUMBER: _ClassVar[int]
    UNTWINNED_FIELD_NUMBER: _ClassVar[int]
    JUDGE_FIELD_NUMBER: _ClassVar[int]
    UNNOTICED_FIELD_NUMBER: _ClassVar[int]
    MUTANTS_FIELD_NUMBER: _ClassVar[int]
    KILLED_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    verdict: str
    reason: str
    exit_code: int
    tests: _containers.RepeatedCompositeFieldContainer[TestResult]
    output: str
    duration_s: float
    adapter: str
    sandbox: str
    node: str
    controls: str
    missing: _containers.RepeatedScalarFieldContainer[str]
    twins: int
    untwinned: int
    judge: int
    unnoticed: _containers.RepeatedScalarFieldContainer[str]
    mutants: int
    killed: int
    cut: bool
    def __init__(self, verdict: _Optional[str] = ..., reason: _Optional[str] = ..., exit_code: _Optional[int] = ..., tests: _Optional[_Iterable[_Union[TestResult, _Mapping]]] = ..., output: _Optional[str] = ..., duration_s: _Optional[float] = ..., adapter: _Optional[str] = ..., sandbox: _Optional[str] = ..., node: _Optional[str] = ..., controls: _Optional[str] = ..., missing: _Optional[_Iterable[str]] = ..., twins: _Optional[int] = ..., untwinned: _Optional[int] = ..., judge: _Optional[int] = ..., unnoticed: _Optional[_Iterable[str]] = ..., mutants: _Optional[int] = ..., killed: _Optional[int] = ..., cut: _Optional[bool] = ...) -> None: ...

class GitRequest(_message.Message):
    __slots__ = ("open", "data")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    open: GitOpen
    data: bytes
    def __init__(self, open: _Optional[_Union[GitOpen, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class GitOpen(_message.Message):
    __slots__ = ("repo_id", "service", "shared")
    REPO_ID_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    repo_id: str
    service: str
    shared: str
    def __init__(self, repo_id: _Optional[str] = ..., service: _Optional[str] = ..., shared: _Optional[str] = ...) -> None: ...

class GitResponse(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    def __init__(self, request_id: _Optional[str] = ...) -> None: ...

class CancelResponse(_message.Message):
    __slots__ = ("found",)
    FOUND_FIELD_NUMBER: _ClassVar[int]
    found: bool
    def __init__(self, found: _Optional[bool] = ...) -> None: ...

class CollectRequest(_message.Message):
    __slots__ = ("repositories", "environments_s", "dry_run")
    REPOSITORIES_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENTS_S_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    repositories: _containers.RepeatedCompositeFieldContainer[KeptRepository]
    environments_s: float
    dry_run: bool
    def __init__(self, repositories: _Optional[_Iterable[_Union[KeptRepository, _Mapping]]] = ..., environments_s: _Optional[float] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class KeptRepository(_message.Message):
    __slots__ = ("repo_id", "commits")
    REPO_ID_FIELD_NUMBER: _ClassVar[int]
    COMMITS_FIELD_NUMBER: _ClassVar[int]
    repo_id: str
    commits: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, repo_id: _Optional[str] = ..., commits: _Optional[_Iterable[str]] = ...) -> None: ...

class CollectResponse(_message.Message):
    __slots__ = ("freed",)
    FREED_FIELD_NUMBER: _ClassVar[int]
    freed: _containers.RepeatedCompositeFieldContainer[Freed]
    def __init__(self, freed: _Optional[_Iterable[_Union[Freed, _Mapping]]] = ...) -> None: ...

class Freed(_message.Message):
    __slots__ = ("what", "count", "bytes")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    what: str
    count: int
    bytes: int
    def __init__(self, what: _Optional[str] = ..., count: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...
