"""When a pull asks the collector what it holds of each day, and from which day on. No database while a pull runs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from sqlalchemy import select

from collector import wire
from webapp.extensions import db
from webapp.features.sessions.models import CoverageState
from webapp.lib import clock
from webapp.lib.local_days import day_of

FIRST_DAY = date(1970, 1, 1)
OFTENEST = timedelta(minutes=5)
ALL_EVERY = timedelta(days=1)


class Located(Protocol):
    """What is needed of `targets.Position`."""

    @property
    def cursor(self) -> str | None: ...


@dataclass(frozen=True)
class Known:
    """What the plan goes by of a device's `CoverageState`, and whether its pull has moved since the last check."""

    zone: str | None = None
    checked_at: datetime | None = None
    checked_all_at: datetime | None = None
    due_at: datetime | None = None
    due_from: date | None = None
    hole_from: date | None = None
    problem: str | None = None
    has_moved: bool = False

    def is_put_off(self, now: datetime) -> bool:
        """Whether the last check failed and the next try is not due."""
        return self.problem is not None and self.due_at is not None and now < self.due_at


@dataclass
class CheckPlan:
    """What to ask in one pull of one device, made before it begins. Lives in the thread of the pull.

    Tell it of every page (`note_page`), ask it after the first page and after the last. `is_unsupported` is set when
    the collector does not know the question.
    """

    zone: ZoneInfo
    state: Known
    earliest_ms: int | None = None
    has_restarted: bool = False
    has_asked: bool = False
    is_unsupported: bool = False

    def note_page(self, started_ms: Iterable[int], *, is_reset: bool = False) -> None:
        """A page came: when its sessions start, and whether it belongs to a restart from the beginning."""
        first = min(started_ms, default=None)
        if first is not None and (self.earliest_ms is None or first < self.earliest_ms):
            self.earliest_ms = first
        self.has_restarted = self.has_restarted or is_reset

    def ask_first(self, position: Located, has_more: bool) -> wire.CoverageRequest | None:
        """After the first page, when more follow: so that a pull that breaks off leaves holes with a name."""
        if not has_more or position.cursor is None or self.state.is_put_off(clock.utc_now()):
            return None
        self.has_asked = True
        return self._ask_from(FIRST_DAY, position.cursor)

    def ask_last(self, position: Located, progress: object = None) -> wire.CoverageRequest | None:  # noqa: ARG002
        """After the last page of a pull that came to its end. None when nothing is to be asked now."""
        now = clock.utc_now()
        if position.cursor is None or self.is_unsupported or self.state.is_put_off(now):
            return None
        first = min(self._list_first_days(now), default=None)
        return self._ask_from(first, position.cursor) if first is not None else None

    def _ask_from(self, first: date, cursor: str) -> wire.CoverageRequest:
        return wire.CoverageRequest(
            timezone=self.zone.key, first=first.isoformat(), last=self._today().isoformat(), cursor=cursor
        )

    def _list_first_days(self, now: datetime) -> Iterable[date]:
        """The first day of the check that each reason calls for; nothing when there is no reason."""
        state, today = self.state, self._today()
        is_new_zone = state.zone != self.zone.key
        if state.checked_at is None or state.checked_all_at is None or is_new_zone or self.has_restarted:
            return [FIRST_DAY]
        if self.has_asked or now - state.checked_all_at >= ALL_EVERY:
            return [FIRST_DAY]
        days = []
        if state.due_at is not None and state.due_at <= now:
            days.append(state.due_from or FIRST_DAY)
        checked = state.checked_at.astimezone(self.zone).date()
        if checked < today:
            days.append(checked)  # it was not over then
        yesterday = today - timedelta(days=1)
        earliest = day_of(self.earliest_ms, self.zone) if self.earliest_ms is not None else None
        if earliest is not None and earliest < yesterday:
            days.append(earliest)
        has_changed = earliest is not None or state.has_moved
        if has_changed and state.hole_from is not None:
            days += [state.hole_from, yesterday]
        if has_changed and now - state.checked_at >= OFTENEST:
            days.append(yesterday)
        return days

    def _today(self) -> date:
        return clock.utc_now().astimezone(self.zone).date()


LOADED = [getattr(CoverageState, field.name) for field in fields(Known) if field.name != "has_moved"]


def load_known(reached_ms: Mapping[str, int | None]) -> dict[str, Known]:
    """What the plans of these devices' next pulls go by, with one statement; given is how far each has been pulled."""
    known = {device_id: Known(has_moved=reached is not None) for device_id, reached in reached_ms.items()}
    wanted = select(CoverageState.device_id, CoverageState.reached_ms, *LOADED)
    found: Iterable[Any] = db.session.execute(wanted.where(CoverageState.device_id.in_(reached_ms)))
    for device_id, compared, *facts in found:
        reached = reached_ms[device_id]
        known[device_id] = Known(*[*facts, reached is not None and reached != compared])
    return known
