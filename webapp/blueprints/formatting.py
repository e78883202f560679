"""How values are written for people: spans, ages, local times, shares, the colour of a project. All Jinja filters."""

import zlib
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from flask import Flask, g
from flask_login import current_user
from markupsafe import Markup

from webapp.lib import clock

COLOUR_COUNT = 12
OTHER = "px"
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
Moment = datetime | int
"""An aware datetime, or integer milliseconds since 1970."""


def duration(ms: int) -> str:
    """`11520000` -> `3 h 12 m`; below an hour minutes, below a minute seconds; nothing is `0 m`."""
    seconds = max(0, ms) // 1000
    hours, minutes = divmod(seconds // 60, 60)
    if hours:
        return f"{hours} h {minutes:02d} m" if hours < 100 else f"{hours} h"
    return f"{minutes} m" if minutes or not seconds else f"{seconds} s"


def milliseconds(ms: int) -> str:
    """A technical span, exact where it is short: `84 ms`, `2.4 s`, `3 m 05 s`."""
    if ms < 1000:
        return f"{ms} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(ms // 1000, 60)
    return f"{minutes} m {seconds:02d} s"


def age(seconds: float) -> str:
    """`12 s ago`; the same words as app.js, which keeps them true while the page is open."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= max(size, 5):
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


def ago(at: Moment | None, now: datetime | None = None) -> Markup | str:
    """A `<time>` that says how long ago `at` was, with the local time in its title; `never` for None."""
    if at is None:
        return "never"
    moment = as_datetime(at)
    text = age(((now or clock.utc_now()) - moment).total_seconds())
    return Markup('<time datetime="{}" title="{}" data-ago>{}</time>').format(iso(moment), local_time(moment), text)


def until(at: Moment, now: datetime | None = None) -> Markup:
    """A `<time>` that says how far ahead `at` is: `in 40 s`; `any moment` when it has passed."""
    moment = as_datetime(at)
    text = ahead((moment - (now or clock.utc_now())).total_seconds())
    return Markup('<time datetime="{}" title="{}" data-until>{}</time>').format(iso(moment), local_time(moment), text)


def ahead(seconds: float) -> str:
    """`in 40 s`; the same words as app.js."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= size:
            return f"in {int(seconds // size)} {unit}"
    return "any moment"


def local_time(at: Moment) -> str:
    """`Sat 21 Nov 2026, 14:05:09` in the viewer's zone."""
    local = to_local(at)
    return f"{day_name(local.date())} {local.year}, {local:%H:%M:%S}"


def clock_time(at: Moment) -> str:
    """`14:05` in the viewer's zone."""
    return f"{to_local(at):%H:%M}"


def when(at: Moment, now: datetime | None = None) -> Markup:
    """`14:05` today, `Fri 20 Nov, 14:05` on another day, with the full time in the title."""
    local = to_local(at)
    is_today = local.date() == to_local(now or clock.utc_now()).date()
    text = f"{local:%H:%M}" if is_today else f"{day_name(local.date())}, {local:%H:%M}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso(as_datetime(at)), local_time(at), text)


def day_name(day: date) -> str:
    """`Sat 21 Nov`: in English whatever the server's locale."""
    return f"{WEEKDAYS[day.weekday()][:3]} {day.day} {month_name(day)}"


def day_title(day: date, today: date | None = None) -> str:
    """`Today`, `Yesterday`, or `Saturday 21 November 2026`."""
    days_back = ((today or local_today()) - day).days
    if days_back in (0, 1):
        return ("Today", "Yesterday")[days_back]
    return f"{WEEKDAYS[day.weekday()]} {day.day} {MONTHS[day.month - 1]} {day.year}"


def month_name(day: date) -> str:
    """`Nov`."""
    return MONTHS[day.month - 1][:3]


def share(part: int, whole: int) -> str:
    """`38 %`; `<1 %` for what is there but small."""
    if not whole or not part:
        return "0 %"
    percent = round(100 * part / whole)
    return f"{percent} %" if percent else "<1 %"


def counted(count: int, one: str, many: str = "") -> str:
    """`1 row`, `2 rows`, `12,480 rows`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def file_name(path: str) -> str:
    """The last part of a path with either kind of slash."""
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or path


def folder(path: str) -> str:
    """The path without its last part, ending in a slash; empty when there is none."""
    head, slash, _ = path.replace("\\", "/").rpartition("/")
    return head + slash


def near_folder(path: str) -> str:
    """The last two folders of a path: enough to tell files of one name apart."""
    parts = [part for part in folder(path).split("/") if part]
    return "/".join(parts[-2:])


def local_day(at: Moment) -> date:
    """The viewer's day in which `at` lies."""
    return to_local(at).date()


def iso(moment: datetime) -> str:
    """RFC 3339 in UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def as_datetime(at: Moment) -> datetime:
    """`at` as an aware datetime."""
    return at if isinstance(at, datetime) else datetime.fromtimestamp(at / 1000, UTC)


def viewer_zone() -> ZoneInfo:
    """The zone of the account that looks at the page; UTC while nobody is signed in. Found once per request."""
    if "viewer_zone" not in g:
        g.viewer_zone = zone_of(getattr(current_user, "timezone", None) or "UTC")
    zone: ZoneInfo = g.viewer_zone
    return zone


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    """A time zone by its IANA name."""
    return ZoneInfo(name)


def to_local(at: Moment) -> datetime:
    """`at` in the viewer's zone."""
    return as_datetime(at).astimezone(viewer_zone())


def local_today() -> date:
    """The viewer's day."""
    return to_local(clock.utc_now()).date()


def preferred_colour(name: str) -> int:
    """The colour that a project would have if it were alone."""
    return zlib.crc32(name.encode()) % COLOUR_COUNT


def assign_colours(names: Iterable[str]) -> dict[str, str]:
    """Project -> CSS class, `p0` to `p11`. Each gets its preferred colour, or the next free one, in the given order."""
    taken: set[int] = set()
    colours: dict[str, str] = {}
    for name in names:
        if name in colours:
            continue
        if len(taken) == COLOUR_COUNT:
            taken.clear()
        colour = preferred_colour(name)
        while colour in taken:
            colour = (colour + 1) % COLOUR_COUNT
        taken.add(colour)
        colours[name] = f"p{colour}"
    return colours


def use_colours(names: Iterable[str]) -> None:
    """Fixes the colours of this request's page: every project of the account, in an order that does not change."""
    g.project_colours = assign_colours(names)


def colour(project: str) -> str:
    """The CSS class of a project on this page; a project without a name is grey."""
    known: Mapping[str, str] = g.get("project_colours", {})
    if not project:
        return OTHER
    return known.get(project) or f"p{preferred_colour(project)}"


def next_day(day: date, step: int = 1) -> date:
    """The day `step` days later (earlier when negative)."""
    return day + timedelta(days=step)


FILTERS = (
    *(duration, milliseconds, ago, until, local_time, clock_time, when, day_name, day_title, share, counted),
    *(file_name, near_folder, colour, next_day, local_day, iso),
)


def init_app(app: Flask) -> None:
    """Gives every template the filters above, under their own names."""
    for function in FILTERS:
        app.add_template_filter(function, function.__name__)
    app.add_template_global(local_today, "local_today")
