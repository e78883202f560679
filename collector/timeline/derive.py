"""Observations -> file sessions as a pure function: the same observations always give the same sessions.

`materialise` does the same for only those stretches that new observations touch; a test holds the two equal.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from collector.timeline import spans
from collector.timeline.observation import FILESYSTEM_STREAM, GIT_STREAM, Observation
from collector.timeline.saves import count_writes, find_crowded, find_standing
from collector.timeline.summary import FileWork, summarise
from collector.timeline.walking import Stretch, order_of, walk

IDLE_TIMEOUT_SECONDS = 600
IDLE_TIMEOUT_RANGE = range(60, 3601)


def derive_sessions(
    observations: Iterable[Observation],
    *,
    device_id: str,
    now_ms: int,
    idle_timeout_seconds: int = IDLE_TIMEOUT_SECONDS,
) -> list[FileWork]:
    """Every session of one device, by stream and start. Observations come in any order; repeated ones count once."""
    idle_timeout_ms = idle_timeout_seconds * 1000
    streams = by_stream(number(observations))
    saves, commits = streams.pop(FILESYSTEM_STREAM, []), streams.pop(GIT_STREAM, [])
    edits = by_entity([o for stream in streams.values() for o in stream])
    edited = [stretch for stream in streams.values() for stretch in walk(stream, idle_timeout_ms)]
    saved = walk(find_standing(saves, edits, find_crowded(saves)), idle_timeout_ms)
    yield_to(saved, edited)
    committed = walk(commits, idle_timeout_ms)
    yield_to(committed, edited + saved)
    extra_writes = count_writes(saves, edits)
    works = (
        summarise(
            stretch,
            device_id=device_id,
            now_ms=now_ms,
            idle_timeout_ms=idle_timeout_ms,
            extra_writes=extra_writes,
        )
        for stretch in (*edited, *saved, *committed)
    )
    return sorted((work for work in works if work), key=lambda work: (work.stream, work.first_ms, work.first_seq))


def number(observations: Iterable[Observation]) -> list[Observation]:
    """Each observation once, in order, numbered by arrival where the store has not done so."""
    unique: dict[str, Observation] = {}
    for observation in observations:
        unique.setdefault(observation.key, observation)
    numbered = (o if o.seq else msgspec.structs.replace(o, seq=seq) for seq, o in enumerate(unique.values(), start=1))
    return sorted(numbered, key=order_of)


def by_stream(observations: Sequence[Observation]) -> dict[str, list[Observation]]:
    """Observations by the stream that they belong to."""
    streams: dict[str, list[Observation]] = defaultdict(list)
    for observation in observations:
        streams[observation.stream].append(observation)
    return streams


def by_entity(observations: Sequence[Observation]) -> dict[str, list[Observation]]:
    """Observations by file, each list in the order of time."""
    entities: dict[str, list[Observation]] = defaultdict(list)
    for observation in sorted(observations, key=order_of):
        entities[observation.entity].append(observation)
    return entities


def yield_to(weaker: list[Stretch], stronger: list[Stretch]) -> None:
    """Takes from the weaker stretches the time that better sources account for."""
    taken = spans.union(span for stretch in stronger for span in stretch.spans)
    for stretch in weaker:
        stretch.spans = spans.subtract(stretch.spans, taken)
