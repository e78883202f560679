"""What a saved file on disk means beside an editor that reports the same file, and beside a tool that writes many."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from collector.timeline.observation import Observation

EDITOR_BEFORE_MS = 10_000
EDITOR_AFTER_MS = 120_000
SAME_SAVE_MS = 10_000
REACH_MS = EDITOR_BEFORE_MS + EDITOR_AFTER_MS
"""Observations of one file farther apart than this never change each other's meaning."""

BURST_FILES = 50
"""More saves than this within one second are a checkout, a build or a formatter, not a person."""

Edits = Mapping[str, Sequence[Observation]]
"""Editors' observations by file, each sequence in the order of time."""


def find_editor_observation(save: Observation, edits: Edits) -> Observation | None:
    """The editor's observation that tells of the same work as `save`: the nearest one within the window, if any."""
    near = between(edits, save.entity, save.at_ms - EDITOR_BEFORE_MS, save.at_ms + EDITOR_AFTER_MS)
    return min(near, key=lambda edit: (abs(edit.at_ms - save.at_ms), edit.at_ms, edit.seq), default=None)


def count_writes(saves: Iterable[Observation], edits: Edits) -> dict[int, int]:
    """Saves that no editor reported as such, by the number of the editor's observation that they belong to."""
    writes: Counter[int] = Counter()
    for save in saves:
        owner = find_editor_observation(save, edits)
        if owner is not None and not is_reported(save, edits):
            writes[owner.seq] += 1
    return dict(writes)


def is_reported(save: Observation, edits: Edits) -> bool:
    """Whether an editor told of this very save."""
    near = between(edits, save.entity, save.at_ms - SAME_SAVE_MS, save.at_ms + SAME_SAVE_MS)
    return any(edit.is_write for edit in near)


def find_crowded(saves: Iterable[Observation]) -> set[int]:
    """The seconds since 1970 in which a tool wrote many files."""
    seconds = Counter(save.at_ms // 1000 for save in saves)
    return {second for second, count in seconds.items() if count > BURST_FILES}


def find_standing(saves: Iterable[Observation], edits: Edits, crowded: set[int]) -> list[Observation]:
    """The saves that are evidence of work of their own: no editor reported that file, and no tool wrote it."""
    alone = (save for save in saves if save.at_ms // 1000 not in crowded)
    return [save for save in alone if find_editor_observation(save, edits) is None]


def between(edits: Edits, entity: str, start_ms: int, end_ms: int) -> Sequence[Observation]:
    """The observations of a file from `start_ms` to `end_ms`, both included."""
    sequence = edits.get(entity, ())
    left = bisect_left(sequence, start_ms, key=lambda edit: edit.at_ms)
    right = bisect_right(sequence, end_ms, key=lambda edit: edit.at_ms)
    return sequence[left:right]
