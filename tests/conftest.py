"""What holds for every test: nothing of the developer's own settings reaches it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import hypothesis
import pytest

import router as router  # sets the switches that LangGraph reads at import, whichever test imports it first

pytest_plugins = ["tests.faults.matrix", "tests.support.needs", "tests.support.town"]

for name in list(os.environ):
    ours = name.startswith("TANDEM_") and name != "TANDEM_SOAK"
    # a test run started by a Git hook inherits these, and every `git` in it would work on the hook's repository
    if ours or name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"):
        del os.environ[name]
os.environ["GIT_CONFIG_GLOBAL"] = os.devnull
os.environ["GIT_CONFIG_SYSTEM"] = os.devnull
# The router starts its worker in "/", where the .venv decides whose code that is: it has to be this checkout's.
os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])

# An example that waits for its turn on a busy machine is no failure; each test as a whole has its time limit.
hypothesis.settings.register_profile("tandem", deadline=None)
hypothesis.settings.load_profile("tandem")

# Tests that were started in the background inherit an ignored SIGINT, and the programs they press Ctrl-C in would, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Whole programs take longest. What is begun last should be short, or one of two test processes waits for the other.
ROOMS = ("faults", "e2e", "bench")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the rooms that start whole programs first; `--no-loadscope-reorder` keeps it so when tests run in parallel."""
    order = {name: place for place, name in enumerate(ROOMS)}
    items.sort(key=lambda item: order.get(item.path.relative_to(Path(__file__).parent).parts[0], len(ROOMS)))
