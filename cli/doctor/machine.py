"""The machine itself: its Python and git, how many files a program may open, whether it falls asleep under a worker."""

from __future__ import annotations

import re
import resource
import sys
from collections.abc import Iterator

from cli.doctor.finding import Finding, ill, well
from cli.doctor.look import Look
from cli.doctor.programs import words_of
from cli.service import here
from cli.service.manager import Place, is_installed

GIT_MIN = (2, 38)  # the first with `merge-tree --write-tree`
PYTHON = ((3, 11), (3, 14))  # from, before
FILES_MIN = 256  # what macOS gives a program; router and worker had up to 29 open each during a run (Linux)
_GIT_REMEDY = "macOS: `xcode-select --install` or `brew install git`; Debian, Ubuntu: `sudo apt install git`"


def findings(look: Look) -> Iterator[Finding]:
    """Yield what is seen of this machine."""
    yield python()
    yield git()
    yield files_limit()
    yield from sleep(look)


def python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Finding:
    """Check an interpreter's version, by default this one's."""
    text = ".".join(map(str, version))
    if PYTHON[0] <= version[:2] < PYTHON[1]:
        return well("python", text)
    return ill("python", "python-version", text, "install Python 3.11, 3.12 or 3.13")


def git() -> Finding:
    """Check that git is there and new enough."""
    said = words_of(["git", "--version"])
    if said is None:
        return ill("git", "git-missing", "not found", _GIT_REMEDY)
    version = re.search(r"(\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < GIT_MIN:
        wanted = ".".join(map(str, GIT_MIN))
        return ill("git", "git-old", f"{said.strip()}; {wanted} is needed", _GIT_REMEDY)
    return well("git", said.strip())


def files_limit() -> Finding:
    """Check how many files a program started from here may open."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed == resource.RLIM_INFINITY:
        return well("open files", "no limit")
    if allowed < FILES_MIN:
        remedy = f"`ulimit -n {FILES_MIN * 4}` in the shell that starts Tandem, or take the limit out of its profile"
        return ill("open files", "files-limit", f"at most {allowed}; {FILES_MIN} are wanted", remedy)
    return well("open files", f"at most {allowed}")


def sleep(look: Look) -> Iterator[Finding]:
    """Check that a Mac that works for others does not fall asleep; elsewhere there is nothing to say.

    While runs are at work, their router keeps its own machine awake, unless `router.keep_awake` says no. A Mac with an
    installed worker and no router is taken for one that works for others.
    """
    if sys.platform != "darwin" or look.config is None:
        return
    said = words_of(["pmset", "-g"])
    place = Place(system="macos")
    serves = is_installed(here.service("worker"), place) and not is_installed(here.service("router"), place)
    if said is not None:
        yield sleep_of(said, kept_awake=look.config.router.keep_awake and not serves)


def sleep_of(pmset: str, *, kept_awake: bool) -> Finding:
    """Decide by what `pmset -g` printed: after how many minutes the machine sleeps, and whether a router minds that."""
    found = re.search(r"(?m)^\s*sleep\s+(\d+)", pmset)
    minutes = int(found[1]) if found else 0
    if minutes == 0:
        return well("sleep", "this Mac does not fall asleep by itself")
    text = f"this Mac falls asleep after {minutes} min"
    if kept_awake:
        return well("sleep", f"{text}; it is kept awake while runs are at work")
    return ill("sleep", "sleep-enabled", f"{text}, also while it works", "`sudo pmset -c sleep 0` on this Mac")
