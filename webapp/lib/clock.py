"""The one place that asks for the time, so that tests can set it."""

import time
from datetime import UTC, datetime, timedelta

SKEW = timedelta(minutes=2)
"""How far the clocks of two machines may be apart. A stored time further ahead than this program writes any, and this
much more, was written by a clock that has since been set back (decision 0010)."""


def utc_now() -> datetime:
    """The wall clock, aware, in UTC."""
    return datetime.now(UTC)


def now_ms() -> int:
    """The wall clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
