"""An observation: one fact that a source saw, kept for ever as it came; sessions are derived from these."""

import msgspec

FUTURE_TOLERANCE_MS = 5 * 60_000
"""A sender's clock may be this far ahead; what claims to be later happened when it was received."""

SOURCES = ("native", "activitywatch", "wakatime", "filesystem", "git")
"""Best first: where two sources claim the same instant, the earlier in this list has it."""


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One observation. Without `end_ms` it is a point in time, with it the half-open span `[time_ms, end_ms)`."""

    source: str
    editor: str
    entity: str
    time_ms: int
    received_ms: int
    kind: str = "edit"
    end_ms: int | None = None
    is_write: bool = False
    entity_type: str = "file"
    machine: str = ""
    platform: str | None = None
    language: str | None = None
    project: str | None = None
    project_path: str | None = None
    branch: str | None = None
    category: str | None = None
    timezone: str | None = None
    lines: int | None = None
    lines_added: int | None = None
    lines_deleted: int | None = None
    ai_lines: int | None = None
    ai_input_tokens: int | None = None
    ai_output_tokens: int | None = None
    ai_session: str | None = None
    seq: int = 0

    @property
    def at_ms(self) -> int:
        """When it happened, as far as it can be believed: the past always, the future only within the tolerance."""
        return self.time_ms if self.time_ms <= self.received_ms + FUTURE_TOLERANCE_MS else self.received_ms

    @property
    def stop_ms(self) -> int:
        """The end of a span, the instant itself of a point."""
        return self.at_ms if self.end_ms is None else max(self.at_ms, self.at_ms + self.end_ms - self.time_ms)

    @property
    def stream(self) -> str:
        """Observations are walked per device and editor; the weak sources have streams of their own."""
        return STREAM_OF_SOURCE.get(self.source) or self.editor

    @property
    def key(self) -> str:
        """What makes two observations the same one, on whatever road and however often it comes."""
        parts = (self.source, self.machine, self.entity, self.kind, str(self.time_ms), str(int(self.is_write)))
        return "\x1f".join(parts)


FILESYSTEM_STREAM = "fs"
GIT_STREAM = "git"
STREAM_OF_SOURCE = {"filesystem": FILESYSTEM_STREAM, "git": GIT_STREAM}
