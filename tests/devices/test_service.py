"""A person's machines: what is theirs, and what unpairing and deleting do."""

import pytest
from sqlalchemy import select, text

from tests.devices.factory import add_device, pair
from tests.jobs.factory import add as add_job
from webapp.database import transaction
from webapp.errors import Invalid, NotFound
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices import service as devices
from webapp.features.devices.models import Device, Link
from webapp.features.jobs.models import Job
from webapp.features.sessions.models import Pull, PullState
from webapp.lib import clock


def test_list_is_the_accounts_own_by_name(owner: Account, stranger: Account) -> None:
    for name in ("thinkpad", "Build box", "studio"):
        add_device(owner.id, name=name)
    add_device(stranger.id, name="other")
    assert [device.name for device in devices.list_devices(owner.id)] == ["Build box", "studio", "thinkpad"]


def test_list_can_leave_out_the_unpaired(owner: Account) -> None:
    kept, gone = pair(owner.id), pair(owner.id)
    devices.unpair_device(owner.id, gone.device_id)
    assert [device.id for device in devices.list_devices(owner.id, include_unpaired=False)] == [kept.device_id]
    assert len(devices.list_devices(owner.id)) == 2


def test_nothing_can_be_done_with_somebody_elses_device(owner: Account, stranger: Account) -> None:
    device_id = pair(owner.id).device_id
    for attempt in (
        lambda: devices.get_device(stranger.id, device_id),
        lambda: devices.rename_device(stranger.id, device_id, "mine"),
        lambda: devices.unpair_device(stranger.id, device_id),
        lambda: devices.delete_device(stranger.id, device_id),
        lambda: devices.get_device(owner.id, "no-such-device"),
    ):
        with pytest.raises(NotFound):
            attempt()
    device = devices.get_device(owner.id, device_id)
    assert device.is_paired
    assert device.name == "studio"


def test_rename_cleans_the_name(owner: Account) -> None:
    device = add_device(owner.id)
    assert devices.rename_device(owner.id, device.id, " \u202edesk\n2 ").name == "desk 2"
    for name in ("", "\u200b", "x" * 201):
        with pytest.raises(Invalid):
            devices.rename_device(owner.id, device.id, name)
    assert devices.get_device(owner.id, device.id).name == "desk 2"


def test_unpair_kills_the_token_and_keeps_the_device(owner: Account) -> None:
    answer = pair(owner.id)
    devices.record_endpoint(answer.device_id, "http://127.0.0.1:8001", clock.utc_now())
    devices.unpair_device(owner.id, answer.device_id)
    link = devices.find_link(answer.token)
    assert link is not None
    assert link.revoked_at is not None
    assert devices.find_active_link(answer.device_id) is None
    device = devices.get_device(owner.id, answer.device_id)
    assert not device.is_paired
    assert device.endpoint_url is None
    ended_at = device.unpaired_at
    devices.unpair_device(owner.id, answer.device_id)
    assert devices.get_device(owner.id, answer.device_id).unpaired_at == ended_at


def test_unknown_and_empty_tokens_are_no_link(owner: Account) -> None:
    pair(owner.id)
    for token in ("", "mct_", "mct_guess", "\u2603"):
        assert devices.find_link(token) is None


def test_first_use_of_a_link_is_noted_once(owner: Account) -> None:
    answer = pair(owner.id)
    first = devices.find_link(answer.token)
    assert first is not None
    used_at = first.first_used_at
    assert used_at is not None
    again = devices.find_link(answer.token)
    assert again is not None
    assert again.first_used_at == used_at


def test_active_links_of_many_devices_come_at_once(owner: Account) -> None:
    answers = [pair(owner.id) for _ in range(3)]
    devices.unpair_device(owner.id, answers[2].device_id)
    secrets = devices.find_secrets([answer.device_id for answer in answers])
    assert secrets == {answer.device_id: answer.pull_secret for answer in answers[:2]}


def test_delete_takes_everything_that_came_from_the_device(owner: Account) -> None:
    answer, other = pair(owner.id), pair(owner.id)
    now = clock.utc_now()
    with transaction() as session:
        for device_id in (answer.device_id, other.device_id):
            session.add(PullState(device_id=device_id, due_at=now))
            session.add(Pull(device_id=device_id, started_at=now))
    for device_id in (answer.device_id, other.device_id):
        add_job(owner, device_id=device_id)
    devices.delete_device(owner.id, answer.device_id)
    left = [db.session.scalars(select(kind.device_id)).all() for kind in (PullState, Pull, Job)]
    assert left == [[other.device_id]] * 3
    assert db.session.scalars(select(Device.id)).all() == [other.device_id]


def test_collector_of_a_deleted_device_is_told_to_forget_its_link(owner: Account) -> None:
    answer = pair(owner.id)
    devices.delete_device(owner.id, answer.device_id)
    link = devices.find_link(answer.token)
    assert link is not None
    assert link.revoked_at is not None
    assert link.device is None


def test_deleted_device_can_be_paired_again(owner: Account) -> None:
    pair(owner.id, device_id="machine-1")
    devices.delete_device(owner.id, "machine-1")
    pair(owner.id, device_id="machine-1")
    assert devices.get_device(owner.id, "machine-1").is_paired
    assert len(db.session.scalars(select(Link).where(Link.revoked_at.is_(None))).all()) == 1


def test_farewell_runs_in_the_transaction_that_deletes(owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.features.devices.service._farewells", [])
    device_id = pair(owner.id).device_id

    @devices.before_delete
    def refuse(session, device) -> None:
        session.execute(text("DELETE FROM links"))
        raise RuntimeError(f"keeps {device.id}")

    with pytest.raises(RuntimeError, match=device_id):
        devices.delete_device(owner.id, device_id)
    assert devices.get_device(owner.id, device_id).is_paired
    assert devices.find_active_link(device_id) is not None


def test_editor_has_one_device_per_account(owner: Account, stranger: Account) -> None:
    def add(account: Account, editor: str) -> str:
        account_id = account.id
        with transaction() as session:
            return devices.add_editor(session, account_id, editor, "linux").id

    assert add(owner, "vscode") == add(owner, "vscode")
    assert len({add(owner, "vscode"), add(owner, "vim"), add(stranger, "vscode")}) == 3
    device = devices.get_device(owner.id, add(owner, "vscode"))
    assert (device.kind, device.name, device.is_paired) == ("editor", "vscode", False)


def test_collector_cannot_become_an_editors_device(owner: Account) -> None:
    account_id = owner.id
    with transaction() as session:
        editor_id = devices.add_editor(session, account_id, "vscode", "linux").id
    assert pair(owner.id, device_id=editor_id).device_id != editor_id
