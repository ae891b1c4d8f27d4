r"""Apply a patch: a unified diff, or the `*** Begin Patch` form that some models are trained on.

Line numbers and counts in a patch are hints; what places a hunk are its lines. All of a patch applies, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agents.tools import blocks
from tandem.errors import BadReply
from tandem.types import Edit

Read = Callable[[str], str | None]
_PATCH_MAX = 400_000  # characters
_HUNK = re.compile(r"^@@(?:\s*-(\d+)(?:,\d+)?\s+\+\d+(?:,\d+)?\s*@@)?(.*)$")
_STARRED = re.compile(r"^\*\*\* (?:Begin Patch|Update File|Add File|Delete File)", re.MULTILINE)
_STAR = re.compile(r"^\*\*\* (Update|Add|Delete) File: (.+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patched:
    """The files' whole new texts (None: deleted), and what was done, in words for the model."""

    edits: tuple[Edit, ...]
    how: str


@dataclass(slots=True)
class _Hunk:
    near: int | None
    old: list[str] = field(default_factory=list[str])
    new: list[str] = field(default_factory=list[str])
    no_end: bool = False  # the new text's last line has no line end


@dataclass(slots=True)
class _File:
    path: str
    kind: str  # update, add, delete
    hunks: list[_Hunk] = field(default_factory=list[_Hunk])


def apply(patch: str, read: Read) -> Patched:
    """Return the edits that `patch` asks for; `read` gives a file's text, or None where there is none.

    Raises:
        BadReply: It is no patch, names a file that is not there (or is, and should not be), or a hunk has not one place.
    """
    if len(patch) > _PATCH_MAX:
        raise BadReply(f"the patch has more than {_PATCH_MAX:,} characters; make several")
    text = blocks.without_fence(patch).replace("\r\n", "\n")
    if "GIT binary patch" in text or re.search(r"^Binary files ", text, re.MULTILINE):
        raise BadReply("the patch holds binary data, which cannot be applied")
    if re.search(r"^rename (?:from|to) ", text, re.MULTILINE):
        raise BadReply("the patch renames a file; write the new one and delete the old one instead")
    files = _stars(text) if _STARRED.search(text) else _unified(text)
    if not files:
        raise BadReply("that is no patch: it needs lines like '--- a/x.py', '+++ b/x.py' and '@@'")
    if len({file.path for file in files}) != len(files):
        raise BadReply("the patch names a file twice; put its hunks together")
    edits = tuple(_edited(file, read) for file in files)
    return Patched(edits=edits, how="; ".join(f"{e.path}: {_said(f)}" for e, f in zip(edits, files, strict=True)))


def _said(file: _File) -> str:
    if file.kind != "update":
        return "added" if file.kind == "add" else "deleted"
    return f"{len(file.hunks)} hunk{'s' if len(file.hunks) != 1 else ''} applied"


# --- reading --------------------------------------------------------------------------------------------------------


def _unified(text: str) -> list[_File]:
    files: list[_File] = []
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        line = lines[at]
        following = lines[at + 1] if at + 1 < len(lines) else ""
        if line.startswith("--- ") and following.startswith("+++ "):
            files.append(_headed(line[4:], following[4:]))
            at += 2
        elif line.startswith("@@"):
            if not files:
                raise BadReply("the patch has a hunk before any file name; begin with '--- a/path' and '+++ b/path'")
            at = _hunk(lines, at, files[-1])
        elif line.startswith("deleted file mode") or not line.strip() or not files or _is_head(line):
            at += 1
        elif files and not files[-1].hunks and line[:1] in " +-":  # a hunk without its '@@' line
            at = _lines_of(lines, at, files[-1], None)
        else:
            at += 1
    return [file for file in files if file.hunks or file.kind != "update"]


def _is_head(line: str) -> bool:
    return line.startswith(("diff ", "index ", "new file", "old mode", "new mode", "similarity", "```"))


def _headed(old: str, new: str) -> _File:
    was, becomes = _name(old), _name(new)
    if becomes == "/dev/null":
        return _File(was, "delete")
    if was == "/dev/null":
        return _File(becomes, "add")
    if was != becomes:
        raise BadReply(f"the patch turns {was} into {becomes}; write the new file and delete the old one instead")
    return _File(becomes, "update")


def _name(text: str) -> str:
    bare = text.split("\t")[0].strip().strip('"')
    return bare[2:] if bare.startswith(("a/", "b/")) else bare


def _hunk(lines: list[str], at: int, file: _File) -> int:
    head = _HUNK.match(lines[at])
    near = int(head[1]) - 1 if head and head[1] else None
    return _lines_of(lines, at + 1, file, near)


