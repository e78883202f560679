"""Limits for calls that somebody could use for guessing, or out of impatience."""

import time
from math import ceil

from limits import RateLimitItem, parse

from webapp.errors import TooMany
from webapp.extensions import limiter


def allow(rate: str, *key: str, detail: str, code: str = "too_many") -> None:
    """Counts one call under `key`; TooMany once there were more than `rate` (such as `10/minute`)."""
    limit = parse(rate)
    if limiter.enabled and not limiter.limiter.hit(limit, *key):
        raise TooMany(detail, retry_after_seconds=_seconds_left(limit, key), code=code)


def _seconds_left(limit: RateLimitItem, key: tuple[str, ...]) -> int:
    return max(1, ceil(limiter.limiter.get_window_stats(limit, *key).reset_time - time.time()))
