"""When in the week: 7 days by 24 hours, in five shades."""

from collections.abc import Sequence
from dataclasses import dataclass

from webapp.blueprints import formatting

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
CELL, GAP, LEFT, TOP = 14, 2, 30, 14


@dataclass(frozen=True)
class Cell:
    """One hour of the week."""

    x: int
    y: int
    css: str
    title: str


@dataclass(frozen=True)
class HeatMap:
    """The hours in which anything happened, the words beside them, and the measures of the picture.

    The empty hours are a pattern: squares of `size` every `step` from `left` and `top`.
    """

    cells: Sequence[Cell]
    days: Sequence[tuple[str, int]]
    hours: Sequence[tuple[str, int]]
    left: int
    top: int
    step: int
    size: int
    width: int
    height: int
    peak: str
    table: Sequence[tuple[str, Sequence[int]]]


def draw_heat(week: Sequence[Sequence[int]]) -> HeatMap:
    """The picture of `week[weekday][hour]` milliseconds, Monday first."""
    most = max((ms for day in week for ms in day), default=0)
    cells = [
        Cell(LEFT + hour * CELL, TOP + day * CELL, f"h{shade(ms, most)}", describe(day, hour, ms))
        for day, row in enumerate(week)
        for hour, ms in enumerate(row)
        if ms
    ]
    days = [(name, TOP + index * CELL + 10) for index, name in enumerate(DAYS)]
    hours = [(f"{hour:02d}", LEFT + hour * CELL) for hour in range(0, 24, 3)]
    return HeatMap(
        cells,
        days,
        hours,
        left=LEFT,
        top=TOP,
        step=CELL,
        size=CELL - GAP,
        width=LEFT + 24 * CELL,
        height=TOP + 7 * CELL,
        peak=find_peak(week),
        table=tabulate(week),
    )


def tabulate(week: Sequence[Sequence[int]]) -> list[tuple[str, list[int]]]:
    """The hours in which anything happened, each with its minutes from Monday to Sunday."""
    rows = [(f"{hour:02d}", [day[hour] // 60_000 for day in week]) for hour in range(24)]
    return [(hour, minutes) for hour, minutes in rows if any(minutes)]


def shade(ms: int, most: int) -> int:
    """1 to 4 by quarters of the busiest hour."""
    return 1 + min(3, 4 * ms // most)


def describe(day: int, hour: int, ms: int) -> str:
    """`Mon 09:00-10:00: 3 h 12 m`."""
    return f"{DAYS[day]} {hour:02d}:00–{(hour + 1) % 24:02d}:00: {formatting.duration(ms)}"


def find_peak(week: Sequence[Sequence[int]]) -> str:
    """A sentence about the busiest hour; empty when nothing happened."""
    ms, day, hour = max(((ms, -d, -h) for d, row in enumerate(week) for h, ms in enumerate(row)), default=(0, 0, 0))
    return f"Busiest: {DAYS[-day]} from {-hour:02d}:00." if ms else ""
