"""What personas are shown of a run: the task, the plan, files, tests, diffs and reports as sections of text."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from agents.context import Section
from agents.plandoc import SUGGESTED
from agents.plantidy import question_line
from agents.tools.view import listing
from graphs.state import State
from graphs.team import Team
from tandem.detect import is_test_file
from tandem.types import Adapter, CheckReport, CommitId, Json

_FILE_LIST = 200  # paths shown at most; beyond, some and the folders
_FOLDER_LIST = 40
_MENTIONED = 12  # files shown whole because the task names them
_SMALL = 12  # files of a repository whose sources are shown whole
_MAP_SHARE = 10  # of the context goes to the map
_FILE_BYTES = 48_000  # of one file
LARGE = f"files are shown up to {_FILE_BYTES} bytes, and yours must be seen before it is rewritten"
_CONVENTIONS = re.compile(r"(?i)(^|/)(agents|claude|gemini|contributing|conventions|copilot-instructions)\.md$")
_TELLING = re.compile(
    r"(^|/)(package\.json|pyproject\.toml|setup\.cfg|tox\.ini|pytest\.ini|conftest\.py|[\w.-]*requirements[\w.-]*\.txt"
    r"|Makefile|go\.mod|Cargo\.toml)$"
)


def task(team: Team) -> Section:
    """Return the task itself, never cut."""
    return Section(title="task", text=team.task.text, keep=9)


def tells_how_to_test(path: str) -> bool:
    """Return whether a file's text is needed to find the test command."""
    return bool(_TELLING.search(path)) or is_test_file(path, "pytest")


async def repository(team: Team, step: str) -> list[Section]:
    """Return the list of files, a map of the larger ones, and the texts that introduce a repository."""
    files = [path for path in await team.repo.files(team.task.base) if inside(path, team.task.folder)]
    sections = [Section(title="files of the repository", text=_listed(files), keep=6)]
    if len(files) > _SMALL:
        sections.append(await repo_map(team, step, files))
    introducing = [p for p in files if re.fullmatch(r"(?i)readme(\.\w+)?|package\.json|pyproject\.toml", p)]
    mentioned = _mentioned(files, team.task.text)
    small = [p for p in files if _is_source(p)] if len(files) <= _SMALL else []
    shown = [*mentioned, *small, *introducing[:3]]
    return sections + await named_files(team, team.task.base, shown, keep=3)


def _mentioned(files: Sequence[str], text: str) -> list[str]:
    """Return the files a task names, in full or by their last part, as many as can be shown: nearest the top first."""
    named = [path for path in files if path in text or path.rsplit("/", 1)[-1] in text]
    return sorted(named, key=lambda path: (path not in text, path.count("/"), path))[:_MENTIONED]


def _listed(files: Sequence[str]) -> str:
    if len(files) <= _FILE_LIST:
        return "\n".join(files)
    more = f"[{len(files)} files in all; the others are in these folders, and list_files shows them]"
    return "\n".join([*files[:_FOLDER_LIST], more, listing(files)])


async def repo_map(team: Team, step: str, files: Sequence[str]) -> Section:
    """Return the definitions that matter most for the task, file by file.

    The map is recorded: making it takes seconds on a large repository, and a replay must see the one that was seen.
    """
    budget_tokens = team.settings.contexts["worker"] // _MAP_SHARE

    async def live(attempt: int) -> Json:
        del attempt
        from agents import repomap

        texts = await team.repo.contents(team.task.base, [path for path in files if not _is_prose(path)])
        return await asyncio.to_thread(
            lambda: repomap.draw(
                repomap.rank(texts, all_paths=files, task=team.task.text),
                budget_tokens,
                team.settings.counts["worker"],
            )
        )

    question: dict[str, Json] = {"commit": team.task.base, "folder": team.task.folder, "tokens": budget_tokens}
    text = str(await team.recorder.ask(step, "map", question, live))
    return Section(title="map of the repository, the files that matter most for the task first", text=text, keep=3)


def inside(path: str, folder: str) -> bool:
    """Return whether a path lies in `folder`; everything lies in the one without a name."""
    return not folder or path.startswith(f"{folder}/")


def _is_prose(path: str) -> bool:
    return path.endswith((".md", ".rst", ".txt", ".svg", ".lock", ".json", ".csv"))


def _is_source(path: str) -> bool:
    return path.endswith((".py", ".js", ".mjs", ".cjs", ".ts", ".tsx", ".jsx", ".go", ".rs", ".md"))


async def named_files(team: Team, commit: CommitId | str, paths: Iterable[str], *, keep: int = 5) -> list[Section]:
    """Return the texts of `paths` in `commit`, each once; what is not there is left out."""
    sections: list[Section] = []
    for path in dict.fromkeys(paths):
        text = await team.repo.read(CommitId(commit), path, limit_bytes=_FILE_BYTES)
        if text is not None:
            sections.append(Section(title=f"file {path}", text=text, keep=keep))
    return sections


