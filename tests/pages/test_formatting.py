"""How values are written for people."""

from datetime import UTC, date, datetime, timedelta

import pytest
from flask import Flask

from webapp.blueprints import formatting

NOW = datetime(2026, 11, 19, 15, 42, tzinfo=UTC)
HOUR = 3_600_000


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 m"),
        (41_000, "41 s"),
        (59_999, "59 s"),
        (60_000, "1 m"),
        (11_520_000, "3 h 12 m"),
        (HOUR, "1 h 00 m"),
        (130 * HOUR, "130 h"),
    ],
)
def test_duration(ms: int, text: str) -> None:
    assert formatting.duration(ms) == text


@pytest.mark.parametrize(("ms", "text"), [(84, "84 ms"), (2_440, "2.4 s"), (185_000, "3 m 05 s")])
def test_milliseconds(ms: int, text: str) -> None:
    assert formatting.milliseconds(ms) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "just now"),
        (4.9, "just now"),
        (12, "12 s ago"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (7200, "2 h ago"),
        (172_900, "2 d ago"),
    ],
)
def test_age(seconds: float, text: str) -> None:
    assert formatting.age(seconds) == text


def test_ago_has_the_absolute_time_in_its_title(app: Flask) -> None:
    with app.test_request_context("/"):
        html = formatting.ago(NOW - timedelta(seconds=12), NOW)
    assert html == ('<time datetime="2026-11-19T15:41:48Z" title="Thu 19 Nov 2026, 15:41:48" data-ago>12 s ago</time>')


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-60, "any moment"), (0.4, "any moment"), (1, "in 1 s"), (40.9, "in 40 s"), (60, "in 1 min"), (7200, "in 2 h")],
)
def test_ahead(seconds: float, text: str) -> None:
    assert formatting.ahead(seconds) == text


def test_until_has_the_absolute_time_in_its_title(app: Flask) -> None:
    with app.test_request_context("/"):
        html = formatting.until(NOW + timedelta(seconds=40), NOW)
    assert html == '<time datetime="2026-11-19T15:42:40Z" title="Thu 19 Nov 2026, 15:42:40" data-until>in 40 s</time>'


def test_ago_of_nothing_is_never() -> None:
    assert formatting.ago(None) == "never"


def test_days_are_the_viewers(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formatting, "viewer_zone", lambda: formatting.zone_of("Asia/Tokyo"))
    assert formatting.local_day(int(NOW.timestamp() * 1000)) == date(2026, 11, 20)
    assert formatting.clock_time(NOW) == "00:42"


def test_when_leaves_out_the_day_only_today(app: Flask) -> None:
    with app.test_request_context("/"):
        assert ">15:42</time>" in formatting.when(NOW, NOW)
        assert ">Wed 18 Nov, 15:42</time>" in formatting.when(NOW - timedelta(days=1), NOW)


@pytest.mark.parametrize(
    ("day", "text"),
    [(date(2026, 11, 19), "Today"), (date(2026, 11, 18), "Yesterday"), (date(2026, 11, 7), "Saturday 7 November 2026")],
)
def test_day_title(day: date, text: str) -> None:
    assert formatting.day_title(day, date(2026, 11, 19)) == text


@pytest.mark.parametrize(("part", "whole", "text"), [(1, 3, "33 %"), (1, 1000, "<1 %"), (0, 5, "0 %"), (5, 0, "0 %")])
def test_share(part: int, whole: int, text: str) -> None:
    assert formatting.share(part, whole) == text


def test_counted() -> None:
    assert formatting.counted(1, "row") == "1 row"
    assert formatting.counted(12_480, "row") == "12,480 rows"
    assert formatting.counted(0, "entry", "entries") == "0 entries"


@pytest.mark.parametrize(
    "path", ["/home/ada/code/muster/app.py", r"C:\code\muster\app.py", "file:///code/muster/app.py"]
)
def test_file_name_of_any_path(path: str) -> None:
    assert formatting.file_name(path) == "app.py"
    assert formatting.near_folder(path).endswith("code/muster")


def test_a_project_keeps_its_colour_when_others_come() -> None:
    names = [f"project-{index}" for index in range(9)]
    before = formatting.assign_colours(names[:4])
    after = formatting.assign_colours(names)
    assert all(after[name] == before[name] for name in before)


def test_twelve_projects_have_twelve_colours_and_more_begin_again() -> None:
    names = [f"project-{index}" for index in range(30)]
    colours = formatting.assign_colours(names)
    assert len({colours[name] for name in names[:12]}) == 12
    assert set(colours.values()) == {f"p{index}" for index in range(12)}


def test_colour_without_a_project_is_grey(app: Flask) -> None:
    with app.test_request_context("/"):
        assert formatting.colour("") == "px"
        formatting.use_colours(["a", "b"])
        assert formatting.colour("a") != formatting.colour("b")
