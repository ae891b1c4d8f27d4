"""What the installers are told, and what their end means: the words of pip, npm and go, and nobody else's."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Mapping
from pathlib import Path

from tandem.disk import is_full
from tandem.errors import BadInput, DeadlineExceeded, DiskFull, ResourceExhausted, TandemError, Unavailable
from tandem.ports import OnProgress
from worker import sandbox
from worker.requirements import WARM, Needs
from worker.sandbox.spec import ENV
from worker.sandbox.toolchains import base_python, go_root, node_program

_PROGRESS_S = 0.5
_NO_NETWORK = re.compile(
    r"name resolution|NewConnectionError|NameResolutionError|Connection refused|Network is unreachable|ENOTFOUND"
    r"|ECONNREFUSED|EAI_AGAIN|ETIMEDOUT|ECONNRESET|ENETUNREACH|ConnectTimeout|ReadTimeout|CERTIFICATE_VERIFY_FAILED"
    r"|no such host|i/o timeout",
    re.IGNORECASE,
)
_PIP = ("install", "--disable-pip-version-check", "--no-input", "--no-cache-dir", "--progress-bar", "off")
_NPM = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")
# The base's own pip installs into the environment where it can: that saves 3 of 4 seconds, and Debian's python3-venv.
_VENV = """set -e
{python} -m venv --without-pip {env}
if {python} -m pip --python {env}/bin/python --version >/dev/null 2>&1
then pip() {{ {python} -m pip --python {env}/bin/python "$@"; }}
else {python} -m venv {env}; pip() {{ {env}/bin/python -m pip "$@"; }}
fi
"""
# pytest compiles its plugins anew, to explain their assertions. No check may write into an environment, so each would
# pay for it again (1.1 s of processor time with hypothesis); one test that is run here leaves them compiled.
_WARM_PYTEST = """
if {env}/bin/python -c 'import pytest' 2>/dev/null
then
    cd "$TMPDIR" && echo 'def test_it(): pass' > test_it.py
    PYTHONDONTWRITEBYTECODE= {env}/bin/python -m pytest -q -p no:cacheprovider test_it.py >/dev/null 2>&1 || true
fi
"""
_GO = f"""set -e
export GOCACHE={ENV}/build GOMODCACHE={ENV}/mod GOFLAGS=-modcacherw GOTOOLCHAIN=local
mkdir $GOCACHE $GOMODCACHE
if [ -f /build/go.mod ]; then cd /build && go mod download; fi
cd /build/{WARM} && go test ./...
"""


def script(wanted: Needs) -> str:
    """Return the shell lines that install: every word is quoted, nothing is expanded but what stands here."""
    if wanted.kind == "go":
        if not go_root():
            raise Unavailable("go is not installed on this worker; install it (apt install golang-go, brew install go)")
        return _GO
    if wanted.kind == "node":
        verb = ("ci",) if "package-lock.json" in wanted.files else ("install", "--no-package-lock")
        if not node_program():
            raise Unavailable("node is not installed on this worker; install Node 20 or later (apt install nodejs npm)")
        return f"set -e\ncp /build/package*.json {ENV}\ncd {ENV}\nexec {shlex.join(('npm', *verb, *_NPM))}\n"
    hashed = tuple(path for path in wanted.install if "--hash=" in wanted.files[path])
    loose = tuple(path for path in wanted.install if path not in hashed)
    rounds = [[part for path in paths for part in ("-r", f"/build/{path}")] for paths in (hashed, loose)]
    rounds[1] += wanted.packages  # pip takes hashes for everything in a call or for nothing
    calls = [f"pip {shlex.join((*_PIP, *arguments))}" for arguments in rounds if arguments]
    return "\n".join([_VENV.format(python=shlex.quote(base_python()), env=ENV), *calls]) + _WARM_PYTEST.format(env=ENV)


def fill(folder: Path, files: Mapping[str, str]) -> None:
    """Make a folder with these files in it."""
    folder.mkdir(mode=0o700)
    for name, text in files.items():
        (folder / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")


def trouble(result: sandbox.SandboxResult, names: str, wall_s: float) -> TandemError:
    """Return the error for an installer that did not come to a good end."""
    end = "\n".join(result.output.rstrip().splitlines()[-8:])
    if result.breach == "time":
        return DeadlineExceeded(
            f"installing what {names} asks for took longer than {wall_s:g} s (prepare.wall_s)\n{end}"
        )
    if result.breach:
        return ResourceExhausted(
            f"installing what {names} asks for was stopped: it took too much {result.breach}\n{end}"
        )
    if is_full(result.output):
        return DiskFull(f"there is no room to install what {names} asks for; free some space\n{end}")
    if _NO_NETWORK.search(result.output):
        return Unavailable(f"the package registry cannot be reached to install what {names} asks for\n{end}")
    if "ensurepip is not available" in result.output:
        return Unavailable(f"this worker's Python cannot make environments; apt install python3-venv\n{end}")
    return BadInput(f"what {names} asks for cannot be installed; mend it, or go on without\n{end}")


def spoken(tool: str, on_progress: OnProgress) -> sandbox.OnOutput:
    """Return a listener that passes on the last line, at most twice a second."""
    told = 0.0

    def listen(piece: bytes) -> None:
        nonlocal told
        lines = piece.decode("utf-8", "replace").strip().splitlines()
        if lines and time.monotonic() - told > _PROGRESS_S:
            told = time.monotonic()
            on_progress("prepare", f"{tool}: {lines[-1][:200]}")

    return listen
