"""The walk along one stream of observations that makes stretches of work out of points in time."""

from dataclasses import dataclass, field

from collector.timeline.observation import Observation
from collector.timeline.spans import Span

LONGEST_MS = 8 * 3_600_000
"""A stretch ends after this long even without a pause, so that late data never has to redo more than this."""

Key = tuple[str, str, str, str]


@dataclass(slots=True)
class Stretch:
    """One stretch of work on one file: its observations in order, and the time that they earned it."""

    observations: list[Observation]
    key: Key
    spans: list[Span] = field(default_factory=list)
    is_open: bool = True

    @property
    def first(self) -> Observation:
        """The observation that began it, on which its identity hangs."""
        return self.observations[0]

    @property
    def last(self) -> Observation:
        """Its latest observation."""
        return self.observations[-1]


class Walker:
    """Walks one stream, observation by observation in the order of `order_of`; `stretches` is what it has made."""

    def __init__(self, idle_timeout_ms: int) -> None:
        self._idle_timeout_ms = idle_timeout_ms
        self.stretches: list[Stretch] = []

    def step(self, observation: Observation) -> bool:
        """Takes the next observation; True when it began a new stretch."""
        if self.stretches:
            current = self.stretches[-1]
            is_near = observation.at_ms - current.last.stop_ms < self._idle_timeout_ms
            credit(current, until_ms=observation.at_ms if is_near else None)
            is_long = observation.at_ms - current.first.at_ms >= LONGEST_MS
            if is_near and not is_long and key_of(observation) == current.key:
                current.observations.append(observation)
                return False
            # After a pause the clock alone decides; this way the next observation need not be known to decide it.
            current.is_open = not is_near
        self.stretches.append(Stretch([observation], key_of(observation)))
        return True

    def finish(self) -> list[Stretch]:
        """The stretches, the last one still open."""
        if self.stretches:
            credit(self.stretches[-1], until_ms=None)
        return self.stretches


def walk(observations: list[Observation], idle_timeout_ms: int) -> list[Stretch]:
    """The stretches of a whole stream, in any order of its observations."""
    walker = Walker(idle_timeout_ms)
    for observation in sorted(observations, key=order_of):
        walker.step(observation)
    return walker.finish()


def credit(stretch: Stretch, *, until_ms: int | None) -> None:
    """Gives the stretch the time from its last observation on.

    A point earns the gap up to `until_ms`, the next observation of the stream, unless that is too far (None): then it
    earns nothing, never a tail. A span earns what it covers, up to where the next one begins.
    """
    last = stretch.last
    end_ms = last.at_ms
    if last.end_ms is not None:
        end_ms = last.stop_ms if until_ms is None else min(last.stop_ms, until_ms)
    elif until_ms is not None:
        end_ms = until_ms
    if end_ms <= last.at_ms:
        return
    if stretch.spans and stretch.spans[-1][1] == last.at_ms:
        stretch.spans[-1] = (stretch.spans[-1][0], end_ms)
    else:
        stretch.spans.append((last.at_ms, end_ms))


def order_of(observation: Observation) -> tuple[int, int]:
    """By time, then by arrival."""
    return observation.at_ms, observation.seq


def key_of(observation: Observation) -> Key:
    """What a stretch is about: another file, project, branch or category begins another one."""
    o = observation
    return o.entity, o.project or "", o.branch or "", o.category or "coding"
