"""Lists of bars: who had how much of a whole."""

from collections.abc import Sequence
from dataclasses import dataclass

from webapp.blueprints import formatting


@dataclass(frozen=True)
class Bar:
    """One row; `width` is of 100, the largest row being 100 wide."""

    name: str
    ms: int
    share: str
    width: float


@dataclass(frozen=True)
class BarList:
    """The largest rows, and how much the others have together."""

    bars: Sequence[Bar]
    others: int
    others_ms: int
    others_share: str


def draw_bars(shares: Sequence[tuple[str, int]], limit: int = 8) -> BarList:
    """The rows of `(name, ms)`, largest first; a single one too many is shown, not called *other*."""
    ordered = sorted((pair for pair in shares if pair[1] > 0), key=lambda pair: (-pair[1], pair[0]))
    total = sum(ms for _, ms in ordered)
    shown = ordered if len(ordered) <= limit + 1 else ordered[:limit]
    rest_ms = total - sum(ms for _, ms in shown)
    most = shown[0][1] if shown else 1
    bars = [Bar(name, ms, formatting.share(ms, total), round(100 * ms / most, 1)) for name, ms in shown]
    return BarList(bars, len(ordered) - len(shown), rest_ms, formatting.share(rest_ms, total))
