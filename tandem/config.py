"""Read the configuration once, at the start: `tandem.toml`, then `TANDEM_*` variables.

Every key is documented at its field and in deploy/tandem.example.toml. A file inside the repository a task works on is
never read: that text is not the user's. Folders follow the XDG rules on Linux and Apple's on macOS.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tandem.errors import BadConfig

SOCKET_PATH_MAX = 103  # bytes; macOS ends Unix socket paths at 104 with the closing zero
CODING_CONTEXT_MIN = 16384  # below it, the same model falls from 71 to 52 on aider's benchmark


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelsConfig(_Section):
    """Which model plays for whom. A name may carry its backend: `ollama/qwen2.5:7b`, `rehearsal/demo`."""

    router: str = "qwen2.5:7b"
    """Small and quick: assesses tasks and writes reports."""
    worker: str = "qwen3-coder-next:q4_K_M"
    """Large: plans, writes tests and code, reviews."""


class ContextConfig(_Section):
    """Context sizes in tokens, one per role and fixed: Ollama reloads a model when this changes between calls."""

    router: Annotated[int, Field(ge=4096)] = 8192
    worker: Annotated[int, Field(ge=CODING_CONTEXT_MIN)] = 32768


class OllamaConfig(_Section):
    """The Ollama server on the worker's machine."""

    url: str = "http://127.0.0.1:11434"
    keep_alive: str = "30m"
    """How long Ollama keeps a model in memory after a call."""
    first_token_s: Annotated[float, Field(gt=0)] = 240.0
    """Longest wait for a reply to begin; loading 52 GB and reading a long prompt happen in it."""
    idle_s: Annotated[float, Field(gt=0)] = 60.0
    """Longest silence inside a reply."""


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
    linger_s: Annotated[float, Field(ge=0)] = 600.0
    """How long a router that a command started stays with nothing to do."""
    call_s: Annotated[float, Field(gt=0)] = 900.0
    """Longest single persona call."""


class WorkerConfig(_Section):
    """The worker this machine runs."""

    calls: Annotated[int, Field(ge=1, le=64)] = 1
    """Model calls at the same time."""
    checks: Annotated[int, Field(ge=1, le=64)] = 2
    """Checks at the same time."""
    queue: Annotated[int, Field(ge=1)] = 64
    """Calls that may wait for their turn; one more is refused."""


class Config(_Section):
    """Everything a person may set."""

    models: ModelsConfig = ModelsConfig()
    context: ContextConfig = ContextConfig()
    ollama: OllamaConfig = OllamaConfig()
    rehearsal: RehearsalConfig = RehearsalConfig()
    rounds: RoundsConfig = RoundsConfig()
    check: CheckConfig = CheckConfig()
    prepare: PrepareConfig = PrepareConfig()
    router: RouterConfig = RouterConfig()
    worker: WorkerConfig = WorkerConfig()


def home_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Return the person's home folder, also where HOME is unset or empty."""
    return Path(env.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir)


def config_path(env: Mapping[str, str] = os.environ) -> Path:
    """Return the path of the configuration file, whether or not it exists."""
    if env.get("TANDEM_CONFIG"):
        return Path(env["TANDEM_CONFIG"]).expanduser()
    base = env.get("XDG_CONFIG_HOME")
    return (Path(base) if base else home_dir(env) / ".config") / "tandem" / "tandem.toml"


def state_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that holds the journal, Git directories and environments of this user."""
    if env.get("TANDEM_STATE"):
        return Path(env["TANDEM_STATE"]).expanduser().absolute()
    if sys.platform == "darwin":
        return home_dir(env) / "Library" / "Application Support" / "tandem"
    base = env.get("XDG_STATE_HOME")
    return (Path(base) if base else home_dir(env) / ".local" / "state") / "tandem"


def socket_path(state: Path, name: str) -> Path:
    """Return the path of a Unix socket for `state`, short enough for every system.

    Where the state folder's own path is too long, a folder of this user under the system's temporary one stands in,
    named by a hash of the state folder.
    """
    path = state / f"{name}.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_MAX:
        return path
    key = hashlib.sha256(os.fsencode(state)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"tandem-{os.getuid()}" / f"{key}-{name}.sock"


def private_dir(path: Path) -> Path:
    """Create a folder only its owner may enter, and return it.

    Raises:
        BadConfig: It exists and belongs to somebody else, is a link, or cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
        if path.is_symlink() or status.st_uid != os.getuid():
            raise BadConfig(f"{path} is a link or belongs to another user; remove it or set TANDEM_STATE elsewhere")
        if status.st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise BadConfig(f"cannot make the folder {path}: {error.strerror}; set TANDEM_STATE elsewhere") from error
    return path


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
        given = first.get("input")
        raise BadConfig(f"{where} = {given!r} in {file} or TANDEM_*: {first['msg']}") from error
