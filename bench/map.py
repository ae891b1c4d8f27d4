"""How well the ranked map finds the files that real commits changed.

A sample of a repository's history: commits with a descriptive message that changed one to six source files which were
there before. For each, the parent's tree and the message go in as the task; a file counts as found when it stands among
the first 20 of the map, and as shown when its path is in the text drawn for the budget. Objects are read straight from a
Git directory with `git cat-file --batch`; nothing is checked out and nothing in the repository is run.

The figures quoted elsewhere next to a peer were made with aider-chat 0.86.2 in an environment of its own: the parent's
tree in a folder, a fresh `RepoMap` with the same budget (`map_tokens`, `map_mul_no_files=1`) and a stub for the model that
counts tokens as `agents.context.estimate_tokens` does, `mentioned_fnames` and `mentioned_idents` derived from the same
message by the coder's own `get_file_mentions`, `get_ident_mentions` and `get_ident_filename_matches`. Its order is that in
which files first appear in `get_ranked_tags`.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from agents import repomap
from agents.context import estimate_tokens
from agents.repomap.languages import BY_SUFFIX
from agents.repomap.tags import SIZE_BYTES_MAX
from tandem.errors import BadRepository
from tandem.git import command, environment

TOP = 20
BUDGET_TOKENS = 4096
COMMITS = 10
_CHANGED_MAX = 6
_LOOKED_AT = 3000  # newest commits that are not merges
_GIT_S = 120.0
_DULL = re.compile(
    r"^(merge|revert|bump|release|prepare|version|update (the )?(deps|dependenc|changelog)|v?\d)", re.IGNORECASE
)
_TRAILER = re.compile(r"^[A-Z][A-Za-z]+(-[A-Za-z]+)+: .*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit of the sample: its parent, its message without trailers, and the source files it changed."""

    id: str
    parent: str
    message: str
    changed: tuple[str, ...]


def run(repo: Path, commits: int = COMMITS, *, shift: int = 0) -> dict[str, Any]:
    """Measure on the Git directory or checkout `repo` and return plain JSON; times in milliseconds.

    Args:
        repo: Where the objects are.
        commits: How many commits to take, spread evenly over the newest 3000.
        shift: Which sample: 0 is the one figures are quoted from, any other is for tuning and shares no commit with it.

    Raises:
        BadRepository: Not a repository, or none of its commits can be judged.
    """
    folder = _git_dir(repo)
    sample = choose(folder, commits, shift)
    if not sample:
        raise BadRepository(f"{repo} has no commit that can be judged; give a repository with some history")
    return summary([_one(folder, commit) for commit in sample])


def summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of all commits together, and each commit's own."""
    changed = sum(len(one["changed"]) for one in found)
    times = [one["ms"] for one in found]
    return {
        "commits": len(found),
        "files_changed": changed,
        "files_in_tree_median": int(statistics.median(one["files"] for one in found)),
        "files_in_top_20": sum(len(one["in_top"]) for one in found),
        "file_recall": round(sum(len(one["in_top"]) for one in found) / changed, 3),
        "commits_all_in_top_20": sum(len(one["in_top"]) == len(one["changed"]) for one in found),
        "commits_any_in_top_20": sum(bool(one["in_top"]) for one in found),
        "files_shown_in_budget": sum(len(one["shown"]) for one in found),
        "budget_tokens": BUDGET_TOKENS,
        "first_ms": times[0],
        "warm_ms_median": round(statistics.median(times[1:] or times), 1),
        "each": list(found),
    }


