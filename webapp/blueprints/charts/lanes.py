"""A day as lanes: one per machine, people's work as blocks, agents as thin blocks below."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

WIDTH = 1000.0
MIN_WIDTH = 2.0
MIN_HOURS = 8
HOUR_MS = 3_600_000


class Block(Protocol):
    """What is drawn: some time in the day."""

    @property
    def start_ms(self) -> int: ...

    @property
    def end_ms(self) -> int: ...


B = TypeVar("B", bound=Block)


@dataclass(frozen=True)
class Box(Generic[B]):
    """A block with its place on a picture that is 1000 wide."""

    block: B
    x: float
    width: float


@dataclass(frozen=True)
class Frame:
    """The part of the day that is drawn: whole hours, their start times and positions."""

    start_ms: int
    end_ms: int
    hours: Sequence[int]

    def place(self, ms: int) -> float:
        """Where an instant stands, 0 to 1000."""
        return round(WIDTH * (ms - self.start_ms) / (self.end_ms - self.start_ms), 2)

    def lines(self) -> list[float]:
        """Where the hours begin, without the first."""
        return [self.place(ms) for ms in self.hours[1:]]

    def holds(self, ms: int) -> bool:
        """Whether an instant is drawn."""
        return self.start_ms <= ms < self.end_ms


def choose_frame(blocks: Sequence[Block], day_start_ms: int, day_end_ms: int) -> Frame:
    """The whole hours that hold every block: at least eight, never outside the day (which may have 23 or 25).

    A day that the time zone skipped (Samoa had no 30 December 2011) is drawn as one empty hour.
    """
    day_end_ms = max(day_end_ms, day_start_ms + HOUR_MS)
    hours = list(range(day_start_ms, day_end_ms, HOUR_MS))
    busy = [i for i, ms in enumerate(hours) if any(b.start_ms < ms + HOUR_MS and b.end_ms > ms for b in blocks)]
    first, last = (busy[0], busy[-1]) if busy else (9, 16)
    last = min(max(last, first + MIN_HOURS - 1), len(hours) - 1)
    first = max(0, min(first, last - MIN_HOURS + 1))
    end_ms = hours[last + 1] if last + 1 < len(hours) else day_end_ms
    return Frame(hours[first], end_ms, hours[first : last + 1])


def draw_lane(blocks: Sequence[B], frame: Frame) -> list[Box[B]]:
    """The blocks in their places; a short one is still wide enough to see and hit."""
    boxes = []
    for block in blocks:
        start = frame.place(max(block.start_ms, frame.start_ms))
        end = frame.place(min(block.end_ms, frame.end_ms))
        width = round(max(end - start, MIN_WIDTH), 2)
        boxes.append(Box(block, min(start, WIDTH - width), width))
    return boxes
