"""Another user of this machine, for tests that root runs and an ordinary user must see."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.needs import require, root

ROOT = Path(__file__).parents[2]


def as_a_user(code: str, *arguments: str) -> str:
    """Return what a program prints where the worker itself is an ordinary user: in a copy that such a one may read."""
    python = Path("/usr/bin/python3")
    there = python.exists() and shutil.which("setpriv")
    tools = "" if there else "setpriv or a Python that everybody may use is missing; install util-linux and python3"
    require("root, as another user", root() or tools)
    user = ["setpriv", "--reuid", "61999", "--regid", "61999", "--clear-groups"]
    with tempfile.TemporaryDirectory(prefix="tandem-user-") as made:
        folder = Path(made)
        shutil.copytree(ROOT / "tandem", folder / "tandem", ignore=shutil.ignore_patterns("v1"))
        shutil.copytree(ROOT / "worker/sandbox", folder / "worker/sandbox")
        (folder / "worker/__init__.py").touch()
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        argv = [*user, str(python), "-c", code, *arguments]
        env = {"PATH": os.defpath, "HOME": "/nonexistent"}
        done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
