"""Observations in the store: added once each, read back as they came."""

import sqlite3
from collections.abc import Sequence

from collector.timeline.observation import Observation

FIELDS = tuple(name for name in Observation.__struct_fields__ if name != "seq")
INSERT = (
    f"INSERT OR IGNORE INTO observations (stream, at_ms, {', '.join(FIELDS)})"  # noqa: S608 - our own field names
    f" VALUES ({', '.join('?' * (len(FIELDS) + 2))})"
)
SELECT = f"SELECT {', '.join((*FIELDS, 'seq'))} FROM observations WHERE "  # noqa: S608 - our own field names


def insert_observations(connection: sqlite3.Connection, observations: Sequence[Observation]) -> int:
    """Adds observations inside an open write transaction; returns how many were new."""
    before = connection.total_changes
    connection.executemany(INSERT, ((o.stream, o.at_ms, *(getattr(o, name) for name in FIELDS)) for o in observations))
    return connection.total_changes - before


def list_observations(connection: sqlite3.Connection, condition: str, values: Sequence[object]) -> list[Observation]:
    """Observations by a condition that the program wrote (it may carry an order and a limit)."""
    return [read_observation(row) for row in connection.execute(SELECT + condition, values)]


def read_observation(row: Sequence) -> Observation:
    """A row of `SELECT` as it was added, with the number that it was given."""
    values = dict(zip((*FIELDS, "seq"), row, strict=True))
    values["is_write"] = bool(values["is_write"])
    return Observation(**values)
