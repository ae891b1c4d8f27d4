"""Read the configuration once, at the start: `tandem.toml`, then `TANDEM_*` variables.

Every key is documented at its field and in deploy/tandem.example.toml. A file inside the repository a task works on is
never read: that text is not the user's. Folders are `tandem.paths`' business.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from tandem import addresses, artefacts, endpoints
from tandem.errors import BadConfig, BadInput
from tandem.paths import SOCKET_PATH_MAX, config_path, home_dir, private_dir, socket_path, state_dir
from tandem.types import Medium

__all__ = [
    "CODING_CONTEXT_MIN",
    "SOCKET_PATH_MAX",
    "CheckConfig",
    "Config",
    "ContextConfig",
    "LinkConfig",
    "ModelsConfig",
    "OllamaConfig",
    "OpenAIConfig",
    "PrepareConfig",
    "RehearsalConfig",
    "RoundsConfig",
    "RouterConfig",
    "WorkerConfig",
    "config_path",
    "home_dir",
    "load",
    "private_dir",
    "socket_path",
    "state_dir",
]
CODING_CONTEXT_MIN = 16384  # below it, the same model falls from 71 to 52 on aider's benchmark


def _split(value: object) -> object:
    return [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value


_Listed = Annotated[list[str], BeforeValidator(_split)]
"""In a variable, parts with commas between them."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelsConfig(_Section):
    """Which model plays for whom. A name may carry its backend: `ollama/qwen2.5:7b`, `openai/qwen3`, `rehearsal/demo`."""

    router: str = "qwen2.5:7b"
    """Small and quick: assesses tasks and writes reports."""
    worker: str = "qwen3-coder-next:q4_K_M"
    """Large: plans, writes tests and code, reviews."""


class ContextConfig(_Section):
    """Context sizes in tokens, one per role and fixed: Ollama reloads a model when this changes between calls."""

    router: Annotated[int, Field(ge=4096)] = 8192
    worker: Annotated[int, Field(ge=CODING_CONTEXT_MIN)] = 32768
    router_tokenizer: str = ""
    """The model's own `tokenizer.json`, to count its tokens exactly; empty: a cautious estimate."""
    worker_tokenizer: str = ""
    """The same for the worker's model."""


class OllamaConfig(_Section):
    """The Ollama server on the worker's machine."""

    url: str = "http://127.0.0.1:11434"
    keep_alive: str = "30m"
    """How long Ollama keeps a model in memory after a call."""
    first_token_s: Annotated[float, Field(gt=0)] = 240.0
    """Longest wait for a reply to begin; loading 52 GB and reading a long prompt happen in it."""
    idle_s: Annotated[float, Field(gt=0)] = 60.0
    """Longest silence inside a reply."""


class OpenAIConfig(_Section):
    """An OpenAI-compatible server: llama.cpp, LM Studio, vLLM, mlx_lm.server. Its models are `openai/<id>`."""

    allow_remote: bool = False
    """Whether the address may lead out of this machine and the private networks around it: your code would go there."""
    url: Annotated[str, Field(validate_default=True)] = "http://127.0.0.1:8080/v1"
    """Where its API answers."""
    key_env: str = "TANDEM_OPENAI_KEY"
    """The environment variable that holds the key, where the server wants one; without it, the keychain is asked."""
    first_token_s: Annotated[float, Field(gt=0)] = 240.0
    """Longest wait for a reply to begin; loading a model and reading a long prompt happen in it."""
    idle_s: Annotated[float, Field(gt=0)] = 60.0
    """Longest silence inside a reply."""

    @field_validator("key_env")
    @classmethod
    def _a_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):  # perhaps the key itself, so it is not shown
            raise PydanticCustomError("secret", "not the name of an environment variable; a key never stands here")
        return name

    @field_validator("url")
    @classmethod
    def _at_home(cls, url: str, info: ValidationInfo) -> str:
        try:
            return addresses.checked(
                url, allow_remote=bool(info.data.get("allow_remote")), setting="openai.allow_remote"
            )
        except addresses.Credentials as error:
            raise PydanticCustomError("secret", "{why}", {"why": str(error)}) from None
        except ValueError as error:
            raise PydanticCustomError("address", "{why}", {"why": str(error)}) from None


