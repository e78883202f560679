"""What decides about an observation from outside its stream, read from the store: editors, saves, crowds of saves."""

import sqlite3
from collections.abc import Iterable, Iterator

from collector.observations import list_observations
from collector.timeline.observation import FILESYSTEM_STREAM, GIT_STREAM, Observation
from collector.timeline.saves import BURST_FILES, REACH_MS, Edits, count_writes, find_standing
from collector.timeline.walking import Stretch, order_of

CHUNK = 400


def read_stream(
    connection: sqlite3.Connection, stream: str, start: tuple[int, int]
) -> Iterator[tuple[Observation, bool]]:
    """The observations of a stream from a place on, each with whether it stands for work of its own."""
    place = (start[0], start[1] - 1)
    condition = "stream = ? AND (at_ms, seq) > (?, ?) ORDER BY at_ms, seq LIMIT ?"
    while chunk := list_observations(connection, condition, (stream, *place, CHUNK)):
        standing = {o.seq for o in list_standing(connection, chunk)} if stream == FILESYSTEM_STREAM else None
        for observation in chunk:
            yield observation, standing is None or observation.seq in standing
        place = order_of(chunk[-1])


def list_standing(connection: sqlite3.Connection, saves: list[Observation]) -> list[Observation]:
    """Those of the saves that no editor reported and no tool made."""
    seconds = list_crowded(connection, saves[0].at_ms, saves[-1].at_ms)
    return find_standing(saves, read_edits(connection, saves), seconds)


def list_crowded(connection: sqlite3.Connection, start_ms: int, end_ms: int) -> set[int]:
    """The seconds from the one of `start_ms` to the one of `end_ms` in which a tool wrote many files."""
    rows = connection.execute(
        "SELECT at_ms / 1000 FROM observations WHERE stream = ? AND at_ms >= ? AND at_ms < ?"
        " GROUP BY at_ms / 1000 HAVING count(*) > ?",
        (FILESYSTEM_STREAM, start_ms // 1000 * 1000, (end_ms // 1000 + 1) * 1000, BURST_FILES),
    )
    return {second for (second,) in rows}


def read_edits(connection: sqlite3.Connection, around: Iterable[Observation]) -> Edits:
    """Editors' observations of the same files as `around`, as far as they can matter to each other."""
    condition = f"stream NOT IN ('{FILESYSTEM_STREAM}', '{GIT_STREAM}')"
    return read_near(connection, around, condition, REACH_MS)


def read_writes(connection: sqlite3.Connection, stretches: list[Stretch]) -> dict[int, int]:
    """Saves on disk that belong to the observations of an editor's stretches, by the observations' numbers."""
    observations = [o for stretch in stretches for o in stretch.observations]
    by_file = read_near(connection, observations, f"stream = '{FILESYSTEM_STREAM}'", REACH_MS)
    saves = [save for sequence in by_file.values() for save in sequence]
    return count_writes(saves, read_edits(connection, saves)) if saves else {}


def read_near(
    connection: sqlite3.Connection, around: Iterable[Observation], condition: str, reach_ms: int
) -> dict[str, list[Observation]]:
    """Observations with `condition`, by file, in order, for the files of `around` and at most `reach_ms` away."""
    ranges: dict[str, tuple[int, int]] = {}
    for o in around:
        start_ms, end_ms = ranges.get(o.entity, (o.at_ms, o.at_ms))
        ranges[o.entity] = (min(start_ms, o.at_ms), max(end_ms, o.at_ms))
    query = f"entity = ? AND at_ms BETWEEN ? AND ? AND {condition} ORDER BY at_ms, seq"
    return {
        entity: list_observations(connection, query, (entity, start_ms - reach_ms, end_ms + reach_ms))
        for entity, (start_ms, end_ms) in ranges.items()
    }
