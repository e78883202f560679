"""Fixtures for the collector's data: a store of its own for each test, and short words for observations."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.store import Store
from collector.timeline.observation import Observation

MONDAY_MS = 1_767_603_600_000
"""2026-01-05 09:00:00 UTC, when most of the work in these tests begins."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    made = Store(tmp_path / "collector" / "collector.db")
    yield made
    made.close()


def make_observation(entity: str, seconds: float, **fields: object) -> Observation:
    """An observation of `entity`; it was received when it happened unless `received_ms` says otherwise."""
    time_ms = MONDAY_MS + round(seconds * 1000)
    defaults: dict[str, object] = {"source": "wakatime", "editor": "vscode", "received_ms": time_ms}
    return Observation(entity=entity, time_ms=time_ms, **(defaults | fields))
