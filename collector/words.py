"""Times and spans as people read them."""

from collector import wire

UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
ROADS = {"direct": "directly", "relay": "through this machine's own connection"}
"""How a pull came, in words."""


def duration(seconds: int) -> str:
    """`11520` -> `3 h 12 m`; below a minute in seconds."""
    if seconds < 60:
        return f"{seconds} s"
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours} h {minutes:02d} m" if hours else f"{minutes} m"


def ago(then_ms: int | None, now_ms: int | None = None) -> str:
    """How long ago that was: `12 s ago`, `just now`, `never` for None."""
    if then_ms is None:
        return "never"
    seconds = ((wire.now_ms() if now_ms is None else now_ms) - then_ms) // 1000
    if seconds < 5:
        return "just now"
    name, size = next((name, size) for name, size in UNITS if seconds >= size)
    return f"{seconds // size} {name} ago"


def count(number: int, noun: str) -> str:
    """`1 folder`, `2 folders`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(number: int) -> str:
    """Bytes as people read them: `812 bytes`, `14 KB`, `3.2 MB`."""
    if number < 1000:
        return f"{number} bytes"
    return f"{number / 1000:.0f} KB" if number < 1_000_000 else f"{number / 1_000_000:.1f} MB"