def paths_of(titles: Iterable[str]) -> list[str]:
    """Return the paths of those sections among `titles` that are files."""
    return [title.removeprefix("file ") for title in titles if title.startswith("file ")]


async def conventions(team: Team) -> list[Section]:
    """Return the repository's own files for contributors and agents: material on its style, never orders."""
    files = await team.repo.files(team.task.base)
    near = {"", f"{team.task.folder}/"}
    found = [path for path in files if _CONVENTIONS.search(path) and path[: path.rfind("/") + 1] in near]
    sections = await named_files(team, team.task.base, found[:3], keep=2)
    return [replace(section, title=f"{section.title}: the repository's own conventions") for section in sections]


async def sample_tests(team: Team, adapter: Adapter) -> list[Section]:
    """Return one or two of the repository's own tests, to be imitated."""
    files = await team.repo.files(team.task.base)
    return await named_files(team, team.task.base, [p for p in files if is_test_file(p, adapter)][:2], keep=4)


def how_tests_run(state: State) -> str:
    """Return the command and the framework in words."""
    check = state["check"]
    framework = {
        "pytest": "pytest",
        "unittest": "Python's unittest (test_*.py under the folder the command names)",
        "node": "node:test and node:assert (files named *.test.js, or in a folder test/)",
        "jest": "jest (files named *.test.js or *.spec.js, or in a folder __tests__/)",
        "vitest": "vitest (files named *.test.js or *.spec.js; import test and expect from 'vitest')",
        "go": "Go's testing (files named *_test.go in the package they test)",
        "cargo": "Rust's integration tests (files in tests/, which use the crate by its name)",
        "plain": "whatever the command runs",
    }[check["adapter"]]
    return f"Command: {' '.join(check['command'])}\nFramework: {framework}"


def plan_text(state: State) -> str:
    """Return the plan as people read it."""
    plan = state["plan"]
    scenarios = "\n\n".join(f"Scenario: {s['name']}\n{s['gherkin']}" for s in plan["scenarios"])
    files = "\n".join(f"- {path}" for path in plan["files"])
    risks = "\n".join(f"- {risk}" for risk in plan["risks"])
    parts = [plan["summary"], scenarios, f"Files:\n{files}" if files else "", f"Risks:\n{risks}" if risks else ""]
    for title, key in (("Steps", "steps"), ("Done when", "done")):
        parts.append(f"{title}:\n" + "\n".join(f"- {one}" for one in plan[key]) if plan.get(key) else "")
    answered = answers_text(plan, state.get("plan_answers", {}))
    parts.append(f"The lead was asked:\n{answered}" if answered else "")
    remarks = state.get("plan_remarks", "")
    return "\n\n".join(part for part in [*parts, f"The lead adds: {remarks}" if remarks else ""] if part)


def answers_text(plan: dict[str, Any], answers: dict[str, str]) -> str:
    """Return the lead's answers to the checklist, and the suggestions that stand where there is none."""
    lines = [f"- {question} {answer}" for question, answer in answers.items()]
    for item in plan.get("checklist", ()):
        if item["suggestion"] and question_line(item["question"]) not in answers:
            lines.append(f"- {item['question']} {item['suggestion']} ({SUGGESTED})")
    return "\n".join(lines)


def findings_text(findings: Sequence[dict[str, Any]]) -> str:
    """Return findings as lines a coder can work through."""
    return "\n".join(
        f"- [{f['severity']}] {f['file'] or '(no file)'}:{f['line']} {f['why']}"
        + (f" Fix: {f['fix']}" if f["fix"] else "")
        for f in findings
    )


def report_text(report: CheckReport) -> str:
    """Return a report as a coder reads it: the counts, then each failure's own words."""
    failed = [t for t in report.tests if t.outcome in ("failed", "error")]
    passed = sum(t.outcome == "passed" for t in report.tests)
    counts = f"{report.verdict}: {passed} passed, {len(failed)} failed"
    lines = [f"{counts} ({report.reason})" if report.reason else counts]
    lines += [f"\nFAILED {t.id}\n{t.message}" for t in failed[:12]]
    if not report.tests or (not failed and report.verdict != "passed"):
        lines.append(f"\nend of the output:\n{report.output[-3000:]}")
    return "\n".join(lines)


def changed_paths(diff: bytes) -> list[str]:
    """Return the new names of the files a diff changes, as far as they are plain."""
    return [line[6:] for line in diff.decode("utf-8", "replace").splitlines() if line.startswith("+++ b/")]
