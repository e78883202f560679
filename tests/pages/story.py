"""Five weeks of somebody's work as file sessions: pure, and the same on every run."""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from collector import wire

NOW = datetime(2026, 11, 19, 15, 42, 20, tzinfo=UTC)
ZONE = ZoneInfo("Europe/Berlin")
DAYS = 35
MINUTE_MS = 60_000


@dataclass(frozen=True)
class Machine:
    """One device of the story."""

    id: str
    name: str
    platform: str
    home: str
    editor: str


STUDIO = Machine("7b1c8a52-6f0e-4a57-9b0a-0c6f3c1d2e11", "studio", "linux", "/home/ada", "vscode")
THINKPAD = Machine("c2f7d6e4-31a8-4c55-8d1f-5a7b9e0f4c22", "thinkpad", "linux", "/home/ada", "neovim")
BUILDBOX = Machine("e90a4d17-85b3-4e6c-a2d4-1f3b5c7d9e33", "build-box", "linux", "/srv/ada", "claude-code")
MACHINES = (STUDIO, THINKPAD, BUILDBOX)

PROJECTS: dict[str, list[tuple[str, str]]] = {
    "tidepool": [
        ("src/ingest/reader.py", "Python"),
        ("src/ingest/upsert.py", "Python"),
        ("src/api/routes.py", "Python"),
        ("tests/test_upsert.py", "Python"),
        ("migrations/0007_totals.sql", "SQL"),
        ("docs/protocol.md", "Markdown"),
    ],
    "harbour-web": [
        ("src/pages/Fleet.tsx", "TypeScript"),
        ("src/pages/Berths.tsx", "TypeScript"),
        ("src/lib/clock.ts", "TypeScript"),
        ("src/styles/tokens.css", "CSS"),
        ("README.md", "Markdown"),
    ],
    "windrose": [
        ("crates/core/src/lib.rs", "Rust"),
        ("crates/core/src/grid.rs", "Rust"),
        ("crates/cli/src/main.rs", "Rust"),
    ],
    "field-notes": [("2026/reading.md", "Markdown"), ("2026/talk-outline.md", "Markdown")],
    "dotfiles": [("nvim/init.lua", "Lua"), ("install.sh", "Shell")],
}
BRANCHES = {"tidepool": "exact-cursor", "harbour-web": "main", "windrose": "grid-cache", "dotfiles": "main"}
WEEKDAY_BLOCKS = (("studio", 8.7, 3.4), ("studio", 13.3, 3.9), ("thinkpad", 20.4, 1.2))
WEEKEND_BLOCKS = (("thinkpad", 10.5, 1.8),)


def tell(now: datetime = NOW) -> Iterator[tuple[Machine, wire.FileSession]]:
    """Every session of the last five weeks up to `now`, oldest first."""
    for back in range(DAYS - 1, -1, -1):
        day = now.astimezone(ZONE).date() - timedelta(days=back)
        yield from tell_day(day, random.Random(day.toordinal()), int(now.timestamp() * 1000))


def tell_day(day: date, dice: random.Random, now_ms: int) -> Iterator[tuple[Machine, wire.FileSession]]:
    """One day: weekdays are long, weekends short, and some have nothing."""
    is_weekend = day.weekday() >= 5
    blocks = WEEKEND_BLOCKS if is_weekend else WEEKDAY_BLOCKS
    for name, start, hours in blocks:
        is_skipped = dice.random() < (0.45 if is_weekend or name == "thinkpad" else 0.06)
        machine = next(machine for machine in MACHINES if machine.name == name)
        begin = at(day, start + dice.uniform(-0.5, 0.5))
        length = int(hours * 3_600_000 * dice.uniform(0.6, 1.15))
        if not is_skipped:
            yield from tell_stretch(machine, begin, begin + length, dice, now_ms)
    if day.weekday() in (1, 2, 3) and dice.random() < 0.8:
        begin = at(day, 11 + dice.uniform(0, 4))
        yield from tell_stretch(BUILDBOX, begin, begin + int(dice.uniform(0.5, 1.6) * 3_600_000), dice, now_ms)


def tell_stretch(
    machine: Machine, begin: int, end: int, dice: random.Random, now_ms: int
) -> Iterator[tuple[Machine, wire.FileSession]]:
    """File after file of one or two projects, with breaks."""
    weights = (7, 4, 3, 1, 0.6) if machine is not THINKPAD else (2, 1, 5, 4, 2)
    likely = dice.choices(list(PROJECTS), weights, k=4)
    cursor = begin
    while cursor < min(end, now_ms):
        project = dice.choices(likely, (6, 3, 2, 1))[0] if cursor > begin else likely[0]
        path, language = dice.choice(PROJECTS[project])
        length = int(dice.triangular(3, 38, 11) * MINUTE_MS)
        stop = min(cursor + length, now_ms)
        if stop - cursor >= MINUTE_MS:
            yield machine, make_session(machine, project, path, language, cursor, stop, dice, stop >= now_ms)
        cursor += length + int(dice.choice((0, 0, 1, 2, 4, 14)) * MINUTE_MS)


def make_session(
    machine: Machine,
    project: str,
    path: str,
    language: str,
    start: int,
    end: int,
    dice: random.Random,
    is_active: bool,
) -> wire.FileSession:
    """One file session as a collector would export it."""
    segments = cut(start, end, dice)
    is_agent = machine is BUILDBOX
    file_name = path.rsplit("/", 1)[-1]
    added, deleted = dice.randrange(0, 90), dice.randrange(0, 40)
    return wire.FileSession(
        id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{machine.id}/{path}/{start}")),
        file_path=f"{machine.home}/code/{project}/{path}",
        file_name=file_name,
        file_extension=file_name.rsplit(".", 1)[-1],
        language=language,
        project_name=project,
        project_path=f"{machine.home}/code/{project}",
        session_start_time=datetime.fromtimestamp(start / 1000, UTC),
        session_end_time=None if is_active else datetime.fromtimestamp(end / 1000, UTC),
        total_duration=sum(last - first for first, last in segments) // 1000,
        lines_added=added,
        lines_deleted=deleted,
        lines_modified=0,
        characters_added=added * 31,
        characters_deleted=deleted * 31,
        characters_modified=0,
        total_edits=added + deleted,
        is_active=is_active,
        editor=machine.editor,
        platform=machine.platform,
        schema_version=1,
        device_id=machine.id,
        revision=1,
        changed_at=datetime.fromtimestamp(end / 1000, UTC),
        active_segments=segments,
        sources=["agent"] if is_agent else ["wakatime", "filesystem"],
        stats_quality="net",
        writes=max(1, len(segments)),
        timezone="Europe/Berlin",
        utc_offset_minutes=60,
        branch=BRANCHES.get(project),
        category="ai coding" if is_agent else "coding",
    )


def cut(start: int, end: int, dice: random.Random) -> list[tuple[int, int]]:
    """The active parts of a session: whole when short, with a gap or two when long."""
    if end - start < 14 * MINUTE_MS:
        return [(start, end)]
    middle = dice.randrange(start + 4 * MINUTE_MS, end - 4 * MINUTE_MS)
    return [(start, middle), (middle + 2 * MINUTE_MS, end)]


def at(day: date, hour: float) -> int:
    """Milliseconds of a local time of day."""
    midnight = datetime.combine(day, time(), ZONE)
    return int((midnight + timedelta(hours=hour)).timestamp() * 1000)
