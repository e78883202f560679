"""Somebody's work as file sessions, for benchmarks: 55 a day, a few projects and languages, always the same."""

import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

from collector import wire

PER_DAY = 55
DAY_MS = 86_400_000
FIRST_MS = wire.parse_ms("2025-09-01T00:00:00Z")
PROJECTS = ("tidepool", "harbour-web", "windrose", "field-notes", "dotfiles")
LANGUAGES = (("Python", "py"), ("TypeScript", "ts"), ("Rust", "rs"), ("Markdown", "md"))


def tell(device_id: str, count: int, first_ms: int = FIRST_MS) -> Iterator[wire.FileSession]:
    """The device's first `count` sessions, oldest first."""
    dice = random.Random(device_id)
    for number in range(count):
        day, of_day = divmod(number, PER_DAY)
        start = first_ms + day * DAY_MS + 7 * 3_600_000 + of_day * 600_000 + dice.randrange(60_000)
        yield make_session(device_id, number, start, dice)


def make_session(device_id: str, number: int, start: int, dice: random.Random) -> wire.FileSession:
    """One session of up to ten minutes; every fourth has a pause in it."""
    project = PROJECTS[min(int(dice.expovariate(1.0)), len(PROJECTS) - 1)]
    language, extension = LANGUAGES[min(int(dice.expovariate(1.2)), len(LANGUAGES) - 1)]
    end = start + dice.randrange(60_000, 540_000)
    middle = (start + end) // 2
    segments = [(start, end)] if dice.random() < 0.75 else [(start, middle - 20_000), (middle, end)]
    name = f"module_{dice.randrange(40)}.{extension}"
    return wire.FileSession(
        id=str(uuid.UUID(int=dice.getrandbits(128))),
        file_path=f"/home/ada/code/{project}/src/{name}",
        file_name=name,
        file_extension=extension,
        language=language,
        project_name=project,
        project_path=f"/home/ada/code/{project}",
        session_start_time=at(start),
        session_end_time=at(end),
        total_duration=sum(last - first for first, last in segments) // 1000,
        lines_added=dice.randrange(90),
        lines_deleted=dice.randrange(40),
        lines_modified=0,
        characters_added=0,
        characters_deleted=0,
        characters_modified=0,
        total_edits=0,
        is_active=False,
        editor="vscode",
        platform="linux",
        schema_version=1,
        device_id=device_id,
        revision=1,
        changed_at=at(FIRST_MS + number),
        active_segments=segments,
        sources=["wakatime"],
        stats_quality="net",
        timezone="Europe/Berlin",
        utc_offset_minutes=60,
        branch="main",
        category="coding",
    )


def at(ms: int) -> datetime:
    """Milliseconds as a datetime."""
    return datetime.fromtimestamp(ms / 1000, UTC)
