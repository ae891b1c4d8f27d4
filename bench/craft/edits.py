"""Near-miss edits: pieces of files copied the way models copy them, and the one text that is right, or a refusal."""

# ruff: noqa: E501 (the corpus is data, and a line of it is a case)
from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from agents.tools import edits, patches
from tandem.errors import BadReply

COUNT = 100
FILES = {
    "stats.py": 'import math\n\n\nclass Stats:\n    """Numbers about numbers."""\n\n    def mean(self, xs):\n        total = sum(xs)\n        return total / len(xs)\n\n    def spread(self, xs):\n        middle = self.mean(xs)\n        parts = [(x - middle) ** 2 for x in xs]\n        return math.sqrt(sum(parts) / len(xs))\n',
    "cart.js": "'use strict';\n\nfunction total(items) {\n  let sum = 0;\n  for (const item of items) {\n    sum += item.price * item.count;\n  }\n  return sum;\n}\n\nmodule.exports = { total };\n",
    "main.go": 'package main\n\nimport "fmt"\n\nfunc greet(name string) string {\n\tif name == "" {\n\t\treturn "hello"\n\t}\n\treturn fmt.Sprintf("hello, %s", name)\n}\n\nfunc main() {\n\tfmt.Println(greet("world"))\n}\n',
    "lib.rs": "pub fn clamp(x: i32, low: i32, high: i32) -> i32 {\n    if x < low {\n        low\n    } else if x > high {\n        high\n    } else {\n        x\n    }\n}\n",
    "deploy.yaml": "service:\n  name: web\n  ports:\n    - 80\n    - 443\n  env:\n    DEBUG: false\n    LEVEL: info\n",
}
# file, first line, last line (from 1), what they become
EDITS: tuple[tuple[str, int, int, str], ...] = (
    ("stats.py", 8, 9, "        if not xs:\n            raise ValueError(\"no values\")\n        return sum(xs) / len(xs)"),
    ("stats.py", 11, 14, "    def spread(self, xs):\n        middle = self.mean(xs)\n        return math.sqrt(sum((x - middle) ** 2 for x in xs) / len(xs))"),
    ("cart.js", 4, 8, "  return items.reduce((sum, item) => sum + item.price * item.count, 0);"),
    ("cart.js", 5, 7, "  for (const { price, count = 1 } of items) {\n    sum += price * count;\n  }"),
    ("main.go", 6, 8, '\tif name == "" {\n\t\tname = "you"\n\t}'),
    ("lib.rs", 2, 4, "    if low > high {\n        panic!(\"bounds\");\n    }\n    if x < low {\n        low\n    } else if x > high {"),
    ("deploy.yaml", 6, 8, "  env:\n    DEBUG: true\n    LEVEL: debug"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """An edit of `text`; `right` is what it must become, or None where it must be refused."""

    name: str
    text: str
    right: str | None
    old: str = ""
    new: str = ""
    patch: str = ""


def _plain(file: str, first: int, last: int, new: str) -> tuple[str, str, str, str]:
    lines = FILES[file].split("\n")
    old = "\n".join(lines[first - 1 : last])
    right = "\n".join([*lines[: first - 1], *new.split("\n"), *lines[last:]])
    return FILES[file], old, new, right


def _each(text: str, change: Callable[[str], str]) -> str:
    return "\n".join(change(line) if line.strip() else line for line in text.split("\n"))


def _dedented(old: str, new: str) -> tuple[str, str]:
    margin = min(len(line) - len(line.lstrip()) for line in old.split("\n") if line.strip())
    return _each(old, lambda line: line[margin:]), _each(new, lambda line: line[margin:])


Damage = Callable[[str, str], tuple[str, str]]
DAMAGES: dict[str, Damage] = {
    "exact": lambda old, new: (old, new),
    "dedented": _dedented,
    "indented": lambda old, new: (_each(old, lambda line: "    " + line), _each(new, lambda line: "    " + line)),
    "spaces at line ends": lambda old, new: (_each(old, lambda line: line + "  "), new),
    "blank lines around": lambda old, new: (f"\n\n{old}\n\n", f"\n\n{new}\n\n"),
    "a final line end": lambda old, new: (old + "\n", new + "\n"),
    "a fence": lambda old, new: (f"```\n{old}\n```", f"```\n{new}\n```"),
    "numbers with bars": lambda old, new: (_numbered(old, "{}| {}"), _numbered(new, "{}| {}")),
    "numbers with colons, old alone": lambda old, new: (_numbered(old, "{}: {}"), new),
    "written in one line": lambda old, new: (_escaped(old), _escaped(new)),
}


def _numbered(text: str, form: str) -> str:
    return "\n".join(form.format(number, line) for number, line in enumerate(text.split("\n"), 11))


def _escaped(text: str) -> str:
    return text.replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")


def applicable() -> Iterator[Case]:
    """Yield edits that have one right result."""
    for file, first, last, new in EDITS:
        text, old, new, right = _plain(file, first, last, new)
        for how, damage in DAMAGES.items():
            yield Case(f"{file}:{first} {how}", text, right, *damage(old, new))
    for file, first, last, new in EDITS[:4]:
        text, old, new, right = _plain(file, first, last, new)
        yield Case(f"{file}:{first} crlf", text.replace("\n", "\r\n"), right.replace("\n", "\r\n"), old, new)
        rows = list(difflib.unified_diff(text.splitlines(True), right.splitlines(True), f"a/{file}", f"b/{file}"))
        head, body = rows[:2], "".join(row if not row.startswith("@@") else "@@ -90,3 +90,9 @@\n" for row in rows[2:])
        yield Case(f"{file}:{first} patch, wrong numbers", text, right, patch="".join(head) + body)
        stars = f"*** Begin Patch\n*** Update File: {file}\n{body}*** End Patch\n"
        yield Case(f"{file}:{first} patch with stars", text, right, patch=stars)


def refused() -> Iterator[Case]:
    """Yield edits that must not be applied: gone, in two places, elided, or copied wrongly where it matters."""
    twice = "def a():\n    return 1\n\n\ndef b():\n    return 1\n"
    nested = "if x:\n    go()\nfor y in z:\n    if y:\n        go()\n"
    stats = FILES["stats.py"]
    yield Case("in two places", twice, None, "    return 1", "    return 2")
    yield Case("in two places, dedented", twice, None, "return 1", "return 2")
    yield Case("in two places, other depths", nested, None, "  go()", "  stop()")
    yield Case("not there", stats, None, "    def median(self, xs):\n        return sorted(xs)[0]", "pass")
    yield Case(
        "elided",
        stats,
        None,
        "class Stats:\n    ...\n    def spread(self, xs):",
        "class Stats:\n    def spread(self, ys):",
    )
    yield Case(
        "elided with words", stats, None, "class Stats:\n    # ... existing code ...\n    def spread(self, xs):", "x"
    )
    yield Case("nothing", stats, None, "", "x")
    yield Case("the same", stats, None, "import math", "import math")
    yield Case("another operator", stats, None, "        return total * len(xs)", "        return 0")
    yield Case("another name", stats, None, "        total = sum(ys)", "        total = 0")
    yield Case(
        "one line too many",
        stats,
        None,
        "        total = sum(xs)\n        print(total)\n        return total / len(xs)",
        "x",
    )
    yield Case("one line missing", stats, None, "    def mean(self, xs):\n        return total / len(xs)", "x")
    yield Case("lines in another order", stats, None, "        return total / len(xs)\n        total = sum(xs)", "x")
    yield Case("already done", stats.replace("total / len(xs)", "fmean(xs)"), None, "        return total / len(xs)", "        return fmean(xs)")  # fmt: skip
    slip = (
        "    def mean(self, xs):\n        total = sum(xs)\n        return totl / len(xs)\n\n    def spread(self, xs):"
    )
    yield Case("a slip in the line that changes", stats, None, slip, slip.replace("return totl / len(xs)", "return 0"))
    head = "--- a/{0}\n+++ b/{0}\n"
    yield Case(
        "patch: context is gone", stats, None, patch=head.format("stats.py") + "@@ -1,2 +1,2 @@\n import os\n-x\n+y\n"
    )
    yield Case("patch: in two places", twice, None, patch=head.format("a.py") + "@@ @@\n-    return 1\n+    return 2\n")
    yield Case("patch: no context", stats, None, patch=head.format("stats.py") + "@@ -3,0 +3,1 @@\n+x = 1\n")


def play() -> dict[str, Any]:
    """Return how many edits were applied rightly, wrongly, or refused."""
    cases = [*list(applicable())[: COUNT - len(list(refused()))], *refused()]
    applied, missed, wrong = 0, list[str](), list[str]()
    for case in cases:
        made = _made(case)
        if made is None:
            missed += [case.name] if case.right is not None else []
        elif made == case.right:
            applied += 1
        else:
            wrong.append(case.name)
    meant = sum(case.right is not None for case in cases)
    return {
        "cases": len(cases),
        "applicable": meant,
        "applied": applied,
        "applied_share": round(applied / meant, 4),
        "wrongly_applied": len(wrong),
        "refused_though_right": missed,
        "wrong": wrong,
    }


def _made(case: Case) -> str | None:
    try:
        if not case.patch:
            return edits.replace(case.text, case.old, case.new).text
        return patches.apply(case.patch, lambda _path: case.text).edits[0].content
    except BadReply:
        return None
