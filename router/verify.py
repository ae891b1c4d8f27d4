"""Establish a commit's proof anew, from the commit alone: red on its base, green on itself, the same report.

Works on any clone that has the commit and its base, with the notes or without. Nothing of the run that made the commit
is needed, and nothing of it is believed: only the trailers are read, and each is checked. The judge's controls and twins
are made anew, under other names than those of the run. What cannot be repeated is taken as told: which run it was, under
which sandbox, and how many of its small faults (mutants) were noticed.
"""

from __future__ import annotations

import shlex
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from router.execution import Ports
from router.repository import OwnRepository, commits_of, proof_commit, proof_note, read_commit
from tandem import proof
from tandem.deciding import has_a_say
from tandem.detect import is_documentation, is_test_file
from tandem.errors import BadInput, Refused, TandemError
from tandem.types import JUDGE, CheckReport, CheckRequest, CommitId, Edit, Json, PrepareRequest, RequestId, RunId, Seal

_SOURCE_BYTES = 2 << 20  # of one test file
Progress = tuple[str, dict[str, Json]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What the person allows: installing packages from a registry; for the demo alone, running without a sandbox."""

    network: bool = False
    unsandboxed: bool = False


@dataclass(slots=True, kw_only=True)
class _Case:
    """What is being verified."""

    repo: OwnRepository
    commit: CommitId
    claimed: proof.Proof
    ports: Ports
    run: RunId
    allowed: Allowed
    environment: str = ""
    checks: list[dict[str, Json]] = field(default_factory=list[dict[str, Json]])


async def verify(state: Path, repo: str, what: str, ports: Ports, allowed: Allowed) -> AsyncIterator[Progress]:
    """Yield ("progress", …) and at last one ("result", …), for one commit or a range such as `main..topic`.

    A commit's `verdict` is holds, does not hold, unproven (documentation), overridden (by a person) or no proof. A range
    has a result a commit, under `commits`; it holds where each commit's does or is documentation.

    Raises:
        BadRepository: It is no repository, or lacks a commit or its base.
        Refused: The tests need packages installed, and that is not allowed.
    """
    if ".." not in what:
        async for item in _one(state, repo, what, ports, allowed):
            yield item
        return
    commits: list[Json] = []
    for number, commit in enumerate(names := await commits_of(Path(repo), what), 1):
        yield "progress", {"stage": "commit", "message": f"commit {commit[:10]} ({number} of {len(names)})"}
        async for kind, data in _one(state, repo, commit, ports, allowed):
            if kind == "result":
                commits.append(data)
            yield ("progress" if kind == "result" else kind), data
    yield "result", {"repo": repo, "range": what, "commits": commits, **_summed(commits)}


def _summed(commits: Sequence[Json]) -> dict[str, Json]:
    """Return the verdict on a range."""
    results = [cast("dict[str, Json]", result) for result in commits]
    bad = [result for result in results if result["verdict"] not in ("holds", "unproven")]
    if not bad:
        return {"verdict": "holds", "reason": f"each of {len(results)} commits is proven, or documentation"}
    first = bad[0]
    words = f"{len(bad)} of {len(results)} are not proven, the first {str(first['commit'])[:10]}"
    return {"verdict": "does not hold", "reason": f"{words} ({first['verdict']}: {first['reason']})"}


async def _one(state: Path, repo: str, commit: str, ports: Ports, allowed: Allowed) -> AsyncIterator[Progress]:
    try:
        found = await proof_commit(Path(repo), commit)
    except BadInput as error:  # it claims a proof, and its trailers are not as they were written
        told = await read_commit(Path(repo), commit)
        what: dict[str, Json] = {"repo": repo, "commit": told.commit, "checks": []}
        yield "result", what | {"verdict": "does not hold", "reason": error.message}
        return
    result: dict[str, Json] = {"repo": str(found.root), "commit": found.commit, "checks": []}
    if found.proof is None:
        yield "result", result | {"verdict": "no proof", "reason": "its message has no Tandem trailers"}
        return
    own = await OwnRepository.open(state, found.root, found.commit)
    run = RunId(f"verify-{uuid.uuid4().hex[:12]}")
    case = _Case(repo=own, commit=found.commit, claimed=found.proof, ports=ports, run=run, allowed=allowed)
    trouble = await _mismatch(case, found.parents) or _note_trouble(
        case.claimed, await proof_note(found.root, found.commit)
    )
    if trouble is None and case.claimed.verdict == "overridden":
        yield "result", result | _overridden(case)
        return
    if trouble is None and case.claimed.command:
        async for item in _repeat(case):
            if item[0] == "trouble":
                trouble = str(item[1]["reason"])
            else:
                yield item
    result["checks"] = list(case.checks)
    yield "result", result | _verdict(case, trouble)


def _overridden(case: _Case) -> dict[str, Json]:
    return {"verdict": "overridden", "reason": f"merged without a proof by the lead, who said: {case.claimed.override}"}


def _note_trouble(claimed: proof.Proof, note: bytes | None) -> str | None:
    """Return why the note on the commit is not the proof's own; a clone may be without it."""
    if note is None or not claimed.note or proof.note_digest(note) == claimed.note:
        return None
    return "the note on it is not the one its proof was made with"


def _verdict(case: _Case, trouble: str | None) -> dict[str, Json]:
    if trouble is not None:
        return {"verdict": "does not hold", "reason": trouble}
    if case.claimed.verdict == "unproven-docs":
        return {"verdict": "unproven", "reason": "documentation only; nothing that passed before is broken"}
    return {
        "verdict": "holds",
        "reason": f"{case.claimed.new_tests} new tests: red on the base, green here, by {shlex.join(case.claimed.command)}",
    }


async def _mismatch(case: _Case, parents: tuple[CommitId, ...]) -> str | None:
    """Return what in the trailers does not fit the commit itself, before anything is run."""
    claimed, repo = case.claimed, case.repo
    if parents != (claimed.base,):
        return f"its parent is not the base {claimed.base[:10]} its proof was made on"
    if (tree := await repo.tree(case.commit)) != claimed.tree:
        return f"its tree is {tree[:10]} and the proof is about {claimed.tree[:10]}"
    if await repo.tree(case.commit, claimed.test_files) != claimed.tests_tree:
        return "its test files are not the ones the proof was made with"
    if claimed.verdict == "overridden":
        return None if claimed.override else "it says that the lead overrode the proof, and not with which words"
    if claimed.verdict == "unproven-docs":
        changed = await repo.changed(claimed.base, case.commit)
        odd = [path for path in changed if not is_documentation(path)]
        return f"it says documentation only, and changes {odd[0]}" if odd else None
    if not (claimed.test_files and claimed.command):
        return "its proof names no tests"
    for path in claimed.test_files:
        if not is_test_file(path, claimed.adapter) and not path.endswith("__init__.py"):
            return f"its proof names {path} as a test, which it is not"
    return await _has_a_say(case)


async def _has_a_say(case: _Case) -> str | None:
    """Return which file, beside the tests it names, the commit changes and with it what passes."""
    claimed, repo = case.claimed, case.repo
    for path in await repo.changed(claimed.base, case.commit):
        if path in claimed.test_files:
            continue
        before = await repo.read(claimed.base, path, limit_bytes=_SOURCE_BYTES)
        after = await repo.read(case.commit, path, limit_bytes=_SOURCE_BYTES)
        if say := has_a_say(path, before, after, claimed.adapter, claimed.command):
            return f"it changes {path}, which {say}, and is none of its tests"
    return None


async def _repeat(case: _Case) -> AsyncIterator[Progress]:
    """Run base, red and green again; yield progress, and ("trouble", …) where they do not show what is claimed."""
    claimed = case.claimed
    case.environment = await _prepare(case)
    reports: dict[str, CheckReport] = {}
    steps: dict[str, tuple[CommitId, Seal | None]] = {"base": (claimed.base, None), "green": (case.commit, None)}
    if claimed.test_files:
        tests = await _tests_on_base(case)
        seal = Seal(tests=tests, files=claimed.test_files)
        red, green = replace(seal, controls=True), replace(seal, twins=True)
        steps = {"base": (claimed.base, None), "red": (tests, red), "green": (case.commit, green)}
    for what, (commit, seal) in steps.items():
        yield "progress", {"stage": what, "message": f"running the tests on {commit[:10]} ({what})"}
        reports[what] = report = await _check(case, what, commit, seal)
        case.checks.append(_line(what, report))
        yield "progress", case.checks[-1]
    if (why := _judge(case, reports)) is not None:
        yield "trouble", {"reason": why}


def _judge(case: _Case, reports: dict[str, CheckReport]) -> str | None:
    claimed, base, head = case.claimed, reports["base"], reports["green"]
    if not claimed.test_files:
        broken = proof.regressions(base, head)
        if broken:
            return "it breaks " + ", ".join(broken[:5])
        empty = CheckReport(verdict="not run", reason="documentation only")
        return _same_digest(claimed, base, empty, head)
    red = proof.red(base, reports["red"], claimed.test_files)
    if not red.holds:
        return f"not red on the base: {red.reason}"
    green = proof.green(base, head, red.failing, claimed.test_files, controls=reports["red"].controls)
    if not green.holds:
        return f"not green: {green.reason}"
    new = max(len(set(proof.outcomes(head)) - set(proof.outcomes(base))), len(red.failing))
    if new != claimed.new_tests:
        return f"it claims {claimed.new_tests} new tests, and {new} were found"
    if claimed.judge == JUDGE and _held(claimed) != _held(head):
        return f"it claims {_told(claimed)}, and found were {_told(head)}"
    return _same_digest(claimed, base, reports["red"], head)


def _held(told: proof.Proof | CheckReport) -> tuple[object, ...]:
    """Return what must be the same when it is repeated; how many twins ended where a limit ended them need not be."""
    return told.controls, told.twins + told.untwinned, told.cut or told.twins


def _told(told: proof.Proof | CheckReport) -> str:
    cut = ", cut off" if told.cut else ""
    return f"{told.controls or 'no'} controls and twins of {told.twins} of {told.twins + told.untwinned} tests{cut}"


def _same_digest(claimed: proof.Proof, *reports: CheckReport) -> str | None:
    again = proof.digest(*reports)
    if again == claimed.digest:
        return None
    return f"the reports are not those of the proof ({again[:12]} instead of {claimed.digest[:12]})"


async def _tests_on_base(case: _Case) -> CommitId:
    """Put the tester's files, as they are in the commit, over the base."""
    edits: list[Edit] = []
    for path in case.claimed.test_files:
        text = await case.repo.read(case.commit, path, limit_bytes=_SOURCE_BYTES)
        if text is None:
            raise TandemError(f"the test file {path} is missing, too large or not text")
        edits.append(Edit(path=path, content=text))
    return await case.repo.commit(
        parent=case.claimed.base, edits=edits, persona="tester", message="Tests on the base, for verification", at_s=0
    )


async def _prepare(case: _Case) -> str:
    request = PrepareRequest(
        request_id=RequestId(f"{case.run}/prepare"),
        run_id=case.run,
        repo_id=case.repo.repo_id,
        commit=case.claimed.base,
        adapter=case.claimed.adapter,
        folder=case.claimed.folder,
        allow_network=case.allowed.network or case.ports.settings.prepare_network == "allow",
        wall_s=case.ports.settings.prepare_s,
    )
    environment = await case.ports.checks.prepare(request, lambda stage, message: None)
    if not environment.ready:
        names = ", ".join(environment.files)
        raise Refused(f"the tests need packages named in {names}; allow installing them with `tandem verify --prepare`")
    return environment.key


async def _check(case: _Case, what: str, commit: CommitId, seal: Seal | None) -> CheckReport:
    request = CheckRequest(
        request_id=RequestId(f"{case.run}/{what}"),
        run_id=case.run,
        repo_id=case.repo.repo_id,
        commit=commit,
        command=case.claimed.command,
        adapter=case.claimed.adapter,
        environment=case.environment,
        folder=case.claimed.folder,
        limits=case.ports.settings.limits,
        unsandboxed=case.allowed.unsandboxed,
        seal=seal,
    )
    return await case.ports.checks.check(request, lambda stage, message: None)


def _line(what: str, report: CheckReport) -> dict[str, Json]:
    return {
        "stage": what,
        "verdict": report.verdict,
        "passed": sum(t.outcome == "passed" for t in report.tests),
        "failed": sum(t.outcome in ("failed", "error") for t in report.tests),
        "reason": report.reason,
        "sandbox": report.sandbox,
        "controls": report.controls,
        "twins": report.twins,
    }
