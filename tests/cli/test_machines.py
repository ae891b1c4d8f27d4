"""What is said of paired machines, at wide terminals and narrow ones."""

from __future__ import annotations

from typing import Any

import pytest

from cli.render.machines import route_lines
from cli.render.text import cell_width

WHY = "10.88.2.2:7432 does not answer within 2 s; is the machine on, and the cable in?"
ROUTES: list[dict[str, Any]] = [
    {
        "address": "10.88.1.2:7432", "network": "Thunderbolt", "rtt_s": 0.0003, "bytes_s": 9e8, "seen_ago_s": 2.0,
        "used": True, "allowed": True, "trouble": None,
    },
    {
        "address": "10.88.2.2:7432", "network": "Ethernet", "rtt_s": None, "bytes_s": None, "seen_ago_s": 3.0,
        "used": False, "allowed": True, "trouble": WHY,
    },
]  # fmt: skip


def test_why_an_address_does_not_answer_stands_whole_under_it() -> None:
    assert route_lines(ROUTES, 110) == [
        "   address         network      round trip  carries         looked at",
        "→  10.88.1.2:7432  Thunderbolt  0.3 ms      900 MB/s        2.0 s ago",
        "   10.88.2.2:7432  Ethernet                 cannot be used  3.0 s ago",
        f"    {WHY}",
    ]


def test_at_a_narrow_terminal_each_address_has_a_paragraph() -> None:
    assert route_lines(ROUTES, 56) == [
        "→ 10.88.1.2:7432",
        "    Thunderbolt, round trip 0.3 ms, carries 900 MB/s,",
        "    looked at 2.0 s ago",
        "  10.88.2.2:7432",
        "    Ethernet, cannot be used, looked at 3.0 s ago",
        "    10.88.2.2:7432 does not answer within 2 s; is the",
        "    machine on, and the cable in?",
    ]


@pytest.mark.parametrize("width", range(24, 140, 7))
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(width: int) -> None:
    lines = route_lines(ROUTES, width)
    assert max(map(cell_width, lines)) <= width
    assert "".join(WHY.split()) in "".join("".join(lines).split())
    assert route_lines([], width) == []
