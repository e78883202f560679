"""An export file as a road: believed only whole and proven, read page by page, and as exact as the machine itself."""

import gzip
import tracemalloc
import zlib
from pathlib import Path

import msgspec
import pytest

from collector import wire
from tests.sessions.export_files import DAY_MS, HOUR_MS, MONDAY_MS, SECRET, Laptop, read_lines, sign, write_lines
from webapp.adapters import export_file
from webapp.adapters.export_file import CHANGED, CUT_SHORT, DAMAGED, NEWER, NOT_ONE, TOO_LARGE, BadExportFile
from webapp.features.sessions.file_road import FileRoad

DEVICE = "0b6f7c1e-laptop"


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    """A paired machine with seven sessions on three days."""
    made = Laptop(tmp_path)
    made.pair(DEVICE, SECRET)
    for number in range(7):
        made.work(f"part{number}", MONDAY_MS + number // 3 * DAY_MS + number % 3 * HOUR_MS)
    return made


def open_file(path: Path) -> FileRoad:
    return FileRoad(path, SECRET, device_id=DEVICE)


def refuse(path: Path) -> str:
    """Why the file is not believed."""
    with pytest.raises(BadExportFile) as raised:
        open_file(path)
    return raised.value.detail


def walk(road: FileRoad, **request: object) -> list[wire.ExportPage]:
    """Every page by cursor."""
    pages = [road.export(wire.ExportRequest(**request))]
    while pages[-1].has_more:
        pages.append(road.export(wire.ExportRequest(cursor=pages[-1].next_cursor, **request)))
    return pages


def ids(pages: list[wire.ExportPage]) -> list[str]:
    return [msgspec.json.decode(raw)["id"] for page in pages for raw in page.sessions]


def test_it_answers_as_the_machine_would(laptop: Laptop) -> None:
    road = open_file(laptop.write(rows=3))
    pages = walk(road)
    assert [len(page.sessions) for page in pages] == [3, 3, 1]
    sessions = [msgspec.json.decode(raw) for page in pages for raw in page.sessions]
    assert sorted(sessions, key=lambda session: session["id"]) == laptop.list_sessions()
    assert {page.epoch for page in pages} == {laptop.store.identity.epoch}
    assert road.ends_ms == wire.parse_ms(pages[-1].last_sync_time)
    again = road.export(wire.ExportRequest(cursor=pages[-1].next_cursor))
    assert (again.sessions, again.has_more, again.next_cursor) == ([], False, pages[-1].next_cursor)


def test_any_page_can_be_asked_for_again(laptop: Laptop) -> None:
    road = open_file(laptop.write(rows=2))
    pages = walk(road)
    assert ids([road.export(wire.ExportRequest(cursor=pages[1].next_cursor))]) == ids(pages[2:3])
    assert ids([road.export(wire.ExportRequest(cursor=pages[0].next_cursor))]) == ids(pages[1:2])
    assert ids([road.export(wire.ExportRequest(cursor="of-a-live-pull"))]) == ids(pages[:1])
    assert not road.export(wire.ExportRequest(cursor="of-a-live-pull")).reset


def test_a_window_keeps_what_starts_in_it(laptop: Laptop) -> None:
    road = open_file(laptop.write(rows=2))
    window = {
        "started_from": wire.format_ms(MONDAY_MS + DAY_MS),
        "started_before": wire.format_ms(MONDAY_MS + 2 * DAY_MS),
    }
    found = ids(walk(road, **window))
    asked = wire.ExportRequest(limit=100, **window)
    assert sorted(found) == sorted(session["id"] for session in laptop.store.export(asked)["sessions"])
    assert len(found) == 3


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/St_Johns"])
def test_it_covers_each_day_as_the_machine_does(laptop: Laptop, zone: str) -> None:
    laptop.run(MONDAY_MS - 2 * HOUR_MS, MONDAY_MS + 9 * HOUR_MS)
    laptop.run(MONDAY_MS + 20 * HOUR_MS, MONDAY_MS + 3 * DAY_MS)
    laptop.work("part1", MONDAY_MS + HOUR_MS, minutes=9)
    road = open_file(laptop.write(rows=3))
    cursors = [None, *(page.next_cursor for page in walk(road))]
    for first, last in (("1970-01-01", "2026-01-31"), ("2026-01-06", "2026-01-06")):
        for cursor in cursors:
            asked = wire.CoverageRequest(timezone=zone, first=first, last=last, cursor=cursor)
            ours, theirs = road.cover(asked), laptop.store.cover(asked)
            assert (ours.days, ours.epoch, ours.reset) == (theirs.days, theirs.epoch, False)
    assert road.cover(wire.CoverageRequest(timezone=zone, first=first, last=last, cursor="of-a-live-pull")).reset


def test_a_session_that_stands_on_two_pages_counts_as_its_last_version(laptop: Laptop) -> None:
    head, page, _ = read_lines(laptop.write())
    sessions = msgspec.json.decode(page)["sessions"]
    later = sessions[0] | {"changedAt": wire.format_ms(MONDAY_MS + 30 * DAY_MS)}
    first = msgspec.json.decode(page) | {"hasMore": True, "nextCursor": "one"}
    second = msgspec.json.decode(page) | {"sessions": [later, sessions[1] | {"deleted": True}], "nextCursor": "two"}
    lines = sign([head, *(msgspec.json.encode(one) + b"\n" for one in (first, second))], SECRET)
    road = open_file(write_lines(laptop.folder / "x.muster", lines))
    asked = wire.CoverageRequest(timezone="UTC", first="2026-01-05", last="2026-01-05", cursor="one")
    (day,) = road.cover(asked).days
    kept = [later, sessions[2]]
    told = [(one["id"], wire.parse_ms(one["changedAt"]), wire.parse_ms(one["sessionStartTime"])) for one in kept]
    assert (day.sessions, day.digest, day.pending) == (2, wire.digest_sessions(told), 2)


def test_another_machine_another_pairing_and_a_newer_format_are_refused(laptop: Laptop) -> None:
    path = laptop.write()
    with pytest.raises(BadExportFile) as raised:
        FileRoad(path, SECRET, device_id="another-device")
    assert "another machine" in raised.value.detail
    with pytest.raises(BadExportFile) as raised:
        FileRoad(path, "the secret of the pairing before this one", device_id=DEVICE)
    assert raised.value.detail == CHANGED
    head, *rest = read_lines(path)
    newer = msgspec.json.encode(msgspec.json.decode(head) | {"version": 2, "deviceId": {"moved": True}}) + b"\n"
    assert refuse(write_lines(path, [newer, *rest])) == NEWER


def test_what_was_cut_is_refused_wherever_it_was_cut(laptop: Laptop) -> None:
    path = laptop.write(rows=2)
    whole = path.read_bytes()
    for length in range(20, len(whole) - 1, 37):
        path.write_bytes(whole[:length])
        assert refuse(path) == CUT_SHORT, length
    path.write_bytes(whole)
    lines = read_lines(path)
    for count in range(1, len(lines)):
        assert refuse(write_lines(path, lines[:count])) in (CUT_SHORT, CHANGED), count
    assert refuse(write_lines(path, [lines[0], *lines[2:]])) == CHANGED


def test_a_changed_byte_anywhere_is_refused(laptop: Laptop) -> None:
    path = laptop.write(rows=2)
    lines = read_lines(path)
    text = b"".join(lines)
    for place in range(0, len(text) - 1, 61):
        changed = bytearray(text)
        changed[place] ^= 1
        path.write_bytes(gzip.compress(bytes(changed)))
        assert refuse(path), place
    packed = gzip.compress(text)
    for place in range(12, len(packed), 17):
        changed = bytearray(packed)
        changed[place] ^= 4
        path.write_bytes(bytes(changed))
        assert refuse(path), place
    changed = bytearray(packed)
    changed[-6] ^= 4
    path.write_bytes(bytes(changed))
    assert refuse(path) == DAMAGED


def test_what_is_no_export_file_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "x.muster"
    for content in (
        b"",
        b"PK\x03\x04 a zip",
        b"\x1f\x8b",
        gzip.compress(b""),
        gzip.compress(b"hello\n"),
        gzip.compress(b"[1]\n"),
    ):
        path.write_bytes(content)
        assert refuse(path) in (NOT_ONE, CUT_SHORT), content
    path.write_bytes(gzip.compress(b'{"version": 1, "format": "another"}\n'))
    assert refuse(path) == NOT_ONE


def test_a_bomb_is_never_unpacked(tmp_path: Path, laptop: Laptop) -> None:
    path = tmp_path / "bomb.muster"
    head = read_lines(laptop.write())[0]
    for start in (b"", head):
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        with path.open("wb") as file:
            file.write(packer.compress(start))
            for _ in range(300):
                file.write(packer.compress(bytes(1024 * 1024)))
            file.write(packer.flush())
        assert path.stat().st_size < 400_000
        tracemalloc.start()
        assert refuse(path) == (TOO_LARGE if start else NOT_ONE)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 40_000_000


def test_more_than_the_whole_bound_is_refused(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> None:
    path = laptop.write(rows=1)
    monkeypatch.setattr(export_file, "WHOLE_BYTES", 2000)
    assert refuse(path) == TOO_LARGE


def test_more_pages_or_sessions_than_any_collector_has_are_refused(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four gigabytes of empty pages would be fifty million cursors in memory."""
    path = laptop.write(rows=1)
    for bound in ("MOST_PAGES", "MOST_SESSIONS"):
        with monkeypatch.context() as patch:
            patch.setattr(export_file, bound, 6)
            assert refuse(path) == TOO_LARGE
    assert open_file(path).file.tail.sessions == 7


def test_what_the_system_does_not_let_it_read_is_refused(tmp_path: Path) -> None:
    assert refuse(tmp_path) == "The hub cannot read the file: Is a directory."


def test_times_outside_of_any_calendar_spoil_no_day(laptop: Laptop) -> None:
    head, line, _ = read_lines(laptop.write())
    page = msgspec.json.decode(line)
    strange = [
        page["sessions"][0] | {"id": f"s{n}", "sessionStartTime": at}
        for n, at in enumerate(("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"))
    ]
    page["sessions"] += strange
    runs = [(-(2**62), MONDAY_MS - DAY_MS), (MONDAY_MS, MONDAY_MS + HOUR_MS), (MONDAY_MS, 2**62), (5, 1)]
    lines = sign([head, msgspec.json.encode(page) + b"\n"], SECRET, runs=runs * 2000)
    road = open_file(write_lines(laptop.folder / "strange.muster", lines))
    for zone in ("America/New_York", "Pacific/Kiritimati"):
        answer = road.cover(wire.CoverageRequest(timezone=zone, first="2026-01-01", last="2026-01-31"))
        assert sum(day.sessions for day in answer.days) == 7
        assert sum(day.ran_seconds for day in answer.days) == 30 * 86_400


def test_only_a_page_is_in_memory_at_a_time(laptop: Laptop) -> None:
    head, page, _ = read_lines(laptop.write())
    one = msgspec.json.decode(page)
    session = one["sessions"][0] | {"filePath": "/p/" + "x" * 20_000}
    pages = []
    for number in range(60):
        full = one | {"sessions": [session] * 50, "hasMore": number < 59, "nextCursor": f"c{number}"}
        pages.append(msgspec.json.encode(full) + b"\n")
    path = write_lines(laptop.folder / "large.muster", sign([head, *pages], SECRET))
    del pages
    tracemalloc.start()
    road = open_file(path)
    asked, count = wire.ExportRequest(), 0
    while (answer := road.export(asked)).has_more:
        count += len(answer.sessions)
        asked = wire.ExportRequest(cursor=answer.next_cursor)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 59 * 50
    assert peak < 12_000_000 < sum(len(line) for line in read_lines(path)) / 4
