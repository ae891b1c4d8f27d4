"""The results of a pack for people: a line, a report, a page, a picture. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.plot import Panel, Point, svg
from bench.tasks.results import Ran, Result
from bench.tasks.totals import JUDGED, title
from cli.render.loose import mapping, objects
from cli.render.table import table
from cli.render.text import duration, one_line

_MARKDOWN_WIDTH = 110
_SHOWN = 20  # of what did not go as it must
_Json = Mapping[str, Any]


def words(result: Result) -> str:
    """Return a result in a line."""
    return one_line(_words(result, result.ran))


def _words(result: Result, ran: Ran) -> str:
    how = f"{ran.state} after {ran.rounds} {'round' if ran.rounds == 1 else 'rounds'}, {ran.seconds:.1f} s"
    if result.trick:
        twin = f"; twin {result.twin.state}" if result.twin else "; no twin"
        return f"{title(result)}: {'MISSED' if ran.merged else 'caught'} ({ran.state}){twin}, {ran.seconds:.1f} s"
    solved = "" if ran.solved is None else ", solved" if ran.solved else ", not solved"
    return f"{result.name}: {how}{solved}"


def lines(data: _Json, width: int) -> list[str]:
    """Return the report as lines at most `width` cells wide."""
    return [
        *_summary(data),
        *_section("by language", _language_table(data, width)),
        *_section("by trick", _trick_table(data, width)),
        *_section("not as it must be", _trouble_lines(data)),
        *_section("not run", _not_run_lines(data)),
    ]


def markdown(data: _Json) -> str:
    """Return the report as a page, with every exercise in it."""
    body = lines(data, _MARKDOWN_WIDTH)
    rows = [_row(one) for one in objects(data["results"])]
    head = ("exercise", "state", "check", "rounds", "seconds", "tokens", "commit", "reason")
    every = [_cells(head), _cells(["---"] * len(head)), *(_cells(row) for row in rows)]
    return "\n".join([f"# {data['pack']}, {data['coder']}", "", "```", *body, "```", "", *every, ""])


def _summary(data: _Json) -> list[str]:
    noun = "exercise" if data["exercises"] == 1 else "exercises"
    head = f"{data['pack']}, {data['coder']}: {data['exercises']} {noun} in {duration(data['seconds'])}"
    head += f" ({data['start_s']:.1f} s of it to get ready)"
    if data["interrupted"]:
        head += f"; interrupted, {data['left']} not begun"
    told = [f"accepted {data['accepted']}", f"merged {data['merged']}", f"rounds {data['rounds']['sum']}"]
    if data["coder"] not in JUDGED:
        told.append(f"false alarms {data['false_alarms']}")
    told += [f"{key} {data[key]}" for key in ("verified", "caught", "missed") if key in data]
    if "not_catchable" in data:
        told.append(f"of those no test can catch, merged {data['not_catchable']['merged']}")
    told += [f"a person asked by {kind} {count}" for kind, count in mapping(data["asked"]).items()]
    if "solved" in data:
        told.append(f"solved {data['solved']}")
    return [head, ", ".join(told)]


def _section(title: str, body: Sequence[str]) -> list[str]:
    return ["", title, *body] if body else []


def _language_table(data: _Json, width: int) -> list[str]:
    told = mapping(data.get("by_language"))
    if not told:
        return []
    head = ("language", "pass@1", "in the first round", "rounds", "seconds", "tokens in", "tokens out")
    keys = ("pass_at_1", "first_round", "rounds_mean", "seconds_median", "prompt_tokens_median")
    rows = [
        [name, *(f"{of[key]:.4g}" for key in keys), f"{of['completion_tokens_median']:.4g}"]
        for name, of in told.items()
    ]
    return table(head, rows, width=width, grow=0)


def _trick_table(data: _Json, width: int) -> list[str]:
    told = mapping(data.get("by_trick"))
    if not told:
        return []
    rows = [
        [
            of["group"],
            name,
            f"{of['caught']} of {of['caught'] + of['missed']}" + ("" if of["catchable"] else " (cannot be)"),
            f"{of['twins_merged']} of {of['twins']}",
            of["reason"],
        ]
        for name, of in told.items()
    ]
    return table(("group", "trick", "caught", "twins merged", "reason"), rows, width=width, grow=4)


def _trouble_lines(data: _Json) -> list[str]:
    troubles = objects(data["troubles"])
    shown = [one_line(f"  {one['name']}: {one['what']}. {one['reason']}".rstrip()) for one in troubles[:_SHOWN]]
    more = len(troubles) - len(shown)
    return [*shown, *([f"  and {more} more"] if more else [])]


def _not_run_lines(data: _Json) -> list[str]:
    reasons = Counter((str(one["language"]), str(one["reason"])) for one in objects(data["not_run"]))
    return [one_line(f"  {count} of {language}: {reason}") for (language, reason), count in reasons.items()]


def _row(one: _Json) -> list[str]:
    tokens = one["prompt_tokens"] + one["completion_tokens"]
    solved = one["verdict"] if one["solved"] is None else "solved" if one["solved"] else "not solved"
    name = f"{one['name']} {one['trick']}".strip()
    seconds = f"{one['seconds']:.1f}"
    return [name, one["state"], solved, f"{one['rounds']}", seconds, f"{tokens}", one["commit"][:10], one["reason"]]


def _cells(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def plot(data: _Json) -> str:
    """Return the results as an SVG picture: one panel a figure, a line a language, exercise after exercise."""
    results = objects(data["results"])
    panels = [
        Panel(title="seconds", unit="s", series=_series(results, lambda one: one["seconds"])),
        Panel(title="rounds", unit="", series=_series(results, lambda one: one["rounds"])),
        Panel(title=_success(data), unit="share so far", series=_shares(results, data["coder"])),
    ]
    if data["coder"] in JUDGED:
        panels += [
            Panel(title="tokens in", unit="", series=_series(results, lambda one: one["prompt_tokens"])),
            Panel(title="tokens out", unit="", series=_series(results, lambda one: one["completion_tokens"])),
        ]
    return svg(f"{data['pack']}, {data['coder']}", panels, x_label="exercises")


def _success(data: _Json) -> str:
    return "solved" if data["coder"] in JUDGED else "caught" if data["coder"] == "cheater" else "accepted"


def _good(one: _Json, coder: str) -> bool:
    if coder in JUDGED:
        return one["solved"] is True
    return (one["state"] == "merged") != (coder == "cheater")


def _series(results: Sequence[_Json], value: Callable[[_Json], float]) -> dict[str, list[Point]]:
    series: dict[str, list[Point]] = {}
    for one in results:
        line = series.setdefault(one["language"], [])
        line.append((len(line) + 1.0, float(value(one))))
    return series


def _shares(results: Sequence[_Json], coder: str) -> dict[str, list[Point]]:
    shares: dict[str, list[Point]] = {}
    for name, line in _series(results, lambda one: _good(one, coder)).items():
        good = 0.0
        shares[name] = [(at, (good := good + value) / at) for at, value in line]
    return shares
