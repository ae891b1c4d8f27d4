"""A proof, and how it is written into a commit's trailers and read back.

Knows the words, not what makes a proof hold: that is `tandem.proof`. What is read back may come from anyone, so each
value is looked at before it is believed to be one.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from tandem.errors import BadInput
from tandem.types import Adapter, CommitId, Controls, TreeId

Verdict = Literal["proven", "unproven-docs", "overridden"]

_WORDS: dict[Verdict, str] = {
    "proven": "red-green",
    "unproven-docs": "none (documentation)",
    "overridden": "overridden (by the lead)",
}
_TRAILER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)[ \t]*:[ \t]*(.*)")
_OBJECT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_COUNT_MAX = 1_000_000
_CUT = ", cut off"
_SEAL = "Tandem-Seal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was shown of a commit: with `test_files` alone over `base` red, with `tree` green."""

    run: str
    base: CommitId
    tree: TreeId
    tests_tree: TreeId
    test_files: tuple[str, ...]
    command: tuple[str, ...]
    adapter: Adapter
    folder: str
    digest: str  # sha256 of the three reports' outcomes, hexadecimal
    verdict: Verdict
    sandbox: str
    new_tests: int
    judge: int = 0  # the version of the rules; 0 for proofs from before they were named
    controls: Controls = ""
    twins: int = 0
    untwinned: int = 0
    cut: bool = False  # the twins were ended by a limit, so that another run may count otherwise
    mutants: int = 0  # small faults put into the change, and
    killed: int = 0  # those that the tests noticed: advice, which verify does not repeat
    note: str = ""  # sha256 of the note's bytes, hexadecimal
    override: str = ""  # the lead's own words, where the verdict is overridden


def trailers(proof: Proof) -> list[tuple[str, str]]:
    """Return the proof as trailers, each value on one line; `parse_trailers` reads them back."""
    lines = [("Tandem-Run", _quoted(proof.run)), ("Tandem-Base", proof.base), ("Tandem-Tree", proof.tree)]
    if proof.tests_tree:
        lines.append(("Tandem-Tests", proof.tests_tree))
    lines += [("Tandem-Test-File", _quoted(path)) for path in proof.test_files]
    if proof.command:
        lines.append(("Tandem-Check", _joined(proof.command)))
    lines.append(("Tandem-Adapter", proof.adapter))
    if proof.folder:
        lines.append(("Tandem-Folder", _quoted(proof.folder)))
    lines += [
        ("Tandem-New-Tests", str(proof.new_tests)),
        ("Tandem-Report", f"sha256:{proof.digest}"),
        ("Tandem-Proof", _WORDS[proof.verdict]),
    ]
    if proof.sandbox:
        lines.append(("Tandem-Sandbox", _quoted(proof.sandbox)))
    if proof.override:
        lines.append(("Tandem-Override", _quoted(proof.override)))
    return [*lines, *_judged(proof)] if proof.judge else lines


def _judged(proof: Proof) -> list[tuple[str, str]]:
    """Return the trailers of proofs whose judge has a version."""
    lines = [("Tandem-Judge", str(proof.judge))]
    if proof.controls:
        lines.append(("Tandem-Controls", proof.controls))
    if proof.twins or proof.untwinned:
        lines.append(("Tandem-Twins", f"{proof.twins} of {proof.twins + proof.untwinned}{_CUT if proof.cut else ''}"))
    if proof.mutants:
        lines.append(("Tandem-Mutants", f"{proof.killed} of {proof.mutants}"))
    if proof.note:
        lines.append(("Tandem-Note", f"sha256:{proof.note}"))
    return lines


def sealed(lines: Sequence[tuple[str, str]]) -> str:
    """Return trailers as they stand in a message, closed by a sum over their own bytes.

    The sum keeps nobody from writing another message; it shows that one was changed, by a tool or by hand.
    """
    written = [f"{key}: {value}" for key, value in lines]
    return "\n".join([*written, f"{_SEAL}: sha256:{_sum(written)}"])


def _sum(lines: Sequence[str]) -> str:
    ours = [line for line in lines if line.lower().startswith("tandem-") and not line.startswith(f"{_SEAL}:")]
    return hashlib.sha256("\n".join(ours).encode()).hexdigest()


def parse_trailers(message: str) -> Proof | None:
    """Return the proof in a commit's message, or None where it claims none.

    Raises:
        BadInput: A trailer is missing, there twice, or its value is none; the message names it.
    """
    found: dict[str, list[str]] = {}
    for key, value in read_trailers(message):
        found.setdefault(key.lower(), []).append(value)
    if "tandem-proof" not in found:
        return None
    judge = _count("Tandem-Judge", _single(found, "Tandem-Judge")) if "tandem-judge" in found else 0
    if judge or "tandem-seal" in found:
        _must_be_whole(message, _matched(found, _SEAL, _DIGEST, prefix="sha256:"))
    words = _single(found, "Tandem-Proof")
    verdict: Verdict | None = next((verdict for verdict, text in _WORDS.items() if text == words), None)
    if verdict is None:
        raise _bad("Tandem-Proof", words, "it is one of " + ", ".join(_WORDS.values()))
    twins, tests = _parts(found, "Tandem-Twins")
    killed, mutants = _parts(found, "Tandem-Mutants")
    return Proof(
        run=_unquoted("Tandem-Run", _single(found, "Tandem-Run")),
        base=CommitId(_matched(found, "Tandem-Base", _OBJECT)),
        tree=TreeId(_matched(found, "Tandem-Tree", _OBJECT)),
        tests_tree=TreeId(_matched(found, "Tandem-Tests", _OBJECT) if "tandem-tests" in found else ""),
        test_files=tuple(_path("Tandem-Test-File", value) for value in found.get("tandem-test-file", [])),
        command=_optional(found, "Tandem-Check", _split) or (),
        adapter=_adapter(_single(found, "Tandem-Adapter")),
        folder=_optional(found, "Tandem-Folder", lambda value: _path("Tandem-Folder", value)) or "",
        digest=_matched(found, "Tandem-Report", _DIGEST, prefix="sha256:"),
        verdict=verdict,
        sandbox=_optional(found, "Tandem-Sandbox", lambda value: _unquoted("Tandem-Sandbox", value)) or "",
        new_tests=_count("Tandem-New-Tests", _single(found, "Tandem-New-Tests")),
        judge=judge,
        controls=_optional(found, "Tandem-Controls", _controls) or "",
        note=_matched(found, "Tandem-Note", _DIGEST, prefix="sha256:") if "tandem-note" in found else "",
        override=_optional(found, "Tandem-Override", lambda value: _unquoted("Tandem-Override", value)) or "",
        twins=twins,
        untwinned=tests - twins,
        cut=_is_cut(found),
        mutants=mutants,
        killed=killed,
    )


