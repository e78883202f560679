"""The client that the tests call with."""

from collections.abc import Iterator

import pytest

from webapp.adapters import collector_client
from webapp.adapters.collector_client import CollectorClient


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[CollectorClient]:
    """A client in a hurry."""
    monkeypatch.setattr(collector_client, "FIRST_PAUSE_SECONDS", 0.01)
    made = CollectorClient(timeout_seconds=2)
    yield made
    made.close()
