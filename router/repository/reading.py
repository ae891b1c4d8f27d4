"""Read many files at once, and search them: from Git's objects alone, without a working tree.

`git grep` over a tree does what ripgrep does over a folder, and no link, attribute or ignore file has a say in it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from router.repository.objects import Store
from tandem.errors import BadInput, DeadlineExceeded, ResourceExhausted
from tandem.git import failure
from tandem.types import Hit

_PATTERN_MAX = 1000  # characters
_PER_FILE = 20  # hits of one file; more tell a model nothing
_LINE_MAX = 300  # characters shown of a line
_GREP_S = 20.0
_LOCALE = "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"  # else `.` would be one byte
_BATCH_S = 120.0


async def contents(store: Store, oids: Mapping[str, str]) -> dict[str, str]:
    """Return the texts behind the object ids by path; what is not UTF-8, or holds a zero character, is left out."""
    if not oids:
        return {}
    wanted = list(dict.fromkeys(oids.values()))
    said = await store.run("cat-file", "--batch", stdin="\n".join(wanted).encode() + b"\n", timeout_s=_BATCH_S)
    texts = _texts(said.stdout)
    return {path: texts[oid] for path, oid in oids.items() if oid in texts}


def _texts(stream: bytes) -> dict[str, str]:
    """Return what `cat-file --batch` wrote: a line `<oid> blob <size>`, the bytes, a line's end, again and again."""
    found: dict[str, str] = {}
    at = 0
    while at < len(stream):
        head, _, _ = stream[at : at + 200].partition(b"\n")
        oid, kind, *size = head.decode().split(" ")
        at += len(head) + 1
        if kind != "blob":  # `<oid> missing`
            continue
        blob = stream[at : at + int(size[0])]
        at += int(size[0]) + 1
        if b"\0" not in blob:
            try:
                found[oid] = blob.decode()
            except UnicodeDecodeError:
                continue
    return found


async def grep(store: Store, tree: str, pattern: str, *, path: str, regex: bool, limit: int) -> list[Hit]:
    """Return the lines that hold `pattern`, in the order of their paths.

    Raises:
        BadInput: The pattern is empty, too long, of several lines, or not a regular expression; or it took too long.
    """
    if not pattern or len(pattern) > _PATTERN_MAX or "\n" in pattern or "\0" in pattern:
        raise BadInput(f"the pattern {pattern[:80]!r} must be one line of 1 to {_PATTERN_MAX} characters")
    how = "-E" if regex else "-F"
    where = [path.rstrip("/")] if path.strip("/") else []
    try:
        said = await store.run(
            *("grep", "-n", "-z", "-I", "--no-color", "--full-name", "--no-textconv", f"--max-count={_PER_FILE}"),
            *(how, "-e", pattern, tree, "--", *where),
            env={"GIT_LITERAL_PATHSPECS": "1", "LC_ALL": _LOCALE},
            check=False,
            timeout_s=_GREP_S,
        )
    except ResourceExhausted:
        raise BadInput(f"the search for {pattern[:80]!r} finds too much; look for something rarer") from None
    except DeadlineExceeded:
        raise BadInput(f"the search for {pattern[:80]!r} took longer than {_GREP_S:g} s; make it simpler") from None
    if said.returncode == 1:
        return []
    if said.returncode != 0:
        if regex:
            raise BadInput(f"{pattern[:80]!r} is no POSIX extended regular expression; leave regex away")
        raise failure("grep", said)
    return _hits(said.stdout, len(tree) + 1)[:limit]


def _hits(stream: bytes, prefix: int) -> list[Hit]:
    """Return what `grep -n -z` wrote: `<tree>:<path> NUL <line> NUL <text> LF`, again and again; a path may hold an LF."""
    found: list[Hit] = []
    at = 0
    while at < len(stream):
        path_end = stream.find(b"\0", at)
        line_end = stream.find(b"\0", path_end + 1)
        if path_end < 0 or line_end < 0:
            break
        text_end = stream.find(b"\n", line_end)
        text_end = len(stream) if text_end < 0 else text_end
        path, line, text = stream[at:path_end], stream[path_end + 1 : line_end], stream[line_end + 1 : text_end]
        said = text.decode("utf-8", "replace").rstrip("\r")[:_LINE_MAX]
        found.append(Hit(path=path.decode("utf-8", "replace")[prefix:], line=int(line), text=said))
        at = text_end + 1
    return found
