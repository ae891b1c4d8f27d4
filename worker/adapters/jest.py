"""jest, with a reporter of ours; also behind an npm script.

Each file is run by itself, so files have no order; a seed shuffles the tests within each.
"""

from __future__ import annotations

import re

from worker.adapters import web
from worker.adapters.base import Framework, Plan, Selection, misfit, replaced
from worker.adapters.node import alias
from worker.adapters.reports import ended
from worker.sandbox.spec import OUT, REPORTERS
from worker.twins import javascript as twins

# An option that takes a list swallows the words after it, so the last of these takes none.
_FLAGS = (
    "--reporters=default",
    f"--reporters={REPORTERS}/jest_report.cjs",
    f"--outputFile={OUT}/report.jsonl",
    "--watchAll=false",
    "--bail=0",
    "--colors=false",
    "--ci",  # a snapshot that is missing is a failure, and not written
)
_OURS = (
    "--reporters",
    "--outputFile",
    "--json",
    "--watch",
    "--watchAll",
    "--bail",
    "-b",
    "--colors",
    "--color",
    "--ci",
)
_CHOOSING = (
    *("--testPathPattern", "--testPathPatterns", "--runTestsByPath", "--findRelatedTests", "--changedSince", "--shard"),
    *("--onlyChanged", "-o", "--lastCommit", "--coverage", "--collectCoverage", "--randomize", "--seed"),
)
_VALUED = (
    *("--reporters", "--outputFile", "--testPathPattern", "--testPathPatterns", "--changedSince", "--shard", "--seed"),
    *("--config", "-c", "--rootDir", "--testNamePattern", "-t", "--maxWorkers", "-w", "--env", "--testEnvironment"),
    *(
        "--testTimeout",
        "--selectProjects",
        "--ignoreProjects",
        "--testPathIgnorePatterns",
        "--testRegex",
        "--testMatch",
    ),
    *("--maxConcurrency", "--setupFilesAfterEnv", "--preset", "--transform", "--roots", "--workerIdleMemoryLimit"),
)


def plan(command: tuple[str, ...], selection: Selection) -> Plan:
    """Return the command with our reporter; where files are selected, with these and none of its own choosing."""
    shuffled = ("--randomize", f"--seed={selection.seed}") if selection.seed is not None else ()
    chosen = ("--coverage=false", "--runTestsByPath", *selection.only) if selection.only else ()
    if command[0] in ("npm", "yarn", "pnpm") and "jest" not in command:  # a script between us and jest
        marked = () if "--" in command else ("--",)
        return Plan(argv=(*command, *marked, *shuffled, *_FLAGS, *chosen), report="report.jsonl")
    found = web.call(command, "jest")
    if found is None:
        raise misfit(command, "jest", "npx jest")
    arguments = replaced(web.without(found.arguments, _OURS, _VALUED), selection.stand_ins)
    if chosen:
        arguments = web.options(web.without(arguments, _CHOOSING, _VALUED), _VALUED)
    argv = (*found.node, "node_modules/.bin/jest", *shuffled, *_FLAGS, *arguments, *chosen)
    return Plan(argv=argv, report="report.jsonl", env=found.env)


def control(path: str, text: str, word: str, holds: bool) -> str:
    """Return a file with one test, which has `test` and `expect` from where the file beside it has them."""
    if re.search(r"from\s+['\"]@jest/globals['\"]", text):
        load = "import { expect, test } from '@jest/globals';\n\n"
    elif re.search(r"require\(['\"]@jest/globals['\"]\)", text):
        load = "const { expect, test } = require('@jest/globals');\n\n"
    else:  # TypeScript compilers that read each file alone want it to be a module
        load = "export {};\n\n" if path.endswith((".ts", ".tsx", ".mts")) and "import " in text else ""
    return web.control(load, word, holds)


JEST = Framework(name="jest", plan=plan, read=ended, control=control, alias=alias, twin=twins.twin, tests=twins.tests)
