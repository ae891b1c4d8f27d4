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
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

from tandem import disk
from tandem.errors import NoSandbox, NotFound
from tandem.faults import failpoint
from tandem.git import git
from tandem.paths import home_dir
from tandem.ports import OnProgress
from tandem.types import Environment, Limits, PrepareRequest
from worker import callers, gittunnel, installers, registries, sandbox
from worker.adapters.python import is_python
from worker.fence import Fence
from worker.requirements import Needs, candidates, included, needs
from worker.sandbox.spec import ENV, HOME, TREE, Mount, SandboxSpec
from worker.sandbox.toolchains import base_python, go_version, node_program, toolchain_bins
from worker.workspace import scratch

log = logging.getLogger(__name__)
MARK = "environment.json"  # written last; a folder without it is not an environment
_FILE_BYTES_MAX = 4 << 20
_FILES_MAX = 100  # requirement files that are read
_BUILD = Limits(memory_bytes=8 << 30, processes=512, output_bytes=64 << 20)
_BUILD_HOME = "/build-home"  # on disk: wheels may be larger than the memory a sandbox's HOME is made of
_LAYOUT = 3  # part of every key; a change to how environments are built makes all of them anew
Kind = Literal["none", "python", "node", "go"]
_TOOLS: dict[Kind, str] = {"python": "pip", "node": "npm", "go": "go"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """What Check adds to its sandbox: mounts, the whole environment, and the interpreter's place."""

    mounts: tuple[Mount, ...]
    env: Mapping[str, str]
    python: str

    def resolve(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Return a command with `python` in its first place made the right one."""
        return (self.python, *argv[1:]) if is_python(argv[0]) else argv


class Environments:
    """The environments of this node."""

    def __init__(self, state: Path, rung: sandbox.Rung, fence: Fence, *, share_registries: bool = False) -> None:
        """Make them; `share_registries` gives what paired routers install this user's registry settings, too."""
        self._state = state
        self._share_registries = share_registries
        self._fence = fence
        self._folder = state / "environments"
        self._rung = rung
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def prepare(self, request: PrepareRequest, on_progress: OnProgress) -> Environment:
        """Return the environment for a commit, building it if that is allowed and needed.

        Raises:
            NotFound: The commit is not here.
            Unavailable: A registry cannot be reached, or the installer is missing.
            BadInput: What the files ask for cannot be installed.
            DeadlineExceeded, ResourceExhausted: Installing took more than it may.
            NoSandbox: No sandbox works here, and installers run in one or not at all.
        """
        wanted = needs(await self._texts(request), request.adapter)
        if wanted.kind == "none":
            return Environment()
        key = _key(wanted)
        if (self._folder / key / MARK).exists():
            return Environment(key=key, kind=wanted.kind, files=wanted.named)
        if not (request.allow_network or wanted.offline):
            return Environment(key=key, kind=wanted.kind, files=wanted.named, ready=False)
        async with self._locks[key]:
            if (self._folder / key / MARK).exists():
                return Environment(key=key, kind=wanted.kind, files=wanted.named)
            return await self._build(key, wanted, request, on_progress)

    async def _texts(self, request: PrepareRequest) -> dict[str, str]:
        git_dir = gittunnel.git_dir(self._state, request.repo_id)
        folder = request.folder.strip("/")
        where = f"{request.commit}:{folder}" if folder else request.commit
        listed = await git("ls-tree", "-rz", "--name-only", "--full-tree", where, git_dir=git_dir, check=False)
        if listed.returncode:
            raise NotFound(f"commit {request.commit[:10]} is not on this worker; the router pushes it first")
        names = listed.stdout.decode("utf-8", "replace").split("\0")
        texts: dict[str, str] = {}
        wanted = candidates(names)
        while wanted and len(texts) < _FILES_MAX:
            for path in wanted:
                place = f"{request.commit}:{folder}/{path}" if folder else f"{request.commit}:{path}"
                blob = await git("cat-file", "blob", place, git_dir=git_dir, check=False)
                if blob.returncode == 0 and len(blob.stdout) <= _FILE_BYTES_MAX:
                    texts[path] = blob.stdout.decode("utf-8", "replace")
            wanted = [path for path in included(texts) if path in names and path not in wanted]
        return texts

    async def _build(self, key: str, wanted: Needs, request: PrepareRequest, on_progress: OnProgress) -> Environment:
        if not self._rung.name:
            raise NoSandbox(f"installers run in a sandbox or not at all. {self._rung.remedy}")
        started = time.monotonic()
        disk.must_have_room("packages could not be installed", self._state)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with scratch(self._state / "tmp") as building:
            target = building / "env"
            target.mkdir(mode=0o700)
            await self._install(wanted, building, request.wall_s, on_progress)
            about = {"kind": wanted.kind, "files": list(wanted.named), "owner": callers.mark()}
            (target / MARK).write_text(json.dumps(about))
            failpoint("worker.built")
            self._fence.check()
            try:
                target.rename(self._folder / key)
            except OSError:
                if not (self._folder / key / MARK).exists():  # else another worker was quicker, with the same content
                    raise
        failpoint("worker.environment")
        seconds = round(time.monotonic() - started, 1)
        log.info("environment built", extra={"key": key, "kind": wanted.kind, "seconds": seconds})
        return Environment(key=key, kind=wanted.kind, files=wanted.named, built_s=seconds)

    async def _install(self, wanted: Needs, building: Path, wall_s: float, on_progress: OnProgress) -> None:
        folders = {"/build": building / "build", ENV: building / "env", _BUILD_HOME: building / "home"}
        own = registries.settings(os.environ, home_dir())
        withheld = own != registries.NONE and bool(callers.mark()) and not self._share_registries
        allowed = registries.NONE if withheld else own  # they hold this user's names and passwords
        installers.fill(folders["/build"], wanted.files)
        installers.fill(folders[_BUILD_HOME], allowed.files)
        (folders[_BUILD_HOME] / "scratch").mkdir()
        home = {"HOME": _BUILD_HOME, "TMPDIR": f"{_BUILD_HOME}/scratch", "XDG_CONFIG_HOME": f"{_BUILD_HOME}/.config"}
        spec = SandboxSpec(
            argv=("/bin/sh", "-c", installers.script(wanted)),
            cwd="/build",
            mounts=(
                *(Mount(source=folder, target=name, writable=name != "/build") for name, folder in folders.items()),
                *allowed.mounts,
            ),
            limits=replace(_BUILD, wall_s=wall_s),
            env={**_base_env(_path()), **allowed.env, **home},
            network=not wanted.offline,
        )
        on_output = installers.spoken(_TOOLS[wanted.kind], on_progress)
        result = await sandbox.run(self._rung, spec, on_output=on_output)
        if result.exit_code != 0:
            trouble = installers.trouble(result, ", ".join(wanted.named) or wanted.kind, wall_s)
            if withheld:
                hint = "that worker's own registry settings were not used (worker.share_registries there)"
                raise type(trouble)(f"{trouble.message}; {hint}")
            raise trouble

    def toolchain(self, key: str, tree: Path, folder: str = "") -> Toolchain:
        """Return what Check needs to run the tests in a tree's `folder` with an environment; `key` is empty for none.

        Raises:
            NotFound: That environment is not here.
        """
        if not key:
            env = _base_env(_path()) | _source(tree, folder)
            return Toolchain(mounts=(), env=env, python=base_python())
        built = self._folder / key
        if not re.fullmatch(r"[0-9a-f]{32}", key) or not (built / MARK).exists() or owner_of(built) != callers.mark():
            raise NotFound(f"this worker has no environment {key[:40]!r}; Prepare builds it")
        os.utime(built / MARK)  # used now; what is not used for long is cleared away
        kind = cast("Kind", json.loads((built / MARK).read_text())["kind"])
        if kind == "node":
            mounts = _modules(built, tree, folder)
            return Toolchain(mounts=mounts, env=_base_env(_path()), python=base_python())
        if kind == "go":
            env = _base_env(_path()) | {"GOCACHE": f"{ENV}/build", "GOMODCACHE": f"{ENV}/mod"}
            return Toolchain(mounts=(Mount(source=built, target=ENV),), env=env, python=base_python())
        env = _base_env(_path(f"{ENV}/bin")) | {"VIRTUAL_ENV": ENV} | _source(tree, folder)
        return Toolchain(mounts=(Mount(source=built, target=ENV),), env=env, python=f"{ENV}/bin/python")


def owner_of(built: Path) -> str:
    """Return the mark of the router that an environment was built for; "" for this machine's own."""
    try:
        return str(json.loads((built / MARK).read_text()).get("owner", ""))
    except (OSError, ValueError):
        return ""


def _modules(built: Path, tree: Path, folder: str) -> tuple[Mount, ...]:
    """Return the mount of installed packages; a link the tree has in their place goes."""
    if not (built / "node_modules").is_dir():
        return ()
    place = tree / folder / "node_modules"
    if place.is_symlink() or place.is_file():
        place.unlink()
    target = "/".join(part for part in (TREE, folder, "node_modules") if part)
    return (Mount(source=built / "node_modules", target=target),)


def _key(wanted: Needs) -> str:
    """Return a name for exactly this content on this platform, for whoever asks."""
    about = [_LAYOUT, wanted.kind, sorted(wanted.files.items()), wanted.install, wanted.packages]
    about += [platform.system(), platform.machine(), base_python(), platform.python_version()]
    about += [str(node_program())] if wanted.kind == "node" else []
    about += [go_version()] if wanted.kind == "go" else []
    about += [callers.mark()] if callers.mark() else []  # what one router had installed is nothing another one runs
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]


def _path(*first: str) -> str:
    return ":".join(dict.fromkeys([*first, *toolchain_bins(), "/usr/local/bin", "/usr/bin", "/bin"]))


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


def _source(tree: Path, folder: str) -> dict[str, str]:
    """Return where Python finds the tree's own packages, which are never installed."""
    places = [part for part in (folder, f"{folder}/src".strip("/"), "", "src") if (tree / part).is_dir()]
    return {"PYTHONPATH": ":".join(dict.fromkeys(f"{TREE}/{part}".rstrip("/") for part in places))}
