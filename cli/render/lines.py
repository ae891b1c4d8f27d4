"""Say what a step, a call, a check or a question is, in plain lines. Pure; every foreign word is made visible here.

The coloured view draws the same words: what is read in a log is what was seen at a terminal.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from cli.render.loose import items, mapping, objects, text, whole
from cli.render.text import clip, clip_left, duration, one_line, visible
from cli.render.view import REHEARSAL, Call, Check, Step, View

MARKS = {"running": "▸", "done": "✓", "failed": "✗", "note": "·", "warning": "!"}
HOLDS = {  # what a run at work may wait for
    "waiting-for-worker": "waiting for the worker",
    "paused-disk-full": "paused, a disk is full",
    "retrying": "trying again",
}
_FAILURES_SHOWN = 5
_FINDING_CELLS = 240
_OVER = {  # what the tests were run over, by the first word of a check's name
    "": "tests",
    "base": "tests on the base",
    "red": "new tests on the base",
    "try": "tests, tried by the coder",
    "draft": "tests on the draft",
    "head": "tests on the head",
    "rerun": "tests once more",
}


def step_line(step: Step, now_s: float) -> str:
    """Return a step's line: mark, title, time, what came of it."""
    mark = MARKS["running"] if step.seconds is None else MARKS["done"]
    spent = now_s - step.began_s if step.seconds is None else step.seconds
    name = one_line(step.name)
    title = one_line(step.title)
    shown = title if name.partition(".")[0] == title.replace(" ", "_") else f"{title} ({name})"
    round_ = name.partition(".")[2]
    head = f"{mark} {shown}" + (f" #{round_}" if round_ not in ("", "1") and shown == title else "")
    return f"{head}  {duration(spent)}" + (f"  {one_line(step.summary)}" if step.summary else "")


def call_line(call: Call, now_s: float) -> str:
    """Return who speaks: persona, model, node, tokens and their pace, time against what was expected."""
    who = [one_line(call.persona), one_line(call.model) + (f" on {one_line(call.node)}" if call.node else "")]
    if call.rehearsed:
        who.append(REHEARSAL)
    if call.turns > 1:
        who.append(f"{call.turns} turns")
    if call.tokens:
        who.append(f"{call.tokens} tokens")
    if call.tokens_s:
        who.append(f"{call.tokens_s:.0f} tokens/s")
    spent = duration(now_s - call.began_s if call.seconds is None else call.seconds)
    expected = f" of about {duration(call.expected_s)}" if call.expected_s and call.seconds is None else ""
    return " · ".join([*(part for part in who if part), spent + expected])


def tail_line(call: Call, cells: int) -> str:
    """Return the last words of a reply under way, in at most `cells`."""
    return clip_left(one_line(call.tail), cells)


def tool_line(call: Call) -> str:
    """Return the last tool a persona used, and whether it was refused."""
    return f"{MARKS['failed'] if call.used_failed else MARKS['note']} {one_line(call.used)}"


def check_line(check: Check, now_s: float) -> str:
    """Return what a check does or found, with counts."""
    what = _OVER.get(check.what.partition(".")[0].rstrip("0123456789"), f"tests, {one_line(check.what)}")
    if check.seconds is None:
        said = "" if check.command and check.command in check.progress else one_line(check.progress)
        parts = [what, one_line(check.command), said, duration(now_s - check.began_s)]
        return " · ".join(part for part in parts if part)
    found = f"{check.passed} passed, {check.failed} failed"
    if check.red_wanted and check.failed:
        found += " (red, as they must be)"
    elif check.verdict not in ("passed", "failed"):
        found = f"{one_line(check.verdict)}: {one_line(check.reason)}"
    where = f"sandbox {one_line(check.sandbox)}" if check.sandbox else ""
    return " · ".join(part for part in (what, found, where, duration(check.seconds)) if part)


def check_good(check: Check) -> bool:
    """Return whether a finished check came out as it should."""
    return check.failed > 0 if check.red_wanted else check.verdict == "passed"


def failure_lines(check: Check, cells: int) -> list[str]:
    """Return the failing tests of a check that should have passed."""
    if check.red_wanted or check.verdict == "passed":
        return []
    shown = [": ".join(filter(None, (one_line(i), _last_line(m)))) for i, m in check.failures[:_FAILURES_SHOWN]]
    more = len(check.failures) - _FAILURES_SHOWN
    return [clip(line, cells) for line in shown] + ([f"and {more} more"] if more > 0 else [])


def _last_line(message: str) -> str:
    """Return where a traceback comes to the point; "" where it was cut before it."""
    last = "".join(message.strip().splitlines()[-1:]).strip()
    return "" if last.startswith('File "') else one_line(last)


