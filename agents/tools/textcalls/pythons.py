"""Calls written as Python."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from agents.tools.fitting import knows
from agents.tools.textcalls.attempt import TEXT_MAX, Attempt, parameters_of
from tandem.types import Tool

_CODE_MAX = TEXT_MAX // 8  # characters that are parsed


def read(code: str, start: int, end: int, tools: Sequence[Tool]) -> list[Attempt]:
    """Return calls written as Python, where every statement is one of a tool with plain values; else none."""
    try:
        return _calls(code, start, end, tools) if len(code) < _CODE_MAX else []
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):  # TypeError: a set of lists, say
        return []


def _calls(code: str, start: int, end: int, tools: Sequence[Tool]) -> list[Attempt]:
    found: list[Attempt] = []
    for statement in ast.parse(code.strip()).body:
        call = statement.value if isinstance(statement, ast.Expr) else None
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "print" and len(call.args) == 1:
            call = call.args[0]
        if not isinstance(call, ast.Call) or not knows(name := ast.unparse(call.func), tools):
            return []
        given = dict(zip(parameters_of(name, tools), [ast.literal_eval(arg) for arg in call.args], strict=False))
        given |= {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
        found.append(
            Attempt(name=name, arguments=given, repairs=("a call written as Python was read",), start=start, end=end)
        )
    return found
