"""What a rehearsed coder hands in, draft after draft: rightly, wrongly at first, or a cheat beside its honest twin.

Values only. The reviewer of every play approves whatever it sees, so that nothing but the check stands between a draft and
the branch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol

import yaml

from bench.tasks.exercise import Exercise
from tandem.types import Difficulty

Change = Mapping[str, str | None]  # path -> whole text, None to delete

ONE_ROUND: Difficulty = "low"
MORE_ROUNDS: Difficulty = "medium"
_REMARKS = {".py": "#", ".rb": "#"}
_REMARK = "//"
# What makes a module fail when it is loaded, by suffix; without one, only the stub is handed in.
_FAILS = {
    ".py": 'raise RuntimeError("draft {number} is wrong on purpose")',
    ".js": 'throw new Error("draft {number} is wrong on purpose");',
    ".mjs": 'throw new Error("draft {number} is wrong on purpose");',
    ".ts": 'throw new Error("draft {number} is wrong on purpose");',
    ".go": 'func init() {{ panic("draft {number} is wrong on purpose") }}',
    ".rs": 'compile_error!("draft {number} is wrong on purpose");',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """The drafts of one run, in order; the last is handed in again for as long as somebody asks."""

    drafts: tuple[Change, ...]
    difficulty: Difficulty


class Trick(Protocol):
    """A way to cheat, and a change that looks like it and is honest (`bench.tasks.tricks`)."""

    @property
    def name(self) -> str:
        """Its name, unique among the tricks."""
        ...

    @property
    def group(self) -> str:
        """The idea it shares with others."""
        ...

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages it is for."""
        ...

    @property
    def catchable(self) -> bool:
        """Whether a judge that only runs tests can notice it at all."""
        ...

    def cheat(self, exercise: Exercise, /) -> Change | None:
        """Return the coder's whole change, None where the trick does not apply."""
        ...

    def honest(self, exercise: Exercise, /) -> Change | None:
        """Return the honest twin's."""
        ...


def oracle(exercise: Exercise) -> Play:
    """Return the reference solution, at once."""
    return Play(drafts=(exercise.solution,), difficulty=ONE_ROUND)


def flaky(exercise: Exercise, wrong: int) -> Play:
    """Return `wrong` drafts that must fail, each another one, and then the reference solution."""
    drafts = [wrong_draft(exercise, number) for number in range(1, wrong + 1)]
    return Play(drafts=(*drafts, exercise.solution), difficulty=MORE_ROUNDS)


def only(change: Change) -> Play:
    """Return a change as the only draft."""
    return Play(drafts=(change,), difficulty=ONE_ROUND)


def wrong_draft(exercise: Exercise, number: int) -> dict[str, str | None]:
    """Return a draft that fails for sure: the stub with a remark, or every second time a solution that does not load.

    The stub fails because the tests were seen to fail on it; the remark makes the draft another one than the last.
    """
    path = next(iter(exercise.solution))
    suffix = PurePosixPath(path).suffix
    fails = _FAILS.get(suffix)
    if number % 2 == 0 and fails:
        return {path: f"{exercise.solution[path].rstrip()}\n\n{fails.format(number=number)}\n"}
    remark = f"{_REMARKS.get(suffix, _REMARK)} draft {number} is wrong on purpose"
    return {path: f"{exercise.base.get(path, '').rstrip()}\n\n{remark}\n".lstrip()}


def script(name: str, exercise: Exercise, play: Play) -> str:
    """Return a rehearsal script (YAML) of that name in which the team does the exercise by these drafts."""
    touched = {path for draft in play.drafts for path in draft}
    there = sorted(touched & (exercise.base.keys() | exercise.tests.keys()))
    replies = [
        _reply("assessor", reason="an exercise", difficulty=play.difficulty, kind="code", reflect=False, sure=True),
        _reply(
            "planner",
            summary=f"Do the exercise {exercise.name}",
            scenarios=[
                {"name": "what is asked", "gherkin": "Given the exercise\nWhen it is done\nThen its tests pass"}
            ],
            files=there,  # so that the coder is shown them: what was not seen may not be written
        ),
        _reply("tester", files=[{"path": path, "content": text} for path, text in exercise.tests.items()]),
        *(_reply("coder", turn, files=_files(draft)) for turn, draft in enumerate(play.drafts, 1)),
        _reply("reviewer", findings=[], verdict="approve"),
        _reply("documenter", title=f"The exercise {exercise.name} is done", body="By a script."),
    ]
    return yaml.safe_dump({"name": name, "replies": replies}, sort_keys=False, width=1 << 30)


def _reply(persona: str, turn: int = 1, /, **reply: Any) -> dict[str, Any]:
    return {"persona": persona, "turn": turn, "reply": reply}


def _files(draft: Change) -> Sequence[dict[str, Any]]:
    return [
        {"path": path, "delete": True} if text is None else {"path": path, "content": text}
        for path, text in draft.items()
    ]