def _one(folder: Path, commit: Commit) -> dict[str, Any]:
    paths, files = tree(folder, commit.parent)
    started = time.perf_counter()
    ranked = repomap.rank(files, all_paths=paths, task=commit.message)
    text = repomap.draw(ranked, BUDGET_TOKENS, estimate_tokens)
    ms = round((time.perf_counter() - started) * 1000, 1)
    drawn = set(text.split("\n"))
    place = {one.path: number for number, one in enumerate(ranked, 1)}
    return {
        "commit": commit.id,
        "parent": commit.parent,
        "message": commit.message,
        "files": len(paths),
        "changed": {path: place[path] for path in commit.changed},
        "in_top": [path for path in commit.changed if place[path] <= TOP],
        "shown": [path for path in commit.changed if path in drawn],
        "ms": ms,
    }


def choose(folder: Path, commits: int, shift: int = 0) -> list[Commit]:
    """Return up to `commits` fit commits, spread evenly over the newest; samples of different `shift` are disjoint."""
    fit = list(_fit(folder))
    step = max(2, len(fit) // max(1, commits))
    return fit[shift % step :: step][:commits]


def _fit(folder: Path) -> Iterator[Commit]:
    text = _git(
        folder, "log", f"-n{_LOOKED_AT}", "--no-merges", "--no-renames", "--no-color", "--raw", "--abbrev=40", "-z",
        "--format=%x01%H%x02%P%x02%B%x03",
    )  # fmt: skip
    for record in text.split("\x01")[1:]:
        head, _, raw = record.partition("\x03")
        commit, parents, message = head.split("\x02", 2)
        changed = _sources(raw)
        message = _TRAILER.sub("", message).strip()
        if parents and " " not in parents and changed and _says_something(message):
            yield Commit(id=commit, parent=parents, message=message, changed=changed)


def _sources(raw: str) -> tuple[str, ...]:
    """Return the source files that existed before and were changed, or nothing where they are too many."""
    fields = [field for field in raw.strip("\n").split("\0") if field.strip()]
    changed = [
        path
        for about, path in zip(fields[::2], fields[1::2], strict=False)
        if about.strip().split(" ")[-1] == "M" and PurePosixPath(path).suffix.lower() in BY_SUFFIX
    ]
    return tuple(changed) if 1 <= len(changed) <= _CHANGED_MAX else ()


def _says_something(message: str) -> bool:
    subject = message.partition("\n")[0]
    return len(subject) >= 20 and len(subject.split()) >= 4 and not _DULL.match(subject)


def tree(folder: Path, commit: str) -> tuple[list[str], dict[str, str]]:
    """Return all paths of a commit's tree, and the text of those files that are small enough and text."""
    entries = [line.split("\t", 1) for line in _git(folder, "ls-tree", "-r", "-l", "-z", commit).split("\0") if line]
    blobs: dict[str, str] = {}
    for about, path in entries:
        mode, _, name, size = about.split()
        if mode.startswith("100") and int(size) <= SIZE_BYTES_MAX:
            blobs[path] = name
    with _reader(folder) as (ask, answer):
        files = {path: text for path, name in blobs.items() if (text := _blob(ask, answer, name)) is not None}
    return [path for _, path in entries], files


def _blob(ask: IO[bytes], answer: IO[bytes], name: str) -> str | None:
    ask.write(f"{name}\n".encode())
    ask.flush()
    head = answer.readline().split()
    if len(head) != 3:  # "<name> missing"
        return None
    data = answer.read(int(head[2]))
    answer.read(1)
    return None if b"\0" in data else data.decode("utf-8", "replace")


@contextmanager
def _reader(folder: Path) -> Generator[tuple[IO[bytes], IO[bytes]]]:
    with subprocess.Popen(
        command("cat-file", "--batch"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(folder)
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdin, process.stdout
        process.stdin.close()


def _git_dir(repo: Path) -> Path:
    return repo / ".git" if (repo / ".git").is_dir() else repo


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        command(*arguments), capture_output=True, timeout=_GIT_S, check=False, env=environment(folder)
    )
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()[:300]
        raise BadRepository(f"git cannot read {folder}: {said}; give a Git directory or a checkout")
    return done.stdout.decode("utf-8", "replace")
