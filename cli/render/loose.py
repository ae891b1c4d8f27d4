"""Read fields of the router's JSON without trusting its shape: what is missing or of another kind reads as empty.

A newer router must not break an older terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast


def text(data: Mapping[str, Any], key: str) -> str:
    """Return a field as text, "" where it is missing or null."""
    value = data.get(key)
    return "" if value is None else str(value)


def number(data: Mapping[str, Any], key: str) -> float:
    """Return a field as a number, 0 where it is none."""
    value = data.get(key)
    return float(value) if isinstance(value, int | float) else 0.0


def whole(data: Mapping[str, Any], key: str) -> int:
    """Return a field as a whole number, 0 where it is none."""
    return int(number(data, key))


def mapping(value: Any) -> dict[str, Any]:
    """Return `value` if it is an object, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """Return `value` if it is a list, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list | tuple) else []


def objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects in a list."""
    return [mapping(item) for item in items(value) if isinstance(item, dict)]