def _lines_of(lines: list[str], at: int, file: _File, near: int | None) -> int:
    hunk = _Hunk(near)
    while at < len(lines):
        line = lines[at]
        over = line.startswith(("@@", "diff --git ", "*** ", "```")) or (
            line.startswith("--- ") and at + 1 < len(lines) and lines[at + 1].startswith("+++ ")
        )
        if over:
            break
        if line.startswith("\\"):
            hunk.no_end = hunk.no_end or lines[at - 1].startswith("+")
        elif line.startswith("+"):
            hunk.new.append(line[1:])
        elif line.startswith("-"):
            hunk.old.append(line[1:])
        else:  # a blank line of context often lost its space
            hunk.old.append(line[1:] if line.startswith(" ") else line)
            hunk.new.append(line[1:] if line.startswith(" ") else line)
        at += 1
    _trim(hunk)
    if hunk.old or hunk.new:
        file.hunks.append(hunk)
    return at


def _trim(hunk: _Hunk) -> None:
    """Leave away blank context at the end of a hunk: it is more often the patch's own end than the file's."""
    while hunk.old and hunk.new and not hunk.old[-1].strip() and not hunk.new[-1].strip():
        hunk.old.pop()
        hunk.new.pop()


def _stars(text: str) -> list[_File]:
    files: list[_File] = []
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        named = _STAR.match(lines[at])
        if named:
            files.append(_File(named[2].strip(), named[1].lower()))
            at += 1
        elif lines[at].startswith("*** Move to:"):
            raise BadReply("the patch moves a file; write the new one and delete the old one instead")
        elif lines[at].startswith("*** ") or not files or files[-1].kind == "delete":
            at += 1
        else:
            at = _lines_of(lines, at + lines[at].startswith("@@"), files[-1], None)
    return files


# --- applying -------------------------------------------------------------------------------------------------------


def _edited(file: _File, read: Read) -> Edit:
    there = read(file.path)
    if file.kind == "add":
        if there is not None and there.strip():
            raise BadReply(f"the patch adds {file.path}, which exists; change it instead")
        lines = [line for hunk in file.hunks for line in hunk.new]
        no_end = bool(file.hunks) and file.hunks[-1].no_end
        return Edit(path=file.path, content="\n".join(lines) + ("" if no_end or not lines else "\n"))
    if there is None:
        raise BadReply(f"the patch changes {file.path}, which does not exist; list_files shows what there is")
    if file.kind == "delete":
        gone = {line.strip() for hunk in file.hunks for line in hunk.old}
        if gone - {line.strip() for line in there.splitlines()}:
            raise BadReply(f"the patch deletes {file.path}, but its lines are others; use delete_file")
        return Edit(path=file.path, content=None)
    return Edit(path=file.path, content=_applied(file, there))


def _applied(file: _File, text: str) -> str:
    end = "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"
    if "\r" in text and text.count("\r\n") != text.count("\n"):
        raise BadReply(f"{file.path} mixes line ends; use replace_in_file")
    ended = text.endswith("\n")
    lines = text.replace("\r\n", "\n").split("\n")
    if ended:
        lines.pop()
    moved = 0
    for number, hunk in enumerate(file.hunks, 1):
        place = _place(lines, hunk, moved, f"hunk {number} of {file.path}")
        made = blocks.put(lines, place, hunk.old, hunk.new)
        if made is None:
            raise BadReply(f"hunk {number} of {file.path} does not fit the lines there; read the file again")
        lines[place.start : place.start + len(hunk.old)] = made
        moved += len(made) - len(hunk.old)
        ended = ended and not hunk.no_end
    after = end.join(lines) + (end if ended and lines else "")
    if after == text:
        raise BadReply(f"the patch changes nothing in {file.path}")
    return after


def _place(lines: Sequence[str], hunk: _Hunk, moved: int, what: str) -> blocks.Place:
    """Return the one place of a hunk: the only one its lines have, or the one at the line it names.

    Raises:
        BadReply: There is none, or several and none of them is where the hunk says.
    """
    if not hunk.old:
        if not lines:
            return blocks.Place(start=0)
        raise BadReply(f"{what} has no line of the file to be placed by; give a few lines of context")
    places = blocks.find(lines, hunk.old)
    if len(places) == 1:
        return places[0]
    if not places:
        raise BadReply(f"{what} stands nowhere in the file; read it again and give its lines as they are")
    stated = None if hunk.near is None else hunk.near + moved
    exact = [place for place in places if place.start == stated]
    if exact:
        return exact[0]
    where = ", ".join(str(place.start + 1) for place in places[:8])
    raise BadReply(f"{what} fits at lines {where}; give more lines of context")
