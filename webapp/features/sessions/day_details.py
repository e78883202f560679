"""What a stored day's total is made of, as compact JSON."""

import msgspec

HOURS = 24


class DayDetail(msgspec.Struct, array_like=True):
    """Milliseconds of one local day. `shares` and `hours` are people's time, `agent_shares` is counted beside it.

    `devices` stands only in the row of all devices: `(device, its own people's time, its agents')`.
    """

    shares: list[tuple[str, str, int]]
    """`(project, language, ms)`"""
    hours: list[int]
    agent_shares: list[tuple[str, str, int]] = []
    devices: list[tuple[str, int, int]] = []


_decoder = msgspec.json.Decoder(DayDetail)


def write_detail(detail: DayDetail) -> bytes:
    """The bytes to store."""
    return msgspec.json.encode(detail)


def read_detail(stored: bytes) -> DayDetail:
    """What `write_detail` wrote."""
    return _decoder.decode(stored)