class RehearsalConfig(_Section):
    """The backend that plays a script instead of asking a model. It says everywhere that it is one."""

    script: str = ""
    """A script file (YAML), or `demo` for the one that ships; empty: no rehearsal models are offered."""
    tokens_s: Annotated[float, Field(ge=0)] = 0.0
    """Pace in tokens a second; 0 is as fast as it goes."""
    seed: int = 0
    """Seed of the `rehearsal/random` model."""


class RoundsConfig(_Section):
    """How many times the coder may try before the lead is asked, by difficulty."""

    low: Annotated[int, Field(ge=1, le=20)] = 2
    medium: Annotated[int, Field(ge=1, le=20)] = 3
    high: Annotated[int, Field(ge=1, le=20)] = 4


class CheckConfig(_Section):
    """What one run of the tests may use."""

    wall_s: Annotated[float, Field(gt=0)] = 300.0
    memory_gib: Annotated[float, Field(gt=0)] = 4.0
    processes: Annotated[int, Field(ge=8)] = 256
    output_mib: Annotated[int, Field(ge=1)] = 8
    repeats: Annotated[int, Field(ge=0, le=20)] = 2
    mutation_s: Annotated[float, Field(ge=0)] = 10.0
    artefacts: _Listed = list(artefacts.DEFAULT)
    """Files that tests leave and that are brought back from the checks a person looks at: patterns of paths from the folder
    of the check. None named: nothing is."""

    @field_validator("artefacts")
    @classmethod
    def _inside(cls, wanted: list[str]) -> list[str]:
        try:
            return list(artefacts.patterns(wanted))
        except BadInput as error:
            raise PydanticCustomError("pattern", "{why}", {"why": error.message}) from None


class PrepareConfig(_Section):
    """Building environments from lock files may reach package registries."""

    network: Literal["ask", "allow", "never"] = "ask"
    wall_s: Annotated[float, Field(gt=0)] = 900.0


class RouterConfig(_Section):
    """The router itself."""

    active_runs: Annotated[int, Field(ge=1, le=64)] = 2
    """Runs that work at the same time; the others wait in the queue."""
    queue: Annotated[int, Field(ge=1)] = 256
    """Runs that may wait; one more is refused."""
    repo_runs: Annotated[int, Field(ge=1, le=64)] = 1
    """Runs that work on one repository at the same time: two that end together cost each other a rebase."""
    ageing_s: Annotated[float, Field(gt=0)] = 900.0
    """After so long in the queue a run counts as one of the next priority."""
    wait_s: Annotated[float, Field(ge=0)] = 43_200.0
    """How long a run waits for a worker that is away, or for room on a disk, before it fails."""
    keep_awake: bool = True
    """Whether the machine is kept from falling asleep while runs are at work."""
    linger_s: Annotated[float, Field(ge=0)] = 600.0
    """How long a router that a command started stays with nothing to do; on a machine that works for another, always."""
    call_s: Annotated[float, Field(gt=0)] = 900.0
    """Longest single answer of a model."""
    work_s: Annotated[float, Field(gt=0)] = 1800.0
    """Longest work of one persona with its tools: all its answers and tests together."""


class KeepConfig(_Section):
    """How long things are kept; `tandem gc` clears away what is older, and the router does once a day when it is idle."""

    runs_days: Annotated[float, Field(ge=0)] = 90.0
    """Runs that ended, with their journal and drafts; what was merged stays in your repository, of course."""
    calls_days: Annotated[float, Field(ge=0)] = 30.0
    """What was said to models, word for word."""
    environments_days: Annotated[float, Field(ge=0)] = 30.0
    """Installed packages, counted from their last use."""
    by_itself: bool = True
    """Whether the router clears up without being asked."""


