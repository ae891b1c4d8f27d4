"""Loops that must end, and honest work that must not be disturbed."""

# ruff: noqa: E501 (the corpus is data, and a line of it is a case)
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agents.stuck import Turn, Watch
from tandem.types import Json, ToolCall

REPEATS_MAX = 3
_PADDING = 40  # turns of a loop that are played at most


@dataclass(frozen=True, slots=True)
class Loop:
    """What was done before, one round of the loop (`{n}` in texts counts rounds), and its name."""

    name: str
    before: tuple[Turn, ...]
    rounds: tuple[tuple[Turn, ...], ...]


def _turn(name: str, said: str, *, failed: bool = False, tree: str = "0", **arguments: Json) -> Turn:
    return Turn(calls=(ToolCall(id="1", name=name, arguments=arguments),), results=(said,), failed=(failed,), tree=tree)


def _look(path: str, start: int = 1, tree: str = "0") -> Turn:
    return _turn(
        "read_file",
        f"{path}, lines {start}-{start + 99}\ntext of {path} from {start}",
        tree=tree,
        path=path,
        start=start,
    )


def _change(path: str, old: str, tree: str) -> Turn:
    return _turn("replace_in_file", f"{path}: replaced line {len(old)}", tree=tree, path=path, old=old, new=old + "!")


def _tests(said: str, tree: str) -> Turn:
    return _turn("run_tests", said, tree=tree)


_LEADS: tuple[tuple[Turn, ...], ...] = (
    (),
    (_look("a.py"), _turn("search", "a.py:3: def f", pattern="def f")),
    (_look("a.py"), _look("b.py"), _change("a.py", "x", "1"), _tests("1 failed: AssertionError in test_a", "1")),
    (_turn("list_files", "a.py\nb.py"), Turn(text="Let me think.", tree="0"), _look("a.py")),
    tuple(_look("long.py", start) for start in range(1, 600, 100)),
)


def _shapes(number: int) -> Iterator[tuple[str, tuple[tuple[Turn, ...], ...]]]:
    """Yield the kinds of loop, with small differences by `number`."""
    many = range(_PADDING)
    path, other = f"src/m{number}.py", f"src/n{number}.py"
    yield "the same look", tuple((_turn("read_file", "text", path=path),) for _ in many)
    yield "the same search in vain", tuple((_turn("search", "Nothing found.", pattern=f"q{number}"),) for _ in many)
    yield "two looks in turn", tuple((_look(path), _look(other)) for _ in many)
    yield "three steps in turn", tuple((_look(path), _look(other), _turn("list_files", "a\nb")) for _ in many)
    yield (
        "the same edit refused",
        tuple(
            (_turn("replace_in_file", "Refused: old is not in it", failed=True, path=path, old="y", new="z"),)
            for _ in many
        ),
    )
    yield (
        "an edit refused in other words",
        tuple(
            (_turn("replace_in_file", f"Refused: no ({n})", failed=True, path=path, old="y" * (n + 1), new="z"),)
            for n in many
        ),
    )
    yield (
        "done and undone",
        tuple(
            (_change(path, "a", f"t{number}"), _turn("replace_in_file", "back", tree="0", path=path, old="a!", new="a"))
            for _ in many
        ),
    )
    yield (
        "changes that change no test",
        tuple(
            (_change(path, f"line {n}", f"t{n}"), _tests(f"1 failed in 0.{n} s: expected 3, got 4", f"t{n}"))
            for n in many
        ),
    )
    yield "nothing said", tuple((Turn(tree="0"),) for _ in many)
    yield "words alone", tuple((Turn(text=f"I will now change it ({n}).", tree="0"),) for n in many)


def loops() -> list[Loop]:
    """Return the fifty: ten shapes after five beginnings."""
    return [
        Loop(f"{name} / {number}", lead, rounds)
        for number, lead in enumerate(_LEADS)
        for name, rounds in _shapes(number)
    ]


def honest() -> Iterator[tuple[str, list[Turn]]]:
    """Yield fifty transcripts of work that goes on: it looks at new things, changes, tests, fails otherwise, and ends."""
    for number in range(10):
        files = [f"pkg/f{number}_{i}.py" for i in range(4 + number)]
        yield f"looks around {number}", [_look(path) for path in files] + [_turn("search", f"{n} hits", pattern=f"p{n}") for n in range(3)]  # fmt: skip
        yield f"pages through {number}", [_look("big.py", start) for start in range(1, 200 + 150 * number, 100)]
        yield (
            f"mends one by one {number}",
            [
                turn
                for n in range(2 + number)
                for turn in (
                    _change("a.py", f"v{n}", f"t{n}"),
                    _tests(f"{'x' * n} failed: test_{'abcdefghijklm'[n]}", f"t{n}"),
                )
            ],
        )
        yield (
            f"two tries fail {number}",
            [
                _look("a.py"),
                _turn("replace_in_file", "Refused: not in it", failed=True, path="a.py", old="one", new="x"),
                _turn("replace_in_file", "Refused: not in it", failed=True, path="a.py", old="uno", new="x"),
                _look("a.py", 1 + number),
                _change("a.py", "eins", "t1"),
                _tests("all pass", "t1"),
            ],
        )
        yield (
            f"looks again after changes {number}",
            [
                turn
                for n in range(3 + number % 4)
                for turn in (
                    _turn("read_file", f"text version {'v' * (n + 1)}", tree=f"t{n}", path="a.py"),
                    _change("a.py", f"w{n}", f"t{n + 1}"),
                )
            ],
        )


def play_loops() -> dict[str, Any]:
    """Return how many loops were ended, after how many repeats at most, and what they were called."""
    worst, late, names = 0, list[str](), dict[str, int]()
    for loop in loops():
        repeats, failure = _repeats(loop)
        worst = max(worst, repeats)
        names[failure] = names.get(failure, 0) + 1
        if repeats > REPEATS_MAX:
            late.append(loop.name)
    return {
        "cases": len(loops()),
        "ended_in_time": len(loops()) - len(late),
        "repeats_max": worst,
        "late": late,
        "names": names,
    }


def _repeats(loop: Loop) -> tuple[int, str]:
    """Return how often the first round was repeated before the end, in whole or in part, and the failure's name."""
    watch = Watch()
    for turn in loop.before:
        watch.look(turn)
    for number, turns in enumerate(loop.rounds):
        for turn in turns:
            judged = watch.look(turn)
            if judged.action == "end":
                return number, judged.failure
    return _PADDING, "not ended"


def play_honest() -> dict[str, Any]:
    """Return how many honest transcripts were nudged or ended."""
    nudged, ended = list[str](), list[str]()
    cases = list(honest())
    for name, turns in cases:
        actions = _actions(turns)
        nudged += [name] if "nudge" in actions else []
        ended += [name] if "end" in actions else []
    return {"cases": len(cases), "false_alarms": len(set(nudged + ended)), "nudged": nudged, "ended": ended}


def _actions(turns: Sequence[Turn]) -> set[str]:
    watch = Watch()
    return {watch.look(turn).action for turn in turns}
