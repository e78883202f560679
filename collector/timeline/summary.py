"""A stretch of work as a file session in its wire form, without what only the store knows (revision, change time)."""

import uuid
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from collector import wire
from collector.timeline import spans
from collector.timeline.languages import UNKNOWN, canonical_language, find_language
from collector.timeline.observation import FUTURE_TOLERANCE_MS, GIT_STREAM, SOURCES, Observation
from collector.timeline.walking import Stretch

NAMESPACE = uuid.UUID("6f0c9f5e-2f0b-5b0e-9a53-9d1c8a6f7d11")


class FileWork(NamedTuple):
    """One derived session: where it belongs, and its body in JSON."""

    id: str
    stream: str
    first_ms: int
    first_seq: int
    last_ms: int
    is_active: bool
    body: bytes


def summarise(
    stretch: Stretch, *, device_id: str, now_ms: int, idle_timeout_ms: int, extra_writes: dict[int, int]
) -> FileWork | None:
    """The session of a stretch, or None when it earned no time and changed nothing that we know of.

    `extra_writes` are saves seen on disk, by the number of the observation that they belong to.
    """
    seen_on_disk = sum(extra_writes.get(o.seq, 0) for o in stretch.observations)
    writes = sum(o.is_write for o in stretch.observations) + seen_on_disk
    lines = count_lines(stretch.observations)
    stream = stretch.first.stream
    # An estimate from history that better sources cover completely would only count its lines a second time.
    if not stretch.spans and (stream == GIT_STREAM or not (writes or any(lines))):
        return None
    is_active = is_growing(stretch, now_ms, idle_timeout_ms)
    body = describe_file(stretch) | describe_time(stretch, is_active) | describe_origin(stretch, bool(seen_on_disk))
    body |= {"linesAdded": lines[0], "linesDeleted": lines[1], "isActive": is_active, "writes": writes}
    body["statsQuality"] = "exact" if stream == GIT_STREAM else "net" if any(lines) else "none"
    return FileWork(
        id=str(uuid.uuid5(NAMESPACE, "\x1f".join((device_id, stream, stretch.first.key)))),
        stream=stream,
        first_ms=stretch.first.at_ms,
        first_seq=stretch.first.seq,
        last_ms=find_end(stretch),
        is_active=is_active,
        body=msgspec.json.encode(body),
    )


def find_end(stretch: Stretch) -> int:
    """The last instant that the stretch has to do with: its last observation or the end of what it was credited."""
    return max(stretch.last.stop_ms, stretch.spans[-1][1] if stretch.spans else 0)


def is_growing(stretch: Stretch, now_ms: int, idle_timeout_ms: int) -> bool:
    """Whether more may come. A last observation in the far future is the mark of a clock that was wrong."""
    age_ms = now_ms - stretch.last.at_ms
    is_point = stretch.last.end_ms is None
    return stretch.is_open and is_point and -FUTURE_TOLERANCE_MS <= age_ms < idle_timeout_ms


def describe_file(stretch: Stretch) -> dict[str, object]:
    """The fields about the file and its project."""
    last = stretch.last
    name = last.entity.rsplit("/", 1)[-1] if last.entity_type == "file" else last.entity
    language = last_value(stretch, "language")
    if language is None and last.entity_type == "file":
        language = find_language(name)
    return {
        "filePath": last.entity,
        "fileName": name[:1024],
        "fileExtension": extension_of(name) if last.entity_type == "file" else "",
        "language": canonical_language(str(language) if language else None) or UNKNOWN,
        "projectName": last.project or "",
        "projectPath": last_value(stretch, "project_path") or "",
        "branch": last.branch,
        "category": last.category or "coding",
        "entityType": last.entity_type,
    }


def describe_time(stretch: Stretch, is_active: bool) -> dict[str, object]:
    """The fields about when, from the spans that the stretch was credited with."""
    start_ms = stretch.spans[0][0] if stretch.spans else stretch.first.at_ms
    end_ms = stretch.spans[-1][1] if stretch.spans else None if is_active else stretch.last.at_ms
    zone = last_value(stretch, "timezone")
    return {
        "sessionStartTime": wire.format_ms(start_ms),
        "sessionEndTime": None if end_ms is None else wire.format_ms(end_ms),
        "totalDuration": spans.measure(stretch.spans) // 1000,
        "activeSegments": stretch.spans,
        "timezone": zone,
        "utcOffsetMinutes": find_offset(str(zone), start_ms // 900_000) if zone else None,
    }


def describe_origin(stretch: Stretch, is_seen_on_disk: bool) -> dict[str, object]:
    """The fields about who saw it, and those that no present source can fill."""
    found = {o.source for o in stretch.observations} | ({"filesystem"} if is_seen_on_disk else set())
    return {
        "schemaVersion": 1,
        "editor": stretch.last.editor,
        "platform": stretch.last.platform,
        "machineName": stretch.last.machine or None,
        "sources": [source for source in SOURCES if source in found],
        "ai": count_ai(stretch.observations),
        "linesModified": 0,
        "charactersAdded": 0,
        "charactersDeleted": 0,
        "charactersModified": 0,
        "totalEdits": 0,
    }


def count_lines(observations: list[Observation]) -> tuple[int, int]:
    """Lines added and deleted: as reported, else from how the length of the file moved between observations."""
    added = deleted = 0
    length: int | None = None
    for o in observations:
        if o.lines_added is not None or o.lines_deleted is not None:
            added += max(o.lines_added or 0, 0)
            deleted += max(o.lines_deleted or 0, 0)
        elif o.lines is not None and length is not None:
            added += max(o.lines - length, 0)
            deleted += max(length - o.lines, 0)
        length = o.lines if o.lines is not None else length
    return added, deleted


def count_ai(observations: list[Observation]) -> dict[str, object] | None:
    """What an AI assistant did in this stretch, or None when no source spoke of one."""
    told = [o for o in observations if (o.ai_lines, o.ai_input_tokens, o.ai_output_tokens, o.ai_session) != (None,) * 4]
    if not told:
        return None
    return {
        "lineChanges": sum(o.ai_lines or 0 for o in told),
        "inputTokens": sum(o.ai_input_tokens or 0 for o in told),
        "outputTokens": sum(o.ai_output_tokens or 0 for o in told),
        "session": next((o.ai_session for o in reversed(told) if o.ai_session), None),
    }


def last_value(stretch: Stretch, field: str) -> object:
    """The latest value of a field that not every observation carries."""
    return next((value for o in reversed(stretch.observations) if (value := getattr(o, field))), None)


def extension_of(file_name: str) -> str:
    """The lower-case extension without its dot; none for `.gitignore`, nor for what is too long to be one."""
    stem, dot, extension = file_name.rpartition(".")
    return extension.lower() if stem and dot and len(extension) <= 32 else ""


@lru_cache(maxsize=1024)
def find_offset(zone: str, quarter: int) -> int | None:
    """Minutes east of UTC in `zone` during a quarter of an hour counted from 1970; None for a zone that is none."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=15 * quarter)
        offset = moment.astimezone(ZoneInfo(zone)).utcoffset()
    except (ValueError, OSError, KeyError, OverflowError):
        return None
    return None if offset is None else int(offset.total_seconds() // 60)
