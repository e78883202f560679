"""What the database refuses of one device ends the pull of that device, and of no other."""

import pytest
from sqlalchemy import select

from tests.collectors import ExactCollector, make_session
from tests.sessions.conftest import Pair, by_id, list_stored, pull, read_state
from webapp.adapters.collector_client import CollectorClient
from webapp.extensions import db
from webapp.features.sessions import fetching
from webapp.features.sessions.models import Pull
from webapp.features.sessions.parsing import Parsed


def test_rows_that_the_database_refuses_stop_no_other_device(
    pair: Pair, client: CollectorClient, monkeypatch, caplog
) -> None:
    parse_page = fetching.parse_page

    def parse_oddly(raws, now_ms) -> Parsed:
        parsed = parse_page(raws, now_ms)
        for row in parsed.rows:
            if row["project"] == "poison":
                row["duration_seconds"] = 2**70
        return parsed

    monkeypatch.setattr(fetching, "parse_page", parse_oddly)
    monkeypatch.setattr(fetching, "PAGE_ROWS", 2)
    with ExactCollector() as poisoned, ExactCollector() as other:
        ids = [pair(poisoned), pair(other)]
        poisoned.put(*(make_session(number) for number in range(2)))
        poisoned.put(make_session(2, projectName="poison"), *(make_session(number) for number in range(3, 9)))
        other.put(*(make_session(number) for number in range(9)))
        assert {one.problem for one in pull(client, *ids)} == {"error", None}
        assert list_stored(ids[1]) == by_id(other.sessions)
        assert len(list_stored(ids[0])) == 2, "the page before is kept"
        assert "OverflowError" in caplog.text or "DataError" in caplog.text
        state = read_state(ids[0])
        assert (state.failures, state.lease_expires_at, state.problem) == (1, None, "error")
        assert {pull.status for pull in db.session.scalars(select(Pull).where(Pull.device_id == ids[0]))} == {"failed"}
        monkeypatch.setattr(fetching, "parse_page", parse_page)
        assert pull(client, ids[0])[0].problem is None
        assert list_stored(ids[0]) == by_id(poisoned.sessions)


@pytest.mark.parametrize("name", ["nextCursor", "epoch"])
def test_cursor_that_postgresql_cannot_hold_is_told_on(pair: Pair, client: CollectorClient, name: str) -> None:
    with ExactCollector() as collector:
        device_id = pair(collector)
        real = collector.export
        collector.export = lambda asked: real(asked) | {name: "a\0b"}  # type: ignore[method-assign]
        assert pull(client, device_id)[0].problem == "bad_answer"
