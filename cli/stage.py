"""Set the demo's stage: a folder of its own with a sample repository, a private state, and a script for the replies.

Everything on it is real but the replies. Nothing of the user's own state, configuration or Git settings is used.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tandem.errors import BadInput, TandemError

DATA = Path(__file__).resolve().parent / "demo"
_GIT_S = 30.0
_IDENTITY = {
    "GIT_AUTHOR_NAME": "Sample",
    "GIT_AUTHOR_EMAIL": "sample@tandem.invalid",
    "GIT_COMMITTER_NAME": "Sample",
    "GIT_COMMITTER_EMAIL": "sample@tandem.invalid",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The folder of one demo; `repo` is the sample repository in it."""

    folder: Path
    repo: Path
    script: Path
    model: str

    def env(self, tokens_s: float) -> dict[str, str]:
        """Return the variables that make a router play here, at a pace of `tokens_s` (0: as fast as it goes)."""
        return {
            "TANDEM_STATE": str(self.folder / "state"),
            "TANDEM_CONFIG": str(self.folder / "tandem.toml"),
            "TANDEM_MODELS_ROUTER": self.model,
            "TANDEM_MODELS_WORKER": self.model,
            "TANDEM_REHEARSAL_SCRIPT": str(self.script),
            "TANDEM_REHEARSAL_TOKENS_S": f"{tokens_s:g}",
            "TANDEM_ROUTER_LINGER_S": "60",  # should the demo be killed, its router soon goes too
        }


def task_text() -> str:
    """Return the task the demo gives."""
    return (DATA / "task.txt").read_text("utf-8").strip()


def script_file(name: str) -> Path:
    """Return the script called `name`: good, wrong, or a file of one's own.

    Raises:
        BadInput: There is no such file.
    """
    path = DATA / f"{name}.yaml" if name in ("good", "wrong") else Path(name).expanduser().absolute()
    if not path.is_file():
        raise BadInput(f"there is no script {name!r}; --script takes good, wrong or a YAML file")
    return path


def model_of(script: Path) -> str:
    """Return the name of the rehearsal model a script makes; its line `name:` says it.

    Raises:
        BadInput: It has none.
    """
    found = re.search(r"(?m)^name:[ \t]*['\"]?([\w.-]+)", script.read_text("utf-8", "replace"))
    if found is None:
        raise BadInput(f"{script} has no line `name:`; it names the model the script plays")
    return f"rehearsal/{found[1]}"


def build(script: Path, keep: Path | None) -> Stage:
    """Make the folder, copy the sample into it and commit it there.

    Raises:
        BadInput: `keep` is there already and not empty.
    """
    model = model_of(script)
    if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise BadInput(f"{keep} is not empty; --keep wants a new folder")
    try:
        if keep is not None:
            keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = keep.absolute() if keep is not None else Path(tempfile.mkdtemp(prefix="tandem-demo-"))
        repo = folder / "sample"
        shutil.copytree(DATA / "sample", repo, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    except OSError as error:
        raise BadInput(f"cannot set up the demo in {keep or tempfile.gettempdir()}: {error.strerror}") from error
    git(repo, "init", "-q", "-b", "main")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "A few functions on words, with their tests")
    return Stage(folder=folder, repo=repo, script=script, model=model)


def clone(stage: Stage) -> Path:
    """Return a fresh clone of the sample: the commits alone, none of the notes."""
    path = stage.folder / "clone"
    git(stage.folder, "clone", "-q", "--no-hardlinks", str(stage.repo), str(path))
    return path


def git(folder: Path, *arguments: str) -> str:
    """Run git there, free of the user's own settings, and return what it printed.

    Raises:
        TandemError: It failed, or is not there.
    """
    env: Mapping[str, str] = {
        **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
        **_IDENTITY,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=env, capture_output=True, timeout=_GIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TandemError(f"git {arguments[0]} did not run: {error}; `tandem doctor` looks for the cause") from error
    if done.returncode:
        raise TandemError(f"git {arguments[0]} failed: {done.stderr.decode('utf-8', 'replace').strip()}")
    return done.stdout.decode("utf-8", "replace")