def read_trailers(message: str) -> list[tuple[str, str]]:
    """Return the trailers in the last paragraph of a commit's message; a message of one paragraph has none."""
    paragraphs = re.split(r"\n(?:[ \t]*\n)+", message.replace("\r\n", "\n").strip("\n \t"))
    if len(paragraphs) < 2:
        return []
    found: list[tuple[str, str]] = []
    for line in paragraphs[-1].split("\n"):
        match = _TRAILER.fullmatch(line.rstrip(" \t"))
        if match:
            found.append((match[1], match[2]))
        elif line[:1] in (" ", "\t") and found:  # a folded value
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
    return found


# --- values ---------------------------------------------------------------------------------------------------


def _quoted(text: str) -> str:
    """Return `text` as it is where that is one plain line, else as a JSON string."""
    plain = text.isprintable() and text == text.strip() and text and text[0] != '"'
    return text if plain else json.dumps(text)


def _unquoted(key: str, value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        text: Any = json.loads(value)
    except ValueError:
        text = None
    if not isinstance(text, str):
        raise _bad(key, value, "its quotes do not close")
    return text


def _joined(command: Sequence[str]) -> str:
    return shlex.join(command) if all(part.isprintable() for part in command) else json.dumps(list(command))


def _split(value: str) -> tuple[str, ...]:
    try:
        # shlex.join quotes a leading bracket, so one that stands bare begins a JSON list
        parts: Any = json.loads(value) if value.startswith("[") else shlex.split(value)
    except ValueError as error:
        raise _bad("Tandem-Check", value, f"it does not parse: {error}") from None
    if not parts or not all(isinstance(part, str) for part in parts):
        raise _bad("Tandem-Check", value, "it is no command")
    return tuple(cast("list[str]", parts))


def _path(key: str, value: str) -> str:
    path = _unquoted(key, value)
    if not path or path.startswith("/") or "\0" in path or ".." in path.split("/"):
        raise _bad(key, value, "it is no path inside the tree")
    return path


def _adapter(value: str) -> Adapter:
    if value not in get_args(Adapter):
        raise _bad("Tandem-Adapter", value, "it is one of " + ", ".join(get_args(Adapter)))
    return cast("Adapter", value)


def _count(key: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", value) or int(value) > _COUNT_MAX:
        raise _bad(key, value, "it is no count")
    return int(value)


def _controls(value: str) -> Controls:
    if value not in get_args(Controls) or not value:
        raise _bad("Tandem-Controls", value, "it is one of " + ", ".join(filter(None, get_args(Controls))))
    return cast("Controls", value)


def _is_cut(found: dict[str, list[str]]) -> bool:
    return found.get("tandem-twins", [""])[0].endswith(_CUT)


def _parts(found: dict[str, list[str]], key: str) -> tuple[int, int]:
    """Return the numbers of a trailer such as `7 of 9`; (0, 0) where it is not there."""
    if key.lower() not in found:
        return 0, 0
    value = _single(found, key)
    part, _, whole = (value.removesuffix(_CUT) if key == "Tandem-Twins" else value).partition(" of ")
    if _count(key, part) > _count(key, whole):
        raise _bad(key, value, "a part is larger than the whole")
    return int(part), int(whole)


def _must_be_whole(message: str, claimed: str) -> None:
    lines = re.split(r"\n(?:[ \t]*\n)+", message.replace("\r\n", "\n").strip("\n \t"))[-1].split("\n")
    if _sum(lines) != claimed:
        raise BadInput(
            f"the commit's trailers are not as they were written (their sum is not {claimed[:12]}); "
            "the message was changed or is not ours"
        )


def _single(found: dict[str, list[str]], key: str) -> str:
    values = found.get(key.lower(), [])
    if len(values) != 1:
        raise BadInput(f"the commit claims a proof, but the trailer {key} is there {len(values)} times; once is right")
    return values[0]


def _matched(found: dict[str, list[str]], key: str, shape: re.Pattern[str], prefix: str = "") -> str:
    value = _single(found, key)
    text = value.removeprefix(prefix)
    if not value.startswith(prefix) or not shape.fullmatch(text):
        raise _bad(key, value, f"expected {prefix or 'an object id of '}hexadecimal digits")
    return text


def _optional(found: dict[str, list[str]], key: str, read: Callable[[str], Any]) -> Any:
    return read(_single(found, key)) if key.lower() in found else None


def _bad(key: str, value: str, why: str) -> BadInput:
    return BadInput(f"the trailer {key} holds {value[:120]!r}: {why}; the commit's message was changed or is not ours")
