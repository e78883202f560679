"""Credited time of one session as compact bytes: none when it is the whole session, else pairs of 64-bit integers."""

import struct
from collections.abc import Sequence

from webapp.lib.spans import Span

_PAIRS = [struct.Struct(f"<{2 * count}q") for count in range(17)]


def pack(segments: Sequence[Span], started_ms: int, ended_ms: int) -> bytes:
    """`segments` (sorted, disjoint) of a session that lasts `[started_ms, ended_ms)`."""
    if len(segments) == 1 and segments[0] == (started_ms, ended_ms):
        return b""
    flat = [ms for segment in segments for ms in segment] or [started_ms, started_ms]
    return struct.pack(f"<{len(flat)}q", *flat)


def unpack(packed: bytes, started_ms: int, ended_ms: int) -> list[Span]:
    """The segments again; a session without any gives one that holds nothing."""
    if not packed:
        return [(started_ms, ended_ms)]
    count = len(packed) // 16
    layout = _PAIRS[count] if count < len(_PAIRS) else struct.Struct(f"<{2 * count}q")
    flat = iter(layout.unpack(packed))
    return list(zip(flat, flat, strict=True))
