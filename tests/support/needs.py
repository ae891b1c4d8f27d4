"""What tests need beyond Python and Git: root, namespaces, tools. Counted and printed, so that nothing is left out unseen.

Where a need is not met, a test fails for root on Linux, who may have everything, and is skipped for others. `SYSTEM=no`
says that this machine is not to be changed; then root's tests are skipped, too.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import mlx_servers

_NEEDS = "needs"  # a property of a test, which travels with its reports


def require(name: str, missing: str, *, may_be_had: bool = True) -> None:
    """Say what the running test needs, and end it with the reason where that is `missing`: a failure or a skip.

    What root cannot have either, such as a network that is not there, is no failure.
    """
    if _running:
        names: list[str] = dict(_running[-1].user_properties).get(_NEEDS) or []
        if not names:
            _running[-1].user_properties.append((_NEEDS, names))
        if name not in names:
            names.append(name)
    if missing:
        (pytest.fail if may_be_had and _may_have_all() else pytest.skip)(missing)


def _may_have_all() -> bool:
    return sys.platform == "linux" and os.geteuid() == 0 and os.environ.get("SYSTEM") != "no"


def root() -> str:
    """Return what is missing where this is not root on Linux."""
    return "" if sys.platform == "linux" and os.geteuid() == 0 else "needs root on Linux"


def namespaces() -> str:
    """Return what is missing for network namespaces."""
    return root() or tool("ip", "iproute2")


def taps() -> str:
    """Return what is missing for TAP devices, the ends of a cable that a process of ours is."""
    return root() or ("" if Path("/dev/net/tun").exists() else "/dev/net/tun is missing; `modprobe tun` makes it")


def tool(name: str, package: str) -> str:
    """Return what is missing for a tool."""
    return "" if shutil.which(name) else f"{name} is missing; install {package}"


def library(name: str, remedy: str) -> str:
    """Return what is missing for a library."""
    return "" if importlib.util.find_spec(name) else f"{name} is not installed ({remedy})"


# By the names that `@pytest.mark.needs` takes.
_KNOWN: Mapping[str, Callable[[], str]] = {
    "root": root,
    "network namespaces": namespaces,
    "TAP devices": taps,
    "strace": lambda: tool("strace", "strace"),
    "lsof": lambda: tool("lsof", "lsof"),
    "systemd-analyze": lambda: tool("systemd-analyze", "systemd"),
    "unshare": lambda: tool("unshare", "util-linux") if sys.platform == "linux" else "namespaces are Linux's",
    "node": lambda: tool("node", "nodejs"),
    "npm": lambda: tool("npm", "npm"),
    "go": lambda: tool("go", "golang-go"),
    "a C compiler": lambda: tool("cc", "gcc") if sys.platform == "linux" else "LD_PRELOAD is Linux's",
    "guardrails-ai": lambda: library("guardrails", "make setup"),
    "model servers": mlx_servers.missing,
}
_running: list[pytest.Item] = []


@dataclass(slots=True)
class _Sum:
    tests: int = 0
    skipped: int = 0
    failed: int = 0


_sums: defaultdict[str, _Sum] = defaultdict(_Sum)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "needs(name, ...): what a test needs beyond Python and Git")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a need nobody knows how to look for."""
    for item in items:
        for name in _named(item):
            if name not in _KNOWN:
                raise pytest.UsageError(f"{item.nodeid} needs {name!r}, which is not in tests/support/needs.py")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Remember which test runs."""
    _running.append(item)
    try:
        return (yield)
    finally:
        _running.pop()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look for what a test's marks name."""
    for name in _named(item):
        require(name, _KNOWN[name]())


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count a test for each of its needs."""
    for name in dict(report.user_properties).get(_NEEDS) or ():  # type: ignore[union-attr]
        found = _sums[str(name)]
        found.tests += report.when == "teardown"
        found.skipped += report.skipped
        found.failed += report.failed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was needed, and how often it was not there."""
    if not _sums:
        return
    terminalreporter.section("what tests needed beyond Python and Git")
    for name, found in sorted(_sums.items()):
        terminalreporter.line(f"{name:<28} {found.tests:>4} tests, {found.skipped} skipped, {found.failed} failed")


def _named(item: pytest.Item) -> list[str]:
    return [str(name) for mark in item.iter_markers("needs") for name in mark.args]
