"""Read tags in a process of its own: a line of JSON in, (path, text); a line of JSON out, the tags.

Grammars are native code, and a file made for the purpose can make one loop, eat memory or crash. So they run here, under
limits, and never in the router. This process ends with its input.
"""

from __future__ import annotations

import json
import resource
import sys

from agents.repomap import tags

_MEMORY_BYTES = 2 << 30  # honest files stay under 100 MB
_CPU_S = 900


def main() -> None:
    """Say that it can begin, then answer until the input ends."""
    for what, most in ((resource.RLIMIT_AS, _MEMORY_BYTES), (resource.RLIMIT_CPU, _CPU_S), (resource.RLIMIT_CORE, 0)):
        _limit(what, most)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin.buffer:
        path, text = json.loads(line)
        sys.stdout.write(tags.encode(tags.read(path, text)) + "\n")
        sys.stdout.flush()


def _limit(what: int, most: int) -> None:
    try:
        resource.setrlimit(what, (most, resource.getrlimit(what)[1]))
    except (ValueError, OSError):  # macOS knows no limit on address space; the parent's deadline holds there
        return