def event_lines(view: View, kind: str, data: Mapping[str, Any], cells: int) -> list[str]:
    """Return the plain lines for one event, after `view` took it in; tokens and progress have none."""
    now_s = float(data.get("at_s") or 0.0)
    step = next((s for s in reversed(view.steps) if s.name == data.get("step")), None)
    match kind:
        case "step.started" if step:
            return [step_line(step, now_s)]
        case "step.finished" if step:
            return [step_line(step, now_s)]
        case "call.tool" if step and step.calls:
            said = f": {one_line(text(data, 'said'))}" if data.get("failed") else ""
            return [clip(f"      {tool_line(step.calls[-1])}{said}", cells)]
        case "call.started" if step and step.calls and step.calls[-1].turns > 1:
            return []
        case "call.started" | "call.finished" if step and step.calls:
            return [f"    {call_line(step.calls[-1], now_s)}"]
        case "check.started" if step and step.checks:
            return [f"    {check_line(step.checks[-1], now_s)}"]
        case "check.finished" if step and step.checks:
            check = step.checks[-1]
            mark = MARKS["done"] if check_good(check) else MARKS["failed"]
            below = [f"        {line}" for line in failure_lines(check, cells - 8)]
            return [f"    {mark} {check_line(check, now_s)}", *below]
        case "note":
            return [note_line(*view.notes[-1])]
        case "hold":
            return [hold_line(*view.hold)]
        case "question" if view.question:
            return [f"? {one_line(str(view.question.get('text', '')))}"]
        case "answer":
            return [f"  answered: {one_line(str(data.get('choice')))} (by {one_line(str(data.get('by') or 'you'))})"]
        case "state":
            return [f"= {one_line(view.state)}" + (f": {visible(view.message)}" if view.message else "")]
        case _:
            return []


def progress_line(view: View, now_s: float) -> str:
    """Return one line for what is under way, or nothing where nothing is."""
    for step in reversed(view.running):
        if step.checks and step.checks[-1].seconds is None:
            return f"    … {check_line(step.checks[-1], now_s)}"
        if step.calls and step.calls[-1].seconds is None:
            return f"    … {call_line(step.calls[-1], now_s)}"
        return f"    … {step_line(step, now_s)}"
    return ""


def hold_line(what: str, why: str, since_s: float = 0.0) -> str:
    """Return what a run waits for, since when (wall time) where that is given, and why; or that it goes on."""
    if not what:
        return f"{MARKS['note']} it goes on"
    since = f", since {time.strftime('%m-%d %H:%M:%S', time.localtime(since_s))}" if since_s else ""
    return f"{MARKS['warning']} {hold_words(what)}{since}: {one_line(why)}"


def hold_words(what: str) -> str:
    """Return what a run waits for, in words; a kind this version does not know as it is."""
    return HOLDS.get(what, one_line(what))


def state_words(state: str, hold: str = "", before: int = 0) -> str:
    """Return a run's state as it is: what it waits for while it is at work, how many go first while it is queued."""
    if hold:
        return hold_words(hold)
    return f"{one_line(state)}, {before} before it" if before and state == "queued" else one_line(state)


def note_line(level: str, text: str) -> str:
    """Return a remark's line."""
    return f"{MARKS['warning' if level in ('warning', 'error') else 'note']} {one_line(text)}"


def proof_lines(question: Mapping[str, Any]) -> list[str]:
    """Return what was proven about the change under decision."""
    told = mapping(question.get("details"))
    if not told or question.get("kind") != "approve":
        return []
    where = f"base {text(told, 'base')[:10]} → {text(told, 'commit')[:10]}, for {text(told, 'branch')}"
    if told.get("override"):
        return [one_line(f"NOT PROVEN, and merged by your own word: {text(told, 'override')}  ({where})")]
    if not told.get("proven"):
        return [one_line(f"NOT PROVEN: no test stands for this change  ({where})")]
    command = " ".join(map(str, items(told.get("command")))) or text(told, "command")
    sandbox = f"sandbox {text(told, 'sandbox')}" if told.get("sandbox") else "WITHOUT A SANDBOX"
    red, green = whole(told, "red"), whole(told, "passed")
    return [
        one_line(f"proof: red {red} failing on the base → green {green} passing  ({where})"),
        f"       {one_line(command)} · {one_line(sandbox)}",
        *(f"       red: {one_line(str(test))}" for test in items(told.get("red_tests"))[:8]),
        *(f"       minor: {finding_line(finding)}" for finding in objects(told.get("findings"))),
    ]


def finding_line(finding: Mapping[str, Any]) -> str:
    """Return a reviewer's remark as one line; what a test printed below it is cut."""
    place = f"{finding.get('file')}:{finding.get('line')} " if finding.get("file") else ""
    words = f"{place}{finding.get('why', '')}" + (f" Fix: {finding['fix']}" if finding.get("fix") else "")
    return clip(one_line(words), _FINDING_CELLS)
