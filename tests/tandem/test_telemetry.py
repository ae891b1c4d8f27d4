"""Logs: private from the first file to the last."""

import logging
import os
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path

import pytest

from tandem.telemetry import start_logging


@pytest.fixture
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, before = root.handlers[:], root.level, os.umask(0o022)
    yield
    os.umask(before)
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("_as_it_was")
def test_a_log_that_was_turned_over_is_still_its_owners_alone(tmp_path: Path) -> None:
    start_logging(tmp_path / "router.log")
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, RotatingFileHandler)
    logging.getLogger("router").info("one")
    handler.doRollover()
    logging.getLogger("router").info("two")
    handler.doRollover()
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"router.log": 0o600, "router.log.1": 0o600, "router.log.2": 0o600}
    assert '"one"' in (tmp_path / "router.log.2").read_text()
