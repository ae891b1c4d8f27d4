"""What holds for every test: nothing of the developer's own settings reaches it."""

from __future__ import annotations

import os
import signal

import router as router  # sets the switches that LangGraph reads at import, whichever test imports it first

pytest_plugins = ["tests.faults.matrix"]

for name in list(os.environ):
    ours = name.startswith("TANDEM_") and name != "TANDEM_SOAK"
    # a test run started by a Git hook inherits these, and every `git` in it would work on the hook's repository
    if ours or name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"):
        del os.environ[name]
os.environ["GIT_CONFIG_GLOBAL"] = os.devnull
os.environ["GIT_CONFIG_SYSTEM"] = os.devnull

# Tests that were started in the background inherit an ignored SIGINT, and the programs they press Ctrl-C in would, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
