"""What jest and vitest share: the command line around them, and what of it a selection keeps."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

SETTING = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of a tool: the settings before it, Node with its flags if that is named, and the tool's arguments."""

    env: Mapping[str, str]
    node: tuple[str, ...]
    arguments: tuple[str, ...]


def call(command: tuple[str, ...], tool: str) -> Call | None:
    """Return how a tool of the project's own is called, or None where it is not named.

    `npx`, `yarn` and their kind only look the tool up, which the plan does itself.
    """
    names = (tool, f"{tool}.js", f"{tool}.mjs")
    at = next((i for i, part in enumerate(command) if PurePosixPath(part).name in names), -1)
    if at < 0:
        return None
    before = command[:at]
    settings = [part.partition("=") for part in before if SETTING.fullmatch(part)]
    return Call(
        env={name: value for name, _, value in settings},
        node=before[before.index("node") :] if "node" in before else (),
        arguments=command[at + 1 :],
    )


def without(arguments: tuple[str, ...], flags: Collection[str], valued: Collection[str]) -> tuple[str, ...]:
    """Return arguments less these flags, and less the value of each that takes one."""
    kept: list[str] = []
    skipping = False
    for argument in arguments:
        if skipping:
            skipping = False
            continue
        name, equals, _ = argument.partition("=")
        if name in flags:
            skipping = name in valued and not equals
        else:
            kept.append(argument)
    return tuple(kept)


def options(arguments: tuple[str, ...], valued: Collection[str]) -> tuple[str, ...]:
    """Return what of the arguments is no file or pattern."""
    kept: list[str] = []
    is_value = False
    for argument in arguments:
        if is_value or argument.startswith("-"):
            kept.append(argument)
        is_value = not is_value and argument in valued
    return tuple(kept)


def control(load: str, word: str, holds: bool) -> str:
    """Return a file that loads `test` and `expect`, with one test that passes, or fails by an expectation."""
    expected = len(word) if holds else len(word) + 1
    return f"{load}test('{word}', () => {{\n  expect({len(word)}).toBe({expected});\n}});\n"