class TelemetryConfig(_Section):
    """Traces and metrics by OpenTelemetry; needs the extra `otel`."""

    endpoint: str = ""
    """Where a collector takes OTLP over HTTP, such as http://127.0.0.1:4318; empty: nothing is sent."""


class WorkerConfig(_Section):
    """The worker this machine runs."""

    calls: Annotated[int, Field(ge=1, le=64)] = 1
    """Model calls at the same time."""
    checks: Annotated[int, Field(ge=0, le=64)] = 2
    """Checks at the same time; with 0, tests are run and packages installed on other machines alone."""
    queue: Annotated[int, Field(ge=1)] = 64
    """Calls that may wait for their turn; one more is refused."""
    listen: _Listed = Field(default_factory=list[str])
    """Private addresses of this machine, `HOST` or `HOST:PORT`, on which paired routers may call; empty: all of them as
    soon as there is a paired router, and none before."""
    upgrade: bool = False
    """Whether a paired router may have this machine upgrade Tandem, from its own checkout's remote (`tandem upgrade`)."""
    announce: bool = True
    """Whether the network is told that this worker is here, while it listens there, so that a paired router finds it at a
    new address."""
    share_registries: bool = False
    """Whether what a paired router has installed here may use this user's settings of pip, npm and Go: names and passwords
    of package registries are in them."""

    @field_validator("listen")
    @classmethod
    def _nearby(cls, listen: list[str]) -> list[str]:
        try:
            return [str(endpoints.to_listen_on(text, endpoints.WORKER_PORT, "worker.listen")) for text in listen]
        except BadInput as error:
            raise PydanticCustomError("address", "{why}", {"why": error.message}) from None


class LinkConfig(_Section):
    """The way to paired workers."""

    wifi: bool = False
    """Whether a worker may be used over Wi-Fi, where no cable leads to it."""
    media: dict[str, Medium] = Field(default_factory=dict[str, Medium])
    """What interfaces are, by name, where the system does not know: `thunderbolt`, `ethernet` or `wifi`."""

    @field_validator("media", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = (part.partition("=") for part in value.split(",") if part.strip())
        return {name.strip(): medium.strip() for name, _, medium in pairs}


class Config(_Section):
    """Everything a person may set."""

    models: ModelsConfig = ModelsConfig()
    context: ContextConfig = ContextConfig()
    ollama: OllamaConfig = OllamaConfig()
    openai: OpenAIConfig = OpenAIConfig()
    rehearsal: RehearsalConfig = RehearsalConfig()
    rounds: RoundsConfig = RoundsConfig()
    check: CheckConfig = CheckConfig()
    prepare: PrepareConfig = PrepareConfig()
    router: RouterConfig = RouterConfig()
    worker: WorkerConfig = WorkerConfig()
    link: LinkConfig = LinkConfig()
    keep: KeepConfig = KeepConfig()
    telemetry: TelemetryConfig = TelemetryConfig()


def load(path: Path | None = None, env: Mapping[str, str] = os.environ) -> Config:
    """Return the configuration from `path` (or the usual place, if there is a file) and `TANDEM_<SECTION>_<KEY>`.

    Raises:
        BadConfig: The file or a variable does not parse or does not fit; the message names it.
    """
    file = path or config_path(env)
    try:
        raw: dict[str, Any] = tomllib.loads(file.read_text("utf-8")) if path or file.exists() else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadConfig(f"cannot read {file}: {error}") from error
    for section, field in Config.model_fields.items():
        for key in cast("type[BaseModel]", field.annotation).model_fields:
            value = env.get(f"TANDEM_{section}_{key}".upper())
            if value is not None:
                raw.setdefault(section, {})[key] = value
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        given = "(hidden)" if first["type"] == "secret" else first.get("input")
        raise BadConfig(f"{where} = {given!r} in {file} or TANDEM_*: {first['msg']}") from error
