"""Tell a call from the mention of one, by the words and marks around it. Where it is in doubt, it is a mention."""

from __future__ import annotations

import re

_WORDS = re.compile(
    r"(?i)\b(for example|for instance|example|e\.g\.|such as|would (?:be|look|call|write|use)|could (?:call|write|use)|"
    r"should look|looks? like|the (?:format|syntax) (?:is|of)|instead of|do not|don't|(?:should|must|will) not|never|"
    r"previously|earlier|last time|already (?:called|made)|was called)\b|예를 들어|예시|형식은|例如|比如|示例|格式"
)
_ENDS = ("</tool_call>", "</function>", "</function_call>")


def inline(text: str, at: int) -> bool:
    """Return whether a place is inside `code` of its line, or on a line that is quoted with `>`."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line.count("`") % 2 == 1 or line.lstrip().startswith(">")


def announced_as_example(text: str, since: int, at: int) -> bool:
    """Return whether the words between `since` and `at` say that what follows is an example."""
    before = text[max(since, at - 160) : at].rstrip()
    return bool(_WORDS.search(re.split(r"\n\s*\n|(?<=[.!?])\s", before)[-1]))


def within_a_sentence(text: str, since: int, start: int, end: int) -> bool:
    """Return whether words stand on the line both before and behind what is between `start` and `end`."""
    line_end = text.find("\n", end)
    before = text[max(since, text.rfind("\n", 0, start) + 1) : start]
    behind = text[end : line_end if line_end >= 0 else len(text)].partition("<")[0]
    return bool(re.search(r"\w", before) and re.search(r"\w", behind))


def past(text: str, start: int, end: int) -> int:
    """Return where a mentioned call ends, so that its inside is not taken for one."""
    ends = [found for tag in _ENDS if (found := text.find(tag, end)) >= 0]
    return max(min(ends) + 3, end) if ends else max(end, start + 1)
