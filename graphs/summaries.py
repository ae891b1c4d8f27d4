"""One line about what a step came to, for the live view and for `tandem show`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def summarise(node: str, update: dict[str, Any]) -> str:
    """Return what the node's update says, in a line; empty where there is nothing to say."""
    outcome = update.get("outcome")
    if outcome and node not in ("merge", "answer"):
        return f"{outcome['state']}: {outcome.get('message', '')}".strip(": ")
    teller = _TELLERS.get(node)
    return teller(update) if teller else ""


def _assess(update: dict[str, Any]) -> str:
    found = update["assessment"]
    if not found["sure"]:
        return f"cannot decide: {found['reason']}"
    return f"{found['kind']}, {found['difficulty']}" + (", with reflection" if found["reflect"] else "")


def _plan(update: dict[str, Any]) -> str:
    plan = update["plan"]
    return f"{plan['summary']} ({_count(plan['scenarios'], 'scenario')}, {_count(plan['files'], 'file')})"


def _count(things: list[Any], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _prepare(update: dict[str, Any]) -> str:
    check: dict[str, Any] = update.get("check") or {}
    if update.get("needs"):
        return "to be installed: " + ", ".join(update["needs"])
    return "checked by " + " ".join(check["command"]) if check else ""


def _specify(update: dict[str, Any]) -> str:
    if update.get("stuck"):
        return update["stuck"]
    more = f" and {len(update['red']) - 3} more" if len(update["red"]) > 3 else ""
    return "red on the base: " + ", ".join(update["red"][:3]) + more


def _code(update: dict[str, Any]) -> str:
    if update.get("dispute"):
        return f"draft {update['round']} disputes a test"
    return update.get("stuck") or f"draft {update['round']}"


def _review(update: dict[str, Any]) -> str:
    said = _count(update.get("findings", []), "finding")
    return ("approved, " if update["approved_by_reviewer"] else "changes wanted, ") + said


def _check(update: dict[str, Any]) -> str:
    if update.get("unnoticed"):
        return f"put back unnoticed: {', '.join(update['unnoticed'])}"
    if not update["product"]:
        return update["findings"][-1]["why"].splitlines()[0]
    return f"proven: {update['product'][:10]}"


def _merge(update: dict[str, Any]) -> str:
    outcome = update.get("outcome")
    if not outcome:
        return "the branch has moved; proven there"
    return f"{outcome['state']}: {outcome['branch']} is at {str(outcome['commit'])[:10]}"


_TELLERS: dict[str, Callable[[dict[str, Any]], str]] = {
    "guard": lambda update: update["screening"]["verdict"],
    "assess": _assess,
    "ask_route": _assess,
    "plan": _plan,
    "prepare": _prepare,
    "specify": _specify,
    "code": _code,
    "review": _review,
    "check": _check,
    "merge": _merge,
    "document": lambda update: update["report"].get("title", "no report"),
    "answer": lambda update: update["report"]["title"],
}
