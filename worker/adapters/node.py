"""`node --test`, with a reporter of ours; also behind an npm script."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from worker.adapters.base import Framework, Plan, Selection, misfit, replaced
from worker.adapters.reports import listed
from worker.sandbox.spec import OUT, REPORTERS
from worker.twins import javascript as twins

_FLAGS = (
    f"--test-reporter={REPORTERS}/node_report.mjs",
    f"--test-reporter-destination={OUT}/report.jsonl",
    "--test-reporter=spec",
    "--test-reporter-destination=stdout",
)
_VALUED = ("--import", "--require", "-r", "--loader", "--experimental-loader", "--conditions", "-C", "--env-file")


def plan(command: tuple[str, ...], selection: Selection) -> Plan:
    """Return the command with our reporter; where files are selected, with these in the place of the patterns."""
    if "--test" in command:
        at = command.index("--test") + 1
        arguments = replaced(command[at:], selection.stand_ins)
        if selection.only:
            arguments = (*_options(arguments), *selection.only)
        return Plan(argv=(*command[:at], *_FLAGS, *arguments), report="report.jsonl")
    if PurePosixPath(command[0]).name not in ("npm", "node", "yarn", "pnpm"):
        raise misfit(command, "node", "node --test")
    # A script between us and Node; whatever Node runs tests in it takes its reporters from here.
    return Plan(argv=command, report="report.jsonl", env={"NODE_OPTIONS": " ".join(_FLAGS)})


def _options(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Return what of the arguments is no file or pattern."""
    kept: list[str] = []
    valued = False
    for argument in arguments:
        if valued or argument.startswith("-"):
            kept.append(argument)
        valued = argument in _VALUED
    return tuple(kept)


def alias(path: str, word: str) -> str:
    """Return a path beside `path` whose name is as much a test's: `x.test.js` becomes `WORD.test.js`."""
    place = PurePosixPath(path)
    end = re.search(r"(?:[._-](?:test|spec))?(?:\.d)?\.\w+$", place.name)
    ending = end.group() if end else place.suffix
    stem = place.name.removesuffix(ending)
    begins = "test-" if stem == "test" or stem.startswith("test-") else ""
    return str(place.with_name(f"{begins}{word}{ending}"))


def control(path: str, text: str, word: str, holds: bool) -> str:
    """Return a file with one test that passes, or fails by an assertion, in the module system of the file beside it."""
    del path
    modules = re.search(r"^\s*(?:import|export)\b", text, re.MULTILINE)
    load = (
        "import test from 'node:test';\nimport assert from 'node:assert';\n"
        if modules
        else "const test = require('node:test');\nconst assert = require('node:assert');\n"
    )
    expected = len(word) if holds else len(word) + 1
    return f"{load}test('{word}', () => {{ assert.strictEqual({len(word)}, {expected}); }});\n"


NODE = Framework(name="node", plan=plan, read=listed, control=control, alias=alias, twin=twins.twin, tests=twins.tests)
