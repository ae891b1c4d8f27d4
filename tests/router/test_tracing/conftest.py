"""Collectors that are gone after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.router.test_tracing.collector import Collector


@pytest.fixture(name="collector")
def _collector() -> Iterator[Collector]:
    server = Collector()
    yield server
    server.stop()


@pytest.fixture(name="other")
def _other() -> Iterator[Collector]:
    server = Collector()
    yield server
    server.stop()
