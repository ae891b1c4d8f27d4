"""Events that replay passes through again are told once."""

from __future__ import annotations

from router.feed import Feed
from tandem.types import RunId


def test_a_tool_s_use_is_told_once_and_two_alike_are_both_told() -> None:
    feed = Feed(RunId("r"))
    for _ in range(2):  # the run, and its replay after a decision
        for number in (1, 2):
            feed.emit("call.tool", {"step": "code.1", "number": number, "about": "read_file a.py", "said": "ok"})
    assert [event.data["number"] for event in feed._ring] == [1, 2]
