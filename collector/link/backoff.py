"""How long to wait after failures: growing, with jitter, so that a hub that comes back is not met by all at once."""

import random

FIRST_SECONDS = 5.0
LONGEST_SECONDS = 300.0
SHORTEST_SECONDS = 1.0


def pause_seconds(failures: int, random_unit: float | None = None) -> float:
    """Seconds to wait after so many failures in a row (1 or more); `random_unit` in [0, 1) replaces chance in tests."""
    ceiling = min(FIRST_SECONDS * 2.0 ** min(failures - 1, 10), LONGEST_SECONDS)
    unit = random.random() if random_unit is None else random_unit  # noqa: S311 - spreading load, no secret
    return max(SHORTEST_SECONDS, unit * ceiling)
