"""Sessions: a day as lanes and table, the list over all days, and one session opened in place."""

from dataclasses import dataclass, replace
from datetime import date
from typing import Any, NamedTuple

from flask import Blueprint, Response, request, url_for

from webapp.blueprints import formatting, htmx
from webapp.blueprints.access import current_account
from webapp.blueprints.charts import lanes
from webapp.errors import Unreadable
from webapp.features.accounts.models import Account
from webapp.features.devices import service as devices
from webapp.features.devices.models import Device
from webapp.features.sessions import service as sessions
from webapp.features.sessions import timeline
from webapp.features.sessions.models import StoredSession
from webapp.lib import clock

pages = Blueprint("sessions", __name__)

DAY_LIMIT = 500


@dataclass(frozen=True)
class Wanted:
    """What the address asks for; every link of the page is this with one word changed."""

    day: date | None = None
    device: str | None = None
    project: str | None = None
    language: str | None = None
    cursor: str | None = None

    def url(self, **changes: Any) -> str:
        """The address with some words changed; any change leaves the cursor behind."""
        asked = replace(self, **{"cursor": None, **changes})
        return url_for(
            "sessions.list_sessions",
            day=asked.day,
            device=asked.device,
            project=asked.project,
            language=asked.language,
            cursor=asked.cursor,
        )

    @property
    def is_filtered(self) -> bool:
        """Whether anything but the day is asked for."""
        return bool(self.device or self.project is not None or self.language)


class Menu(NamedTuple):
    """One filter: the word for all, its name in the address, what is chosen, and what can be."""

    word: str
    parameter: str
    chosen: str | None
    values: dict[str, str]


@pages.get("/sessions")
def list_sessions() -> Response:
    """`/sessions?day=&device=&project=&language=&cursor=`: a day, or all days newest first."""
    account = current_account()
    wanted = read_wanted()
    known = sessions.list_filters(account.id)
    formatting.use_colours(known.projects)
    machines = {device.id: device for device in devices.list_devices(account.id)}
    shared = {"wanted": wanted, "menus": list_menus(wanted, machines, known), "devices": machines}
    if wanted.day is None:
        page = find_sessions(account, wanted, limit=100)
        return htmx.answer("sessions/all.html", {}, page=page, **shared)
    day = timeline.read_day(
        account.id,
        wanted.day,
        formatting.viewer_zone(),
        device_id=wanted.device,
        project=wanted.project,
        language=wanted.language,
    )
    blocks = [block for lane in day.lanes for block in lane.blocks]
    frame = lanes.choose_frame(blocks, day.start_ms, day.end_ms)
    page = find_sessions(account, wanted, limit=DAY_LIMIT, from_ms=day.start_ms, to_ms=day.end_ms)
    rows = [*page.items, *([] if page.next_cursor else list_overnight(account.id, day))]
    return htmx.answer(
        "sessions/day.html",
        {},
        day=day,
        frame=frame,
        drawn=draw(day, frame),
        page=page,
        rows=rows,
        now_ms=clock.now_ms(),
        **shared,
    )


@pages.get("/sessions/<device_id>/<path:session_id>")
def show_session(device_id: str, session_id: str) -> Response:
    """One session: a page of its own, or its rows in the table, `?closed=1` for the single row."""
    account = current_account()
    row = sessions.get_session(account.id, device_id, session_id)
    formatting.use_colours(sessions.list_filters(account.id).projects)
    shared = {"devices": {d.id: d for d in devices.list_devices(account.id)}, "session": row}
    if htmx.is_htmx() and "closed" in request.args:
        return htmx.live("sessions/_row.html", **shared)
    shared |= {"record": sessions.read_record(row), "pull": sessions.find_pull(account.id, row.pull_id)}
    if htmx.is_htmx():
        return htmx.live("sessions/_row.html", opened=True, **shared)
    return htmx.answer("sessions/detail.html", {}, day=formatting.to_local(row.started_ms).date(), **shared)


def read_wanted() -> Wanted:
    """The filters in the address. Unreadable for a day that is none."""
    args = request.args
    return Wanted(
        day=read_day(args.get("day", "")),
        device=args.get("device") or None,
        project=args.get("project"),
        language=args.get("language") or None,
        cursor=args.get("cursor") or None,
    )


def read_day(text: str) -> date | None:
    """`2026-11-21` or `today`; None when no day is asked for."""
    if not text:
        return None
    if text == "today":
        return formatting.local_today()
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise Unreadable(f"day: {text!r} is not a day. Write it as 2026-11-21.", code="bad_day") from error
    if not 1971 <= day.year <= 9998:
        raise Unreadable("day: a year from 1971 to 9998.", code="bad_day")
    return day


def list_menus(wanted: Wanted, machines: dict[str, Device], known: sessions.Filters) -> list[Menu]:
    """The filters as menus of links."""
    names = {device.id: device.name for device in machines.values()}
    return [
        Menu("All machines", "device", wanted.device, names),
        Menu("All projects", "project", wanted.project, {name: name for name in known.projects}),
        Menu("All languages", "language", wanted.language, {name: name for name in known.languages}),
    ]


def find_sessions(
    account: Account, wanted: Wanted, *, limit: int, from_ms: int | None = None, to_ms: int | None = None
) -> sessions.Page[StoredSession]:
    """One page of what is asked for."""
    return sessions.list_sessions(
        account.id,
        device_id=wanted.device,
        project=wanted.project,
        language=wanted.language,
        from_ms=from_ms,
        to_ms=to_ms,
        limit=limit,
        cursor=wanted.cursor,
    )


def list_overnight(account_id: int, day: timeline.Day) -> list[StoredSession]:
    """What was still going on at midnight: it began on the day before, but its time is in this one too."""
    keys = {(lane.device.id, b.session_id) for lane in day.lanes for b in lane.blocks if b.start_ms == day.start_ms}
    rows = [sessions.get_session(account_id, *key) for key in sorted(keys)]
    return [row for row in rows if row.started_ms < day.start_ms]


def draw(day: timeline.Day, frame: lanes.Frame) -> list[dict[str, object]]:
    """Each machine with the boxes of its people's work and of its agents'."""
    return [
        {
            "device": lane.device,
            "people": lanes.draw_lane([block for block in lane.blocks if block.kind != "agent"], frame),
            "agents": lanes.draw_lane([block for block in lane.blocks if block.kind == "agent"], frame),
        }
        for lane in day.lanes
    ]
