"""Real Git repositories for tests, apart from whatever configuration the machine has."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

PERSON = {"NAME": "Lead", "EMAIL": "lead@example.invalid", "DATE": "@1700000000 +0000"}


class Checkout:
    """A checkout with one commit, and a state folder beside it."""

    def __init__(self, folder: Path, files: Mapping[str, str] | None = None, *, form: str = "sha1") -> None:
        self.root = folder / "checkout"
        self.state = folder / "state"
        self.home = folder / "home"
        for made in (self.root, self.home):
            made.mkdir(parents=True)
        self.git("init", "-q", "-b", "main", f"--object-format={form}")
        self.base = self.commit(files or {"calc.py": "def add(a, b):\n    return a - b\n", "README.md": "# calc\n"})

    def git(self, *args: str, at: Path | None = None, stdin: bytes | None = None, check: bool = True) -> str:
        """Run git as a person would, here or `at` another folder."""
        who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in PERSON.items()}
        env = {"PATH": os.environ["PATH"], "HOME": str(self.home), "GIT_CONFIG_NOSYSTEM": "1", **who}
        said = subprocess.run(
            ["git", "-C", str(at or self.root), *args], env=env, input=stdin, capture_output=True, timeout=60
        )
        if check and said.returncode != 0:
            raise AssertionError(f"git {args} failed: {said.stderr.decode()}")
        return said.stdout.decode("utf-8", "surrogateescape").rstrip("\n")

    def write(self, files: Mapping[str, str | None]) -> None:
        """Put files into the checkout, or take them away (None)."""
        for name, text in files.items():
            path = self.root / name
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")

    def commit(self, files: Mapping[str, str | None], message: str = "work") -> str:
        """Commit files the way a person does, and return the commit."""
        self.write(files)
        self.git("add", "-A")
        self.git("commit", "-q", "--no-verify", "-m", message)
        return self.tip()

    def tip(self, branch: str = "HEAD") -> str:
        """Return where a branch stands."""
        return self.git("rev-parse", branch)

    def branches(self) -> set[str]:
        """Return the names of all branches."""
        return set(self.git("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/").split("\n"))

    def shape(self) -> dict[str, object]:
        """Return everything of the repository that work on it must leave alone."""
        git_dir = self.root / ".git"
        return {
            "refs": self.git("for-each-ref"),
            "head": (git_dir / "HEAD").read_text(),
            "index": (git_dir / "index").read_bytes(),
            "config": (git_dir / "config").read_bytes(),
            "files": {
                str(path.relative_to(self.root)): path.read_bytes()
                for path in sorted(self.root.rglob("*"))
                if path.is_file() and git_dir not in path.parents
            },
            "fetch_head": (git_dir / "FETCH_HEAD").exists(),
        }
