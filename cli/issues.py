"""Read an issue through GitHub's own command line, `gh`, as the text of a task.

What stands in an issue was written by anybody: it is the task's text, screened by the guardrail like any other, and is
bounded here. Nothing is ever written to GitHub.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.render.loose import mapping, objects, text
from cli.render.text import one_line
from tandem.errors import BadInput, DeadlineExceeded, NotFound, Unavailable

DEADLINE_S = 30.0
ISSUE_CHARS_MAX = 24_000  # below the length from which the guardrail asks about a task for its length alone
_READ_BYTES = 8 << 20
_FIELDS = "title,body,comments,url"
_NOT_LOGGED_IN = 4  # the exit status of `gh` where it wants a login


def issue_text(number: int, repo: Path) -> str:
    """Return issue `number` of the repository at `repo` as a task's text.

    Raises:
        BadInput: `gh` is not installed or not logged in, or answered with something else.
        NotFound: There is no such issue, or `gh` cannot tell which repository this is.
        DeadlineExceeded: It took longer than `DEADLINE_S`.
    """
    return as_task(_read(number, repo))


def as_task(issue: Mapping[str, Any]) -> str:
    """Return an issue's title, text, comments and address, comments left out from where it gets too long."""
    parts = [one_line(text(issue, "title")), _lines(issue, "body"), *map(_comment, objects(issue.get("comments")))]
    link = f"Issue: {one_line(text(issue, 'url'))}"
    kept, room = [""], ISSUE_CHARS_MAX - len(link)
    for at, part in enumerate(parts):
        if len(part) > room:
            left = sum(map(len, parts[at:])) - room
            kept += [part[:room], f"[{left} more characters of the issue are left out]"]
            break
        kept.append(part)
        room -= len(part)
    return "\n\n".join(part for part in [*kept, link] if part)


def _lines(data: Mapping[str, Any], key: str) -> str:
    return text(data, key).replace("\r\n", "\n").strip()


def _comment(comment: Mapping[str, Any]) -> str:
    who = one_line(text(mapping(comment.get("author")), "login")) or "somebody"
    said = _lines(comment, "body")
    return f"Comment by {who}:\n{said}" if said else ""


def _read(number: int, repo: Path) -> dict[str, Any]:
    import json

    status, raw, trouble = _gh(["gh", "issue", "view", str(number), "--json", _FIELDS], repo)
    if status == _NOT_LOGGED_IN or "gh auth login" in trouble:
        raise BadInput("`gh` is not logged in to GitHub; `gh auth login` does it, or save the issue and use --file")
    if status != 0:
        said = one_line(trouble)[:300] or f"it left with {status}"
        raise NotFound(f"issue {number} of {repo} cannot be read: {said}; `gh issue list` shows what there is")
    try:
        found = json.loads(raw)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not text(mapping(found), "title").strip():
        raise BadInput(f"`gh issue view {number}` answered with something else than an issue; save it and use --file")
    return mapping(found)


def _gh(command: list[str], repo: Path) -> tuple[int, bytes, str]:
    """Run `gh` in `repo` and return its exit status, what it said, and its complaint."""
    env = {**os.environ, "GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1"}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            done = subprocess.run(
                command,
                cwd=repo,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=DEADLINE_S,
                check=False,
            )
        except FileNotFoundError:
            raise BadInput(
                "the command `gh` is not installed, and issues are read through it; install it from"
                " https://cli.github.com, or save the issue and use --file"
            ) from None
        except OSError as error:
            raise Unavailable(f"`gh` cannot be started ({error.strerror}); save the issue and use --file") from error
        except subprocess.TimeoutExpired:
            raise DeadlineExceeded(
                f"`gh` did not answer within {DEADLINE_S:g} s; try again, or save the issue and use --file"
            ) from None
        out.seek(0)
        err.seek(0)
        return done.returncode, out.read(_READ_BYTES), err.read(4096).decode("utf-8", "replace")
