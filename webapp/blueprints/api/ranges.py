"""Which days a figure is about: a query's days, in the zone of the account that asks."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from webapp.errors import Invalid
from webapp.features.accounts.models import Account
from webapp.lib import clock

MAX_DAYS = 3660


class RangeQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The last `days` days, or those between two; both ends count. Days are the account's own."""

    first: date | None = msgspec.field(name="from", default=None)
    last: date | None = msgspec.field(name="to", default=None)
    days: Annotated[int, Meta(ge=1, le=MAX_DAYS)] = 30
    device: Annotated[str, Meta(max_length=64)] | None = None


@dataclass(frozen=True)
class DayRange:
    """Days from `first` to `last`, both included."""

    first: date
    last: date


def read_range(query: RangeQuery, account: Account) -> DayRange:
    """The days that `query` means; Invalid if they end before they begin or are too many."""
    last = query.last or clock.utc_now().astimezone(ZoneInfo(account.timezone)).date()
    first = query.first or date.fromordinal(max(1, last.toordinal() - query.days + 1))
    if first > last:
        raise Invalid("from: a day that is not after `to`", field="from")
    if last - first >= timedelta(days=MAX_DAYS):
        raise Invalid(f"from: at most {MAX_DAYS} days before `to`", field="from")
    return DayRange(first, last)
