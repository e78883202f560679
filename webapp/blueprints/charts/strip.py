"""The coverage of days as a strip, oldest left: each status has a shape of its own beside its colour."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from webapp.blueprints import formatting
from webapp.features.sessions.coverage import STATUSES, Mark, ShownDay, count_statuses

WIDTH, STEP, HEIGHT = 4, 5, 12
BARS: dict[str, tuple[tuple[float, float], ...]] = {
    "complete": ((0, 12),),
    "off": ((8, 4),),
    "hole": ((0, 4), (8, 4)),
    "waiting": ((0, 2), (5, 2), (10, 2)),
    "unknown": ((11, 1),),
}
"""`(y, height)` of the bars that make up a day. A proven day is whole, a hole is broken in the middle."""
MARK = (0, 3.5)
UNDER_MARK = ((4.5, 7.5),)
WORDS = {
    "complete": "proven",
    "off": "machine off",
    "hole": "hole",
    "waiting": "waiting",
    "unknown": "not known",
}
NAMES = {
    "complete": "Proven",
    "off": "Machine off",
    "hole": "Hole",
    "waiting": "Waiting",
    "unknown": "Not known",
}


@dataclass(frozen=True)
class SmallStrip:
    """A picture `width` by HEIGHT: one path for each status, under its CSS class, and what it says in words."""

    width: int
    height: int
    paths: Sequence[tuple[str, str]]
    words: str


@dataclass(frozen=True)
class Cell:
    """One day of the large strip: its paths in a picture of 4 by 12, its tooltip, and a word below it or none."""

    day: date
    status: str
    paths: Sequence[tuple[str, str]]
    tip: str
    tick: str


def draw_small(marks: Sequence[Mark]) -> SmallStrip:
    """The picture of `marks`."""
    return _draw(tuple((mark.status, mark.has_quarantined) for mark in marks))


def draw_days(days: Sequence[ShownDay]) -> list[Cell]:
    """The cells of `days`, with the names of months where they begin."""
    return [
        Cell(
            told.day,
            told.status,
            tuple(_join([(told.status, told.quarantined > 0)]).items()),
            describe(told),
            formatting.month_name(told.day) if told.day.day == 1 and 3 < place < len(days) - 6 else "",
        )
        for place, told in enumerate(days)
    ]


def draw_legend(days: Sequence[ShownDay]) -> list[tuple[str, str, int]]:
    """`(CSS class with its paths, name, count)` of each status that occurs, and of days with quarantined sessions."""
    counts = count_statuses(days)
    found = [(status, NAMES[status], counts[status]) for status in STATUSES if counts[status]]
    marked = sum(day.quarantined > 0 for day in days)
    return found + ([("marked", "With sessions in quarantine", marked)] if marked else [])


def draw_one(status: str) -> list[tuple[str, str]]:
    """The paths of one cell of the legend."""
    return list(_join([("complete", True) if status == "marked" else (status, False)]).items())


def describe(told: ShownDay) -> str:
    """What the tooltip of a day says."""
    lines = [f"{formatting.day_name(told.day)}: {WORDS[told.status]}"]
    if told.status != "hole" and (told.sessions or told.held):
        lines.append(f"{told.held} of {formatting.counted(told.sessions, 'session')} here")
    if told.quarantined:
        lines.append(f"{told.quarantined} in quarantine")
    if told.kept:
        lines.append(f"{told.kept} kept only here")
    if told.reason and told.status in ("hole", "waiting"):
        lines.append(told.reason)
    return "\n".join(lines)


@lru_cache(maxsize=512)
def _draw(days: tuple[tuple[str, bool], ...]) -> SmallStrip:
    found = [status for status, _ in days]
    counted = [f"{found.count(status)} {WORDS[status]}" for status in STATUSES if status in found]
    words = f"Last {len(days)} days: {', '.join(counted)}"
    return SmallStrip(len(days) * STEP - 1, HEIGHT, tuple(_join(days).items()), words)


def _join(days: Sequence[tuple[str, bool]]) -> dict[str, str]:
    """CSS class -> path of all days that wear it."""
    paths: dict[str, list[str]] = {}
    for place, (status, is_marked) in enumerate(days):
        bars = UNDER_MARK if is_marked and status == "complete" else BARS[status]
        paths.setdefault(f"cover-{status}", []).extend(_bar(place, *bar) for bar in bars)
        if is_marked:
            paths.setdefault("cover-marked", []).append(_bar(place, *MARK))
    return {css: "".join(parts) for css, parts in paths.items()}


def _bar(place: int, y: float, height: float) -> str:
    return f"M{place * STEP} {y:g}h{WIDTH}v{height:g}h-{WIDTH}z"
