"""Pictures as numbers."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from webapp.blueprints.charts import columns, heat, lanes, shares

HOUR = 3_600_000
DAY = date(2026, 11, 19)


def colour(name: str) -> str:
    return "px" if not name else f"colour-of-{name}"


@dataclass(frozen=True)
class Block:
    start_ms: int
    end_ms: int


def test_column_is_as_high_as_its_hours() -> None:
    drawn = columns.draw_columns([(DAY, 3 * HOUR, 0, [("a", 2 * HOUR), ("b", HOUR)])], colour, ["a", "b"])
    assert drawn.scale == ["4 h", "2 h", "0"]
    [column] = drawn.columns
    assert [(part.name, part.y, part.height) for part in column.parts] == [("a", 50.0, 50.0), ("b", 25.0, 25.0)]


def test_projects_without_a_name_in_the_list_are_drawn_together_on_top() -> None:
    drawn = columns.draw_columns([(DAY, 4 * HOUR, 0, [("z", HOUR), ("a", 2 * HOUR), ("y", HOUR)])], colour, ["a"])
    [column] = drawn.columns
    assert [(part.name, part.css, part.ms) for part in column.parts] == [
        ("a", "colour-of-a", 2 * HOUR),
        ("", "px", 2 * HOUR),
    ]
    assert drawn.projects == ["a"]


def test_an_empty_day_has_no_parts_but_says_so() -> None:
    drawn = columns.draw_columns([(DAY, 0, 0, [])], colour, [])
    assert drawn.columns[0].parts == []
    assert drawn.columns[0].tip == "Thu 19 Nov: nothing"
    assert drawn.scale[0] == "1 h"


def test_words_of_a_column_name_the_largest_projects_first() -> None:
    pairs = [(f"p{index}", index * HOUR) for index in range(1, 8)]
    lines = columns.describe(DAY, 28 * HOUR, pairs).split("\n")
    assert lines[0] == "Thu 19 Nov: 28 h 00 m"
    assert lines[1] == "p7 7 h 00 m"
    assert lines[-1] == "and 2 more"


@pytest.mark.parametrize(("ms", "top"), [(0, 1), (HOUR, 1), (HOUR + 1, 2), (9 * HOUR, 10), (99 * HOUR, 48)])
def test_scale_ends_at_a_round_number_of_hours(ms: int, top: int) -> None:
    assert columns.scale_top(ms) == top


@pytest.mark.parametrize("count", [7, 30, 90, 365])
def test_ticks_keep_their_distance_and_name_the_last_day(count: int) -> None:
    ticks = columns.choose_ticks([DAY - timedelta(days=back) for back in range(count - 1, -1, -1)])
    named = [index for index, word in enumerate(ticks) if word]
    assert len(ticks) == count
    assert named[-1] == count - 1
    assert 3 <= len(named) <= 10
    if count > 10:
        assert min(later - earlier for earlier, later in pairwise(named)) >= 3


def test_bars_are_ordered_and_the_largest_is_full() -> None:
    drawn = shares.draw_bars([("a", HOUR), ("b", 3 * HOUR), ("none", 0)])
    assert [(bar.name, bar.width, bar.share) for bar in drawn.bars] == [("b", 100.0, "75 %"), ("a", 33.3, "25 %")]
    assert drawn.others == 0


def test_small_rows_become_others_but_never_a_single_one() -> None:
    nine, ten = ([(f"p{index}", HOUR + index) for index in range(count)] for count in (9, 10))
    assert (len(shares.draw_bars(nine).bars), shares.draw_bars(nine).others) == (9, 0)
    assert (len(shares.draw_bars(ten).bars), shares.draw_bars(ten).others) == (8, 2)
    assert shares.draw_bars(ten).others_ms == 2 * HOUR + 1


def test_nothing_draws_no_bars() -> None:
    assert shares.draw_bars([]).bars == []


def test_heat_map_has_the_hours_in_their_places_and_names_the_busiest() -> None:
    week = [[0] * 24 for _ in range(7)]
    week[2][14] = 2 * HOUR
    week[0][9] = HOUR
    drawn = heat.draw_heat(week)
    monday, wednesday = drawn.cells
    assert (wednesday.css, wednesday.title) == ("h4", "Wed 14:00–15:00: 2 h 00 m")
    assert (wednesday.x, wednesday.y) == (drawn.left + 14 * drawn.step, drawn.top + 2 * drawn.step)
    assert (monday.css, monday.y) == ("h3", drawn.top)
    assert drawn.peak == "Busiest: Wed from 14:00."
    assert [hour for hour, _ in drawn.table] == ["09", "14"]
    assert drawn.left + 23 * drawn.step + drawn.size <= drawn.width


def test_empty_week_is_pale_and_silent() -> None:
    drawn = heat.draw_heat([[0] * 24 for _ in range(7)])
    assert (drawn.cells, drawn.peak, drawn.table) == ([], "", [])


def day_of(day: date, zone: str) -> tuple[int, int]:
    starts = [datetime.combine(day + timedelta(days=step), time(), ZoneInfo(zone)) for step in (0, 1)]
    return int(starts[0].timestamp() * 1000), int(starts[1].timestamp() * 1000)


def test_frame_holds_all_blocks_in_at_least_eight_hours() -> None:
    start, end = day_of(DAY, "Europe/Berlin")
    frame = lanes.choose_frame([Block(start + 9 * HOUR + 5, start + 10 * HOUR)], start, end)
    assert frame.hours[0] == start + 9 * HOUR
    assert len(frame.hours) == 8
    late = lanes.choose_frame([Block(start + 23 * HOUR, end)], start, end)
    assert (late.start_ms, late.end_ms) == (start + 16 * HOUR, end)


def test_frame_of_an_empty_day_is_office_hours() -> None:
    start, end = day_of(DAY, "UTC")
    frame = lanes.choose_frame([], start, end)
    assert (frame.start_ms, frame.end_ms) == (start + 9 * HOUR, start + 17 * HOUR)


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25)])
def test_frame_knows_days_that_are_not_24_hours_long(day: date, hours: int) -> None:
    start, end = day_of(day, "Europe/Berlin")
    frame = lanes.choose_frame([Block(start, end)], start, end)
    assert len(frame.hours) == hours
    assert (frame.start_ms, frame.end_ms) == (start, end)


def test_short_block_stays_visible_and_inside() -> None:
    frame = lanes.Frame(0, 8 * HOUR, list(range(0, 8 * HOUR, HOUR)))
    [half, dot] = lanes.draw_lane([Block(0, 4 * HOUR), Block(8 * HOUR - 1, 8 * HOUR)], frame)
    assert (half.x, half.width) == (0.0, 500.0)
    assert dot.width == lanes.MIN_WIDTH
    assert dot.x + dot.width <= lanes.WIDTH
