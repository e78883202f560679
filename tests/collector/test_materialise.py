"""The stored sessions against the pure derivation, whatever comes in whatever order."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.store import Store
from collector.timeline.derive import derive_sessions
from collector.timeline.materialise import materialise
from collector.timeline.observation import Observation
from tests.collector.conftest import MONDAY_MS, make_observation

HOUR = 3600


def stored(store: Store) -> list[tuple]:
    """The sessions that exist, as the pure function would give them, in its order."""
    query = (
        "SELECT id, stream, first_ms, last_ms, is_active, body FROM sessions WHERE deleted = 0"
        " ORDER BY stream, first_ms, first_seq"
    )
    with store.read() as connection:
        rows = connection.execute(query).fetchall()
    return [(*row[:4], bool(row[4]), json.loads(row[5])) for row in rows]


def derived(store: Store, observations: list[Observation], now_ms: int, idle: int = 600) -> list[tuple]:
    works = derive_sessions(observations, device_id=store.identity.device_id, now_ms=now_ms, idle_timeout_seconds=idle)
    return [(w.id, w.stream, w.first_ms, w.last_ms, w.is_active, json.loads(w.body)) for w in works]


def one_observation(entity: str, seconds: int, source: str, is_write: bool, minutes: int, lines: int) -> Observation:
    fields: dict[str, object] = {"source": source, "is_write": is_write, "received_ms": MONDAY_MS + seconds * 1000}
    if source == "vim":
        fields |= {"source": "wakatime", "editor": "vim"}
    elif source == "filesystem":
        fields |= {"editor": "fs", "kind": "write", "is_write": True}
    elif source == "git":
        start_ms = MONDAY_MS + seconds * 1000
        fields |= {"editor": "git", "kind": "commit", "is_write": False, "end_ms": start_ms + minutes * 60_000}
        fields |= {"lines_added": lines}
    else:
        fields |= {"lines": lines or None}
    return make_observation(entity, seconds, **fields)


observations = st.builds(
    one_observation,
    entity=st.sampled_from(["/p/a.py", "/p/b.py", "/p/c.ts"]),
    seconds=st.one_of(
        st.integers(0, 40 * 60),
        st.integers(0, 26 * HOUR).map(lambda s: s - s % 60),
        st.sampled_from([0, 9, 10, 11, 119, 120, 121, 599, 600, 601, 1200, 1800]),
    ),
    source=st.sampled_from(["wakatime", "wakatime", "vim", "filesystem", "filesystem", "git"]),
    is_write=st.booleans(),
    minutes=st.integers(0, 120),
    lines=st.integers(0, 50),
)
deliveries = st.lists(st.lists(observations, max_size=12), min_size=1, max_size=6)


@settings(max_examples=300, deadline=None)
@given(deliveries=deliveries, idle=st.sampled_from([60, 600, 3600]))
def test_late_data_in_any_order_ends_where_a_derivation_from_scratch_ends(
    deliveries: list[list[Observation]], idle: int
) -> None:
    now_ms = MONDAY_MS + 24 * HOUR * 1000
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "collector.db")
        seen: list[Observation] = []
        for step, delivery in enumerate(deliveries):
            store.add_observations(delivery)
            seen += delivery
            now_ms += step * 300_000
            materialise(store, now_ms, idle_timeout_seconds=idle)
            assert stored(store) == derived(store, seen, now_ms, idle)
        assert materialise(store, now_ms, idle_timeout_seconds=idle) == 0
        other = {60: 600, 600: 3600, 3600: 60}[idle]
        materialise(store, now_ms, idle_timeout_seconds=other)
        assert stored(store) == derived(store, seen, now_ms, other)
        store.close()
