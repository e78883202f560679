"""States of a device as a real pull leaves them."""

from tests.collector_server import Reply
from tests.collectors import ExactCollector, make_session
from tests.sessions.conftest import Pair, pull
from webapp.adapters.collector_client import CollectorClient
from webapp.features.accounts.models import Account
from webapp.features.sessions import service as sessions


class FullCollector(ExactCollector):
    """Its disk is full, until `is_full` is taken back."""

    is_full = True

    def answer(self, request: object) -> Reply:
        """507 to an export, as the collector answers when its database cannot be written."""
        reply = super().answer(request)
        is_export = getattr(request, "path", "") == "/api/sessions/export"
        return Reply({"title": "Insufficient Storage"}, 507) if self.is_full and is_export else reply


def test_a_full_disk_is_told_and_its_pulls_go_on_by_themselves(
    owner: Account, pair: Pair, client: CollectorClient
) -> None:
    with FullCollector() as collector:
        device_id = pair(collector)
        collector.put(make_session(1))
        pull(client, device_id)
        (fresh,) = sessions.freshness(owner.id)
        assert (fresh.state.word, fresh.state.level) == ("Disk full", "problem")
        assert fresh.state.next_try_at is not None and fresh.state.since_at is not None
        collector.is_full = False
        pull(client, device_id)
        assert sessions.freshness(owner.id)[0].state.word == "Up to date"


def test_a_machine_with_one_bad_session_is_quarantining(owner: Account, pair: Pair, client: CollectorClient) -> None:
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(make_session(1), make_session(2, linesAdded="three"))
        pull(client, device_id)
        (fresh,) = sessions.freshness(owner.id)
        assert (fresh.state.word, fresh.quarantined, fresh.road) == ("Quarantining", 1, "direct")
        collector.put(make_session(2))
        pull(client, device_id)
        assert sessions.freshness(owner.id)[0].state.word == "Up to date"
