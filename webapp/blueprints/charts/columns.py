"""Hours per day as stacked columns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from webapp.blueprints import formatting

HOUR_MS = 3_600_000
TOPS = (1, 2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48)
TIP_PROJECTS = 5


@dataclass(frozen=True)
class Part:
    """One project's share of a column, from the top of a picture that is 100 high."""

    name: str
    css: str
    ms: int
    y: float
    height: float


@dataclass(frozen=True)
class Column:
    """One day."""

    day: date
    ms: int
    agent_ms: int
    parts: Sequence[Part]
    tip: str
    words: str
    tick: str


@dataclass(frozen=True)
class Columns:
    """All days, and the words of the scale from top to bottom."""

    columns: Sequence[Column]
    scale: Sequence[str]
    projects: Sequence[str]


def draw_columns(
    days: Sequence[tuple[date, int, int, Sequence[tuple[str, int]]]], colour: Callable[[str], str], named: Sequence[str]
) -> Columns:
    """Columns of `(day, ms, agent_ms, [(project, ms)])`; projects outside `named` stand together on top, in grey."""
    top_ms = scale_top(max((ms for _, ms, _, _ in days), default=0)) * HOUR_MS
    columns = [
        Column(
            day,
            ms,
            agent_ms,
            stack(projects, ms, top_ms, colour, named),
            describe(day, ms, projects),
            " · ".join(list_projects(projects)),
            tick,
        )
        for (day, ms, agent_ms, projects), tick in zip(days, choose_ticks([day for day, *_ in days]), strict=True)
    ]
    shown = [name for name in named if any(name == part.name for column in columns for part in column.parts)]
    return Columns(columns, [hours(top_ms), hours(top_ms // 2), "0"], shown)


def scale_top(ms: int) -> int:
    """The first round number of hours that is not below `ms`."""
    return next((top for top in TOPS if top * HOUR_MS >= ms), TOPS[-1])


def stack(
    projects: Sequence[tuple[str, int]], total_ms: int, top_ms: int, colour: Callable[[str], str], named: Sequence[str]
) -> list[Part]:
    """The parts from the bottom up, in the order of `named`, so that a project keeps its place from day to day."""
    by_name = dict(projects)
    amounts = [(name, by_name[name]) for name in named if by_name.get(name)]
    rest = total_ms - sum(ms for _, ms in amounts)
    parts, bottom = [], 100.0
    for name, ms in [*amounts, ("", rest)]:
        height = round(100 * ms / top_ms, 2)
        if height <= 0:
            continue
        bottom = round(bottom - height, 2)
        parts.append(Part(name, colour(name), ms, max(bottom, 0.0), height))
    return parts


def describe(day: date, ms: int, projects: Sequence[tuple[str, int]]) -> str:
    """The words of a column: the day and its total, then its largest projects."""
    told = list_projects(projects)
    more = [f"and {len(told) - TIP_PROJECTS} more"] if len(told) > TIP_PROJECTS else []
    total = formatting.duration(ms) if ms else "nothing"
    return "\n".join([f"{formatting.day_name(day)}: {total}", *told[:TIP_PROJECTS], *more])


def list_projects(projects: Sequence[tuple[str, int]]) -> list[str]:
    """Each project with its time, the largest first."""
    ordered = sorted((pair for pair in projects if pair[1]), key=lambda pair: -pair[1])
    return [f"{name or 'No project'} {formatting.duration(ms)}" for name, ms in ordered]


def choose_ticks(days: Sequence[date]) -> list[str]:
    """A word under some columns: all of a week, else Mondays that keep their distance; the last day always."""
    if len(days) <= 10:
        return [f"{formatting.day_name(day)}".rsplit(" ", 1)[0] for day in days]
    ticks = [""] * len(days)
    gap, next_tick = max(3, len(days) // 7), len(days)
    for index in range(len(days) - 1, -1, -1):
        is_last = index == len(days) - 1
        if is_last or (days[index].weekday() == 0 and next_tick - index >= gap):
            ticks[index] = f"{days[index].day} {formatting.month_name(days[index])}"
            next_tick = index
    return ticks


def hours(ms: int) -> str:
    """A word on the scale: `8 h`, `30 m`."""
    return f"{ms // HOUR_MS} h" if ms >= HOUR_MS else f"{ms // 60_000} m"
