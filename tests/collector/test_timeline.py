"""The derivation of sessions, by example and by what must hold for any observations."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.timeline import spans
from collector.timeline.derive import derive_sessions
from collector.timeline.languages import canonical_language, find_language
from collector.timeline.observation import Observation
from collector.timeline.saves import BURST_FILES
from collector.timeline.walking import LONGEST_MS
from tests.collector.conftest import MONDAY_MS, make_observation

HOUR = 3600
LATER_MS = MONDAY_MS + 30 * 86_400_000


def derive(
    observations: list[Observation], now_ms: int = LATER_MS, idle: int = 600, device_id: str = "d"
) -> list[dict]:
    works = derive_sessions(observations, device_id=device_id, now_ms=now_ms, idle_timeout_seconds=idle)
    return [json.loads(work.body) | {"id": work.id, "stream": work.stream} for work in works]


def beat(name: str, seconds: float, **fields: object) -> Observation:
    return make_observation(f"/p/{name}", seconds, **fields)


def save(name: str, seconds: float, **fields: object) -> Observation:
    fixed: dict[str, object] = {"source": "filesystem", "editor": "fs", "kind": "write", "is_write": True}
    return make_observation(f"/p/{name}", seconds, **(fixed | fields))


def commit(name: str, start: float, end: float, **fields: object) -> Observation:
    fixed: dict[str, object] = {"source": "git", "editor": "git", "kind": "commit"}
    return make_observation(f"/p/{name}", start, end_ms=MONDAY_MS + round(end * 1000), **(fixed | fields))


def durations(observations: list[Observation], idle: int = 600) -> list[tuple[str, int]]:
    return [(session["fileName"], session["totalDuration"]) for session in derive(observations, idle=idle)]


@pytest.mark.parametrize(
    ("beats", "expected"),
    [
        ([("A", 0), ("A", 120), ("A", 240)], [("A", 240)]),
        ([("A", 0), ("A", 599)], [("A", 599)]),
        ([("A", 0), ("A", 600)], [("A", 0), ("A", 0)]),
        ([("A", 0), ("B", 100), ("A", 160)], [("A", 100), ("B", 60), ("A", 0)]),
        ([("A", 0), ("B", 700), ("B", 760)], [("A", 0), ("B", 60)]),
        ([("A", 0)], [("A", 0)]),
        ([("A", 0), ("A", 599.999)], [("A", 599)]),
    ],
)
def test_a_gap_goes_to_the_file_before_it(beats: list[tuple[str, float]], expected: list[tuple[str, int]]) -> None:
    written = [beat(name, seconds, is_write=True) for name, seconds in beats]
    assert durations(written) == expected
    assert durations(list(reversed(written))) == expected


def test_the_idle_timeout_is_a_setting() -> None:
    beats = [beat("A", 0, is_write=True), beat("A", 300, is_write=True)]
    assert durations(beats, idle=301) == [("A", 300)]
    assert durations(beats, idle=300) == [("A", 0), ("A", 0)]


def test_work_across_midnight_is_one_session() -> None:
    (session,) = derive([beat("A", 14 * HOUR + 50 * 60), beat("A", 14 * HOUR + 59 * 60), beat("A", 15 * HOUR + 60)])
    assert session["totalDuration"] == 660
    assert session["sessionStartTime"] == "2026-01-05T23:50:00.000Z"
    assert session["sessionEndTime"] == "2026-01-06T00:01:00.000Z"


def test_a_look_without_a_change_and_without_time_is_no_session() -> None:
    assert derive([beat("A", 0)]) == []
    assert len(derive([beat("A", 0, is_write=True)])) == 1


@pytest.mark.parametrize("field", ["project", "branch", "category"])
def test_another_project_branch_or_category_begins_another_session(field: str) -> None:
    beats = [beat("A", 0, **{field: "one"}), beat("A", 60, **{field: "two"}), beat("A", 90, **{field: "two"})]
    assert durations(beats) == [("A", 60), ("A", 30)]


def test_editors_are_walked_apart() -> None:
    sessions = derive([beat("A", 0, editor="vim"), beat("B", 100, editor="vscode"), beat("A", 200, editor="vim")])
    assert [(s["editor"], s["totalDuration"]) for s in sessions] == [("vim", 200)]


def test_a_session_is_active_until_the_idle_timeout() -> None:
    beats = [beat("A", 0), beat("A", 60)]
    at = MONDAY_MS + 60_000
    assert [s["isActive"] for s in derive(beats, at + 599_999)] == [True]
    assert [s["isActive"] for s in derive(beats, at + 600_000)] == [False]
    closed = [*beats, beat("B", 90)]
    assert [s["isActive"] for s in derive(closed, at + 60_000)] == [False]


def test_an_active_session_without_time_has_no_end_yet() -> None:
    now = derive([save("A", 0)], MONDAY_MS + 1000)[0]
    later = derive([save("A", 0)], LATER_MS)[0]
    assert (now["isActive"], now["sessionEndTime"]) == (True, None)
    assert (later["isActive"], later["sessionEndTime"]) == (False, later["sessionStartTime"])


def test_the_future_is_taken_for_the_moment_of_receipt() -> None:
    received = MONDAY_MS + 60_000
    beats = [beat("A", 0), beat("A", 10 * 365 * 86_400, received_ms=received)]
    assert durations(beats) == [("A", 60)]
    nearly = [beat("A", 0), beat("A", 60 + 300, received_ms=received)]
    assert durations(nearly) == [("A", 360)]


def test_a_clock_that_was_years_ahead_leaves_no_session_active() -> None:
    ahead = [beat("A", 10 * 365 * 86_400), beat("A", 10 * 365 * 86_400 + 60)]
    assert [s["isActive"] for s in derive(ahead, MONDAY_MS)] == [False]


def test_a_session_ends_after_eight_hours_and_loses_no_time() -> None:
    beats = [beat("A", seconds) for seconds in range(0, 20 * HOUR + 1, 300)]
    found = durations(beats)
    assert len(found) == 3
    assert sum(seconds for _, seconds in found) == 20 * HOUR
    assert max(seconds for _, seconds in found) == LONGEST_MS // 1000


def test_saves_join_an_editors_session_only_within_the_window() -> None:
    edits = [beat("A", 1000), beat("A", 1060)]
    for seconds, is_alone in [(879, True), (880, False), (1000, False), (1070, False), (1071, True)]:
        sessions = derive([*edits, save("A", seconds)])
        assert ({s["editor"] for s in sessions} == {"vscode", "fs"}) == is_alone, seconds
    assert {s["editor"] for s in derive([*edits, save("B", 1000)])} == {"vscode", "fs"}


def test_a_save_that_the_editor_reported_is_counted_once() -> None:
    (session,) = derive([beat("A", 0, is_write=True), beat("A", 60), save("A", 0.2), save("A", 58)])
    assert session["writes"] == 2


def test_time_without_an_editor_is_the_file_systems() -> None:
    (session,) = derive([save("A", 0), save("A", 60), save("A", 120)])
    assert (session["editor"], session["totalDuration"], session["writes"]) == ("fs", 120, 3)
    assert session["sources"] == ["filesystem"]


def test_the_file_system_gives_way_where_an_editor_accounts_for_the_time() -> None:
    sessions = derive([save("log", 0), save("log", 300), save("log", 500), beat("A", 100), beat("A", 350)])
    by_editor = {s["editor"]: s for s in sessions}
    assert by_editor["fs"]["activeSegments"] == [
        [MONDAY_MS, MONDAY_MS + 100_000],
        [MONDAY_MS + 350_000, MONDAY_MS + 500_000],
    ]
    assert by_editor["fs"]["totalDuration"] == 250
    assert by_editor["vscode"]["totalDuration"] == 250


def test_files_that_a_tool_writes_at_once_are_nobodys_work() -> None:
    few = [save(f"{n}.py", n / 100) for n in range(BURST_FILES)]
    assert len(derive(few)) == BURST_FILES
    assert derive([*few, save("last.py", 0.9)]) == []


def test_history_is_only_an_estimate_and_gives_way_to_everything() -> None:
    estimate = commit("A", 0, 1800, lines_added=10)
    (alone,) = derive([estimate])
    assert (alone["totalDuration"], alone["linesAdded"], alone["statsQuality"]) == (1800, 10, "exact")
    assert (alone["editor"], alone["sources"], alone["isActive"]) == ("git", ["git"], False)
    both = {
        s["editor"]: s for s in derive([estimate, beat("A", 600), beat("A", 1000), save("B", 1200), save("B", 1500)])
    }
    assert both["git"]["totalDuration"] == 1800 - 400 - 300
    covered = derive([estimate, *(beat("B", seconds) for seconds in range(0, 1801, 300))])
    assert [s["editor"] for s in covered] == ["vscode"]


def test_spans_of_one_file_that_touch_are_one_session() -> None:
    (session,) = derive([commit("A", 0, 600), commit("A", 600, 900)])
    assert session["activeSegments"] == [[MONDAY_MS, MONDAY_MS + 900_000]]


def test_lines_are_counted_as_told_or_from_the_length_of_the_file() -> None:
    (told,) = derive([beat("A", 0, lines_added=5, lines_deleted=1), beat("A", 60, lines_added=2)])
    assert (told["linesAdded"], told["linesDeleted"], told["statsQuality"]) == (7, 1, "net")
    (length,) = derive([beat("A", 0, lines=100), beat("A", 60, lines=110), beat("A", 90, lines=107)])
    assert (length["linesAdded"], length["linesDeleted"], length["statsQuality"]) == (10, 3, "net")
    (unknown,) = derive([beat("A", 0), beat("A", 60)])
    assert (unknown["linesAdded"], unknown["statsQuality"]) == (0, "none")


def test_the_work_of_an_assistant_is_told_apart() -> None:
    (session,) = derive(
        [beat("A", 0, ai_lines=40, ai_input_tokens=9, ai_session="s"), beat("A", 60, ai_output_tokens=2)]
    )
    assert session["ai"] == {"lineChanges": 40, "inputTokens": 9, "outputTokens": 2, "session": "s"}
    assert session["linesAdded"] == 0


def test_ids_hang_on_device_stream_and_first_observation() -> None:
    beats = [beat("A", 0), beat("A", 60)]
    (one,) = derive(beats)
    (grown,) = derive([*beats, beat("A", 120)])
    (elsewhere,) = derive(beats, device_id="other")
    (earlier,) = derive([beat("A", -60), *beats])
    assert one["id"] == grown["id"]
    assert len({one["id"], elsewhere["id"], earlier["id"]}) == 3


def test_the_zone_of_the_editor_is_kept_with_its_offset() -> None:
    (session,) = derive([beat("A", 0, timezone="Asia/Kathmandu"), beat("A", 60)])
    assert (session["timezone"], session["utcOffsetMinutes"]) == ("Asia/Kathmandu", 345)
    (wrong,) = derive([beat("A", 0, timezone="Mars/../Olympus"), beat("A", 60)])
    assert wrong["utcOffsetMinutes"] is None


@pytest.mark.parametrize(
    ("entity", "name", "extension"),
    [
        ("/p/a.test.TS", "a.test.TS", "ts"),
        ("/p/.gitignore", ".gitignore", ""),
        ("/p/Makefile", "Makefile", ""),
        ("HIDDEN.py", "HIDDEN.py", "py"),
        ("C:/p/a.b", "a.b", "b"),
        ("/p/trailing.", "trailing.", ""),
    ],
)
def test_names_and_extensions(entity: str, name: str, extension: str) -> None:
    (session,) = derive([make_observation(entity, 0, is_write=True)])
    assert (session["filePath"], session["fileName"], session["fileExtension"]) == (entity, name, extension)


def test_web_pages_and_programs_are_not_files() -> None:
    (session,) = derive([make_observation("github.com", s, entity_type="domain") for s in (0, 60)])
    assert (session["fileName"], session["fileExtension"], session["language"]) == ("github.com", "", "Unknown")


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("a.py", "Python"), ("a.ts", "TypeScript"), ("a.tsx", "TypeScript"), ("a.jsx", "JavaScript"), ("a.h", "C"),
        ("a.m", "Objective-C"), ("a.sql", "SQL"), ("a.r", "R"), ("a.R", "R"), ("a.txt", "Text"), ("a.go", "Go"),
        ("go.mod", "Go"), ("Dockerfile", "Docker"), ("Makefile", "Makefile"), ("CMakeLists.txt", "CMake"),
        ("a.svelte", "Svelte"), ("a.unheard-of", "Unknown"), ("noextension", "Unknown"), ("A.PY", "Python"),
        ("a.d.ts", "TypeScript"), ("x.html", "HTML"), ("a.css", "CSS"), ("a.md", "Markdown"), ("a.fs", "F#"),
        ("a.pl", "Perl"), ("a.rs", "Rust"), ("a.cs", "C#"), ("a.yml", "YAML"), ("a.sh", "Bash"), ("a.vue", "Vue"),
    ],
)  # fmt: skip
def test_languages_by_file_name(name: str, language: str) -> None:
    assert find_language(name) == language


@pytest.mark.parametrize(
    ("told", "name"),
    [("python", "Python"), ("TYPESCRIPTREACT", "TypeScript"), ("golang", "Go"), ("Klingon", "Klingon"), (" ", None)],
)
def test_languages_by_an_editors_word(told: str, name: str | None) -> None:
    assert canonical_language(told) == name


pairs = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: (min(pair), max(pair)))
many_spans = st.lists(pairs, max_size=8)


def instants(these: list[tuple[int, int]]) -> set[int]:
    return {instant for start, end in these for instant in range(start, end)}


@given(one=many_spans, other=many_spans)
def test_span_arithmetic_is_that_of_sets(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    left, right = spans.union(one), spans.union(other)
    assert instants(left) == instants(one)
    assert spans.measure(left) == len(instants(one))
    assert instants(spans.subtract(left, right)) == instants(one) - instants(other)
    assert instants(spans.clip(left, 10, 40)) == instants(one) & set(range(10, 40))
    for result in (left, spans.subtract(left, right)):
        assert all(start < end for start, end in result)
        assert all(one[1] <= two[0] for one, two in pairwise(result))


any_observation = st.one_of(
    st.builds(
        beat,
        st.sampled_from("ABC"),
        st.integers(0, 4 * HOUR),
        editor=st.sampled_from(["vim", "vscode"]),
        is_write=st.booleans(),
        branch=st.sampled_from([None, "main"]),
    ),
    st.builds(save, st.sampled_from("ABC"), st.integers(0, 4 * HOUR)),
    st.integers(0, 4 * HOUR).flatmap(
        lambda start: st.builds(commit, st.sampled_from("AB"), st.just(start), st.integers(start, start + 2 * HOUR))
    ),
)


@settings(max_examples=200, deadline=None)
@given(observations=st.lists(any_observation, max_size=40), randomness=st.randoms())
def test_what_holds_for_any_observations(observations: list[Observation], randomness: object) -> None:
    sessions = derive(observations)
    by_stream: dict[str, list[tuple[int, int]]] = {}
    for session in sessions:
        segments = [(start, end) for start, end in session["activeSegments"]]
        assert all(start < end for start, end in segments)
        assert all(one[1] <= two[0] for one, two in pairwise(segments))
        assert session["totalDuration"] == spans.measure(segments) // 1000
        by_stream.setdefault(session["stream"], []).extend(segments)
    for segments in by_stream.values():
        assert spans.measure(spans.union(segments)) == spans.measure(segments), "two sessions of a stream overlap"
    editors = spans.union(span for stream in ("vim", "vscode") for span in by_stream.get(stream, []))
    saved = spans.union(by_stream.get("fs", []))
    committed = spans.union(by_stream.get("git", []))
    assert spans.subtract(saved, editors) == saved
    assert spans.subtract(committed, spans.union([*editors, *saved])) == committed
    assert len({session["id"] for session in sessions}) == len(sessions)
    # What claims the same millisecond is told apart by arrival; all else has an order of its own.
    if len({o.time_ms for o in observations}) == len(observations):
        shuffled = list(observations)
        randomness.shuffle(shuffled)
        assert derive(shuffled) == sessions
    assert derive(observations + observations) == sessions
