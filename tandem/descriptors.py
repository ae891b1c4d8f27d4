"""How many files and connections a program may have open: as many as it needs, where the system leaves that to it.

macOS gives a program 256 and most Linux shells 1024, which whoever reaches a listening port could use up.
"""

from __future__ import annotations

import resource

WANTED = 4096  # a worker on sixteen addresses takes at most two thousand connections


def allow_many(wanted: int = WANTED) -> int:
    """Raise this process's own limit to `wanted`, or as near as the system lets it; returns the limit there is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if most > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
