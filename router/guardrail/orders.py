"""Find orders to destroy, to leak, or to switch the guard off, in English, Korean and Chinese. Pure.

Words alone say little ("delete the user record", "drop the column", "a force-push guard"): a rule needs an order, and
an object that lies outside the repository or cannot be brought back. What a program is told to do, to prevent or to
test is not an order. These are first rules for plain words; a hidden meaning gets past them, and meets the sandbox.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

from router.guardrail import orders_asia, orders_en
from router.guardrail.findings import Finding
from router.guardrail.order_rules import OrderRule

_INVISIBLE: dict[int, int | None] = dict.fromkeys((0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0x00AD))
_BEFORE = 90  # characters before a match that may say it is only talked about
_BEHIND = 16
Talked = Callable[[str, str], bool]


def orders(text: str) -> list[Finding]:
    """Find orders no task should carry, or no task should carry unasked."""
    plain = unicodedata.normalize("NFKC", text).translate(_INVISIBLE)
    return [
        *_found(plain, orders_en.WORDS, _talk_in_english),
        *_found(plain, orders_en.COMMANDS, _never),
        *_found(plain, (*orders_asia.KOREAN, *orders_asia.CHINESE), _talk_in_asia),
    ]


def _found(text: str, rules: Iterable[OrderRule], talked: Talked) -> list[Finding]:
    found: list[Finding] = []
    for rule in rules:
        match = next((m for m in rule.pattern.finditer(text) if not talked(*_around(text, m))), None)
        if match is not None:
            line = text.count("\n", 0, match.end()) + 1
            found.append(Finding(rule=rule.name, verdict=rule.verdict, reason=f"line {line} {rule.told}"))
    return found


def _around(text: str, match: re.Match[str]) -> tuple[str, str]:
    return text[max(0, match.start() - _BEFORE) : match.start()], text[match.end() : match.end() + _BEHIND]


def _talk_in_english(before: str, behind: str) -> bool:
    return bool(orders_en.TALK_BEFORE.search(before))


def _talk_in_asia(before: str, behind: str) -> bool:
    return bool(orders_asia.TALK_BEHIND.search(behind) or orders_asia.TALK_BEFORE.search(before))


def _never(before: str, behind: str) -> bool:
    return False
