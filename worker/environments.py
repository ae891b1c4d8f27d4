"""Prepare: build what the tests need, once per content and platform, and mount it read-only for Check.

Installers run in the sandbox with a network and nothing else of this machine but its registry settings. A build goes
into a folder of its own and is renamed when it is whole, so a half-built environment is never seen.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import platform
import re
import shutil
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from tandem.errors import BadInput, NoSandbox, NotFound, Unavailable
from tandem.git import git
from tandem.paths import home_dir
from tandem.ports import OnProgress
from tandem.types import Environment, Limits, PrepareRequest
from worker import gittunnel, sandbox
from worker.requirements import Needs, candidates, needs
from worker.sandbox.bubblewrap import base_python, toolchain_roots
from worker.sandbox.spec import ENV, HOME, TREE, Mount, SandboxSpec

log = logging.getLogger(__name__)
MARK = "environment.json"  # written last; a folder without it is not an environment
_FILE_BYTES_MAX = 4 << 20
_BUILD = Limits(wall_s=900, memory_bytes=4 << 30, processes=512, output_bytes=64 << 20)
_PROGRESS_S = 0.5
_SETTINGS = re.compile(
    r"PIP_\w+|(?:npm_config|NPM_CONFIG)_(?:registry|cafile|strict_ssl)|SSL_CERT_(?:FILE|DIR)|\w+_proxy|\w+_PROXY"
)
_NO_NETWORK = re.compile(
    r"name resolution|NewConnectionError|Connection refused|Network is unreachable|ENOTFOUND|ECONNREFUSED|EAI_AGAIN"
    r"|ETIMEDOUT|ENETUNREACH|ConnectTimeout|CERTIFICATE_VERIFY_FAILED",
    re.IGNORECASE,
)
_PYTHON = """set -e
"$1" -m venv "$2"
shift
env="$1"; shift
exec "$env/bin/python" -m pip install --disable-pip-version-check --no-input --progress-bar off "$@"
"""
_NODE = """set -e
cp /build/package*.json "$1"
cd "$1"
if [ -e package-lock.json ]; then verb=ci; else verb="install --no-package-lock"; fi
exec npm $verb --ignore-scripts --no-audit --no-fund --no-update-notifier --cache /tmp/npm
"""
Kind = Literal["none", "python", "node"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """What Check adds to its sandbox: mounts, the whole environment, and the interpreter's place."""

    mounts: tuple[Mount, ...]
    env: Mapping[str, str]
    python: str

    def resolve(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Return a command with `python` in its first place made the right one."""
        if re.fullmatch(r"python(3(\.\d+)?)?", argv[0]):
            return (self.python, *argv[1:])
        return argv


class Environments:
    """The environments of this node."""

    def __init__(self, state: Path, rung: sandbox.Rung) -> None:
        self._state = state
        self._folder = state / "environments"
        self._rung = rung
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def prepare(self, request: PrepareRequest, on_progress: OnProgress) -> Environment:
        """Return the environment for a commit, building it if that is allowed and needed.

        Raises:
            NotFound: The commit is not here.
            Unavailable: A registry cannot be reached.
            BadInput: What the files ask for cannot be installed.
            NoSandbox: No sandbox works here, and installers run in one or not at all.
        """
        wanted = needs(await self._texts(request), request.adapter)
        if wanted.kind == "none":
            return Environment()
        key = _key(wanted)
        if (self._folder / key / MARK).exists():
            return Environment(key=key, kind=wanted.kind, files=wanted.named)
        if not request.allow_network:
            return Environment(key=key, kind=wanted.kind, files=wanted.named, ready=False)
        async with self._locks[key]:
            if (self._folder / key / MARK).exists():
                return Environment(key=key, kind=wanted.kind, files=wanted.named)
            return await self._build(key, wanted, request, on_progress)

    async def _texts(self, request: PrepareRequest) -> dict[str, str]:
        git_dir = gittunnel.git_dir(self._state, request.repo_id)
        where = f"{request.commit}:{request.folder.strip('/')}" if request.folder.strip("/") else request.commit
        listed = await git("ls-tree", "-rz", "--name-only", "--full-tree", where, git_dir=git_dir, check=False)
        if listed.returncode:
            raise NotFound(f"commit {request.commit[:10]} is not on this worker; the router pushes it first")
        texts: dict[str, str] = {}
        prefix = f"{request.folder.strip('/')}/" if request.folder.strip("/") else ""
        for path in candidates(listed.stdout.decode("utf-8", "replace").split("\0")):
            blob = await git("cat-file", "blob", f"{request.commit}:{prefix}{path}", git_dir=git_dir, check=False)
            if blob.returncode == 0 and len(blob.stdout) <= _FILE_BYTES_MAX:
                texts[path] = blob.stdout.decode("utf-8", "replace")
        return texts

    async def _build(self, key: str, wanted: Needs, request: PrepareRequest, on_progress: OnProgress) -> Environment:
        if not self._rung.name:
            raise NoSandbox(f"installers run in a sandbox or not at all. {self._rung.remedy}")
        started = time.monotonic()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        building = self._folder / f".building-{uuid.uuid4().hex}"
        source, target = building / "build", building / "env"
        try:
            for path, text in wanted.files.items():
                (source / path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                (source / path).write_text(text, "utf-8")
            source.mkdir(exist_ok=True)
            target.mkdir(mode=0o700)
            await self._install(wanted, source, target, request.wall_s, on_progress)
            (target / MARK).write_text(json.dumps({"kind": wanted.kind, "files": list(wanted.named)}))
            target.rename(self._folder / key)
        finally:
            await asyncio.to_thread(shutil.rmtree, building, ignore_errors=True)
        seconds = round(time.monotonic() - started, 1)
        log.info("environment built", extra={"key": key, "kind": wanted.kind, "seconds": seconds})
        return Environment(key=key, kind=wanted.kind, files=wanted.named, built_s=seconds)

    async def _install(self, wanted: Needs, source: Path, target: Path, wall_s: float, on_progress: OnProgress) -> None:
        if wanted.kind == "python":
            listed = tuple(part for path in wanted.install for part in ("-r", f"/build/{path}"))
            argv = ("/bin/sh", "-c", _PYTHON, "install", base_python(), ENV, *listed, *wanted.packages)
        else:
            argv = ("/bin/sh", "-c", _NODE, "install", ENV)
        spec = SandboxSpec(
            argv=argv,
            cwd="/build",
            mounts=(
                Mount(source=source, target="/build"),
                Mount(source=target, target=ENV, writable=True),
                *_registry_files(),
            ),
            limits=Limits(
                wall_s=wall_s,
                memory_bytes=_BUILD.memory_bytes,
                processes=_BUILD.processes,
                output_bytes=_BUILD.output_bytes,
            ),
            env=_base_env(_path("/bin")) | {k: v for k, v in os.environ.items() if _SETTINGS.fullmatch(k)},
            network=True,
        )
        result = await sandbox.run(self._rung, spec, on_output=_spoken(on_progress))
        if result.exit_code == 0:
            return
        end = "\n".join(result.output.rstrip().splitlines()[-8:])
        names = ", ".join(wanted.named)
        if result.breach:
            raise BadInput(f"installing what {names} asks for was stopped: {result.breach} (prepare.wall_s)\n{end}")
        if _NO_NETWORK.search(result.output):
            raise Unavailable(f"the package registry cannot be reached to install what {names} asks for\n{end}")
        raise BadInput(f"what {names} asks for cannot be installed; mend it, or go on without\n{end}")

    def toolchain(self, key: str, tree: Path) -> Toolchain:
        """Return what Check needs to run a tree's tests with an environment; `key` is empty for none.

        Raises:
            NotFound: That environment is not here.
        """
        if not key:
            python = base_python()
            return Toolchain(mounts=(), env=_base_env(_path(str(Path(python).parent))) | _source(tree), python=python)
        folder = self._folder / key
        if not re.fullmatch(r"[0-9a-f]{32}", key) or not (folder / MARK).exists():
            raise NotFound(f"this worker has no environment {key[:40]!r}; Prepare builds it")
        kind = cast("Kind", json.loads((folder / MARK).read_text())["kind"])
        if kind == "node":
            mounts = (Mount(source=folder / "node_modules", target=f"{TREE}/node_modules"),)
            return Toolchain(mounts=mounts, env=_base_env(_path("/bin")), python=base_python())
        env = _base_env(_path(f"{ENV}/bin")) | {"VIRTUAL_ENV": ENV} | _source(tree)
        return Toolchain(mounts=(Mount(source=folder, target=ENV),), env=env, python=f"{ENV}/bin/python")


def _key(wanted: Needs) -> str:
    """Return a name for exactly this content on this platform."""
    about = [wanted.kind, sorted(wanted.files.items()), wanted.install, wanted.packages]
    about += [platform.system(), platform.machine(), base_python(), platform.python_version()]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]


def _path(first: str) -> str:
    roots = [f"{root}/bin" for root in toolchain_roots()]
    return ":".join(dict.fromkeys([first, *roots, "/usr/local/bin", "/usr/bin", "/bin"]))


def _base_env(path: str) -> dict[str, str]:
    return {
        "PATH": path,
        "HOME": HOME,
        "TMPDIR": "/tmp",  # noqa: S108 - inside
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _source(tree: Path) -> dict[str, str]:
    """Return where Python finds the tree's own packages, which are never installed."""
    return {"PYTHONPATH": f"{TREE}:{TREE}/src" if (tree / "src").is_dir() else TREE}


def _registry_files() -> tuple[Mount, ...]:
    """Return the user's registry settings as mounts at the inside's HOME: pip's file, and of npm's only where it looks."""
    home = home_dir()
    found = [path for path in (home / ".config/pip/pip.conf", home / ".pip/pip.conf") if path.is_file()]
    return tuple(Mount(source=path, target=f"{HOME}/{path.relative_to(home)}") for path in found)


def _spoken(on_progress: OnProgress) -> sandbox.OnOutput:
    """Return a listener that passes on the last line, at most twice a second."""
    told = 0.0

    def listen(piece: bytes) -> None:
        nonlocal told
        lines = piece.decode("utf-8", "replace").strip().splitlines()
        if lines and time.monotonic() - told > _PROGRESS_S:
            told = time.monotonic()
            on_progress("prepare", lines[-1][:200])

    return listen
