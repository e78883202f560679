"""Every rule of pairing codes: what a claim gets, what a guess costs, and who wins a race."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select

from collector import wire
from tests.devices.factory import LOOPBACK, make_claim, pair
from webapp.config import current_config
from webapp.errors import Invalid, MusterError, NotFound, TooMany
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices import service as devices
from webapp.features.devices.models import Device, Link, PairingCode
from webapp.lib.secrets import keyed_hash

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
SAME_ANSWER = "Code not valid or expired."
WRONG = "ZZZZZZ"


@pytest.fixture
def clock():
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


def claim(code: str, **changes) -> wire.ClaimAnswer:
    return devices.claim_code(make_claim(code, **changes), address=LOOPBACK)


def refusal(code: str, **changes) -> MusterError:
    with pytest.raises((NotFound, TooMany)) as caught:
        claim(code, **changes)
    return caught.value


def test_code_is_unambiguous_and_only_its_hash_is_stored(owner: Account) -> None:
    made, code = devices.create_code(owner.id)
    assert len(code) == 6
    assert set(code) <= set(wire.CODE_ALPHABET)
    assert made.code_hash == keyed_hash(current_config().hub_key, "pairing-code", code)
    assert made.expires_at - made.created_at == timedelta(minutes=10)


def test_claim_makes_device_and_link(owner: Account) -> None:
    _, code = devices.create_code(owner.id)
    answer = claim(code, device_id="machine-1", name="studio", platform="linux", version="1.2.3", port=8003)
    assert (answer.device_id, answer.poll_interval, answer.hub_name) == ("machine-1", 5, "Muster")
    assert answer.token.startswith("mct_")
    assert len(answer.token) >= 47
    assert len(answer.pull_secret) >= 32
    device = devices.get_device(owner.id, "machine-1")
    assert device.is_paired
    assert (device.name, device.platform, device.version) == ("studio", "linux", "1.2.3")
    assert (device.host, device.port) == (LOOPBACK, 8003)
    link = devices.find_link(answer.token)
    assert link is not None
    assert devices.pull_secret(link) == answer.pull_secret
    assert devices.find_code(owner.id, code).status == "claimed"
    assert devices.find_code(owner.id, code).device_id == "machine-1"


def test_neither_token_nor_secret_is_in_the_database(owner: Account) -> None:
    answer = pair(owner.id)
    link = db.session.scalars(select(Link)).one()
    stored = (link.token_hash, link.salt)
    for secret in (answer.token, answer.token.removeprefix("mct_"), answer.pull_secret):
        assert all(secret.encode() not in value for value in stored)


@pytest.mark.parametrize("spell", [str.lower, lambda code: f" {code[:3]}-{code[3:].lower()}\n"])
def test_code_may_be_typed_with_dashes_and_in_lower_case(owner: Account, spell: Callable[[str], str]) -> None:
    _, code = devices.create_code(owner.id)
    assert claim(spell(code)).token
    assert devices.find_code(owner.id, spell(code)).status == "claimed"


def test_wrong_used_and_expired_codes_get_one_same_answer(owner: Account, clock) -> None:
    _, expired = devices.create_code(owner.id)
    clock.shift(601)
    assert devices.find_code(owner.id, expired).status == "expired"
    _, used = devices.create_code(owner.id)
    claim(used, device_id="first")
    answers = [refusal(WRONG), refusal(expired), refusal(used, device_id="second")]
    assert {(type(answer), answer.detail, answer.code) for answer in answers} == {(NotFound, SAME_ANSWER, "bad_code")}
    assert devices.find_code(owner.id, used).device_id == "first"


def test_code_lives_ten_minutes(owner: Account, clock) -> None:
    _, code = devices.create_code(owner.id)
    clock.shift(599)
    assert devices.find_code(owner.id, code).status == "waiting"
    assert claim(code).token


def test_fourth_open_code_ends_the_oldest(owner: Account, stranger: Account) -> None:
    _, other = devices.create_code(stranger.id)
    codes = [devices.create_code(owner.id)[1] for _ in range(4)]
    assert [devices.find_code(owner.id, code).status for code in codes] == ["expired"] + ["waiting"] * 3
    assert devices.find_code(stranger.id, other).status == "waiting"
    assert refusal(codes[0]).detail == SAME_ANSWER


def test_five_wrong_tries_kill_the_open_codes(owner: Account, stranger: Account, clock) -> None:
    _, code = devices.create_code(owner.id)
    _, other = devices.create_code(stranger.id)
    assert [refusal(WRONG).code for _ in range(5)] == ["bad_code"] * 5
    assert devices.find_code(owner.id, code).status == "expired"
    for guess in (code, other, WRONG):
        answer = refusal(guess)
        assert isinstance(answer, TooMany)
        assert answer.retry_after_seconds == 601
    assert db.session.scalars(select(Device)).all() == []


def test_killing_is_over_after_ten_minutes_or_with_a_new_code(owner: Account, clock) -> None:
    _, killed = devices.create_code(owner.id)
    for _ in range(5):
        refusal(WRONG)
    _, fresh = devices.create_code(owner.id)
    assert refusal(WRONG).code == "bad_code"
    assert claim(fresh).token
    assert isinstance(refusal(killed), TooMany)
    clock.shift(600)
    assert refusal(killed).code == "bad_code"


def test_guess_without_any_open_code_costs_nothing_later(owner: Account) -> None:
    for _ in range(20):
        assert refusal(WRONG).code == "bad_code"
    _, code = devices.create_code(owner.id)
    assert claim(code).token


def test_refused_guess_is_counted(owner: Account) -> None:
    made, _ = devices.create_code(owner.id)
    refusal(WRONG)
    assert made.wrong_tries == 1


def test_lost_reply_is_answered_again(owner: Account, clock) -> None:
    _, code = devices.create_code(owner.id)
    first = claim(code, device_id="machine-1")
    clock.shift(590)
    second = claim(code, device_id="machine-1")
    assert second.device_id == first.device_id
    assert second.token != first.token
    dead, live = devices.find_link(first.token), devices.find_link(second.token)
    assert dead is not None
    assert dead.revoked_at is not None
    assert live is not None
    assert live.revoked_at is None
    assert len(devices.list_devices(owner.id)) == 1


def test_lost_reply_is_answered_again_though_the_hub_gave_another_id(owner: Account, stranger: Account) -> None:
    pair(stranger.id, device_id="machine-1")
    _, code = devices.create_code(owner.id)
    first = claim(code, device_id="machine-1")
    assert first.device_id != "machine-1"
    assert claim(code, device_id="machine-1").device_id == first.device_id
    assert len(devices.list_devices(owner.id)) == 1


def test_claiming_again_is_refused_once_the_link_is_used(owner: Account) -> None:
    _, code = devices.create_code(owner.id)
    first = claim(code, device_id="machine-1")
    assert devices.find_link(first.token) is not None
    assert refusal(code, device_id="machine-1").detail == SAME_ANSWER
    link = devices.find_link(first.token)
    assert link is not None
    assert link.revoked_at is None


def test_claiming_again_is_refused_after_ten_minutes(owner: Account, clock) -> None:
    _, code = devices.create_code(owner.id)
    claim(code, device_id="machine-1")
    clock.shift(600)
    assert refusal(code, device_id="machine-1").detail == SAME_ANSWER


def test_claiming_again_is_refused_after_unpairing(owner: Account) -> None:
    _, code = devices.create_code(owner.id)
    claim(code, device_id="machine-1")
    devices.unpair_device(owner.id, "machine-1")
    assert refusal(code, device_id="machine-1").detail == SAME_ANSWER


def test_same_machine_of_the_same_account_goes_on(owner: Account) -> None:
    first = pair(owner.id, device_id="machine-1", name="studio", port=8001)
    devices.rename_device(owner.id, "machine-1", "desk")
    devices.record_endpoint("machine-1", "http://127.0.0.1:8001", START)
    epoch = devices.get_device(owner.id, "machine-1").settings_epoch
    second = pair(owner.id, device_id="machine-1", name="studio", version="2.0.0", port=8004)
    device = devices.get_device(owner.id, "machine-1")
    assert (device.name, device.version, device.port, device.endpoint_url) == ("desk", "2.0.0", 8004, None)
    assert device.settings_epoch != epoch
    old = devices.find_link(first.token)
    assert old is not None
    assert old.revoked_at is not None
    assert second.pull_secret != first.pull_secret


def test_unpaired_machine_can_come_back(owner: Account) -> None:
    pair(owner.id, device_id="machine-1")
    devices.unpair_device(owner.id, "machine-1")
    pair(owner.id, device_id="machine-1")
    assert devices.get_device(owner.id, "machine-1").is_paired
    assert devices.find_active_link("machine-1") is not None


def test_id_of_somebody_elses_machine_is_not_taken_over(owner: Account, stranger: Account) -> None:
    theirs = pair(stranger.id, device_id="machine-1")
    mine = pair(owner.id, device_id="machine-1")
    assert mine.device_id != "machine-1"
    assert devices.get_device(owner.id, mine.device_id).account_id == owner.id
    link = devices.find_link(theirs.token)
    assert link is not None
    assert link.revoked_at is None
    assert link.device.account_id == stranger.id
    with pytest.raises(NotFound):
        devices.get_device(owner.id, "machine-1")


def test_codes_of_others_cannot_be_looked_at(owner: Account, stranger: Account) -> None:
    _, code = devices.create_code(owner.id)
    for asked in (code, WRONG):
        with pytest.raises(NotFound) as caught:
            devices.find_code(stranger.id, asked)
        assert caught.value.detail == "There is no such code. Make a new one."


def test_old_codes_are_removed(owner: Account, clock) -> None:
    devices.create_code(owner.id)
    clock.shift(86_400 + 601)
    devices.create_code(owner.id)
    assert len(db.session.scalars(select(PairingCode)).all()) == 1


@pytest.mark.parametrize("name", ["x" * 201, "x" * 5000, "", "  ", "\u202e\u2066\x00"])
def test_name_that_cannot_be_read_is_refused_before_the_code_is_used(owner: Account, name: str) -> None:
    _, code = devices.create_code(owner.id)
    with pytest.raises(Invalid) as caught:
        claim(code, name=name)
    assert caught.value.field == "name"
    assert devices.find_code(owner.id, code).status == "waiting"


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("\u202estudio\u2069", "studio"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        (" Ada's\n\tThinkPad\x07 \u200f", "Ada's ThinkPad"),
        (
            "\u0421\u0442\u0443\u0434\u0438\u044f \u5de5\u4f5c\u5ba4",
            "\u0421\u0442\u0443\u0434\u0438\u044f \u5de5\u4f5c\u5ba4",
        ),
    ],
)
def test_name_keeps_what_people_can_read(owner: Account, told: str, kept: str) -> None:
    answer = pair(owner.id, name=told)
    assert devices.get_device(owner.id, answer.device_id).name == kept


@pytest.mark.parametrize("port", [1, 22, 1023])
def test_port_of_a_system_service_is_refused(owner: Account, port: int) -> None:
    _, code = devices.create_code(owner.id)
    with pytest.raises(Invalid, match="Address not allowed") as caught:
        claim(code, port=port)
    assert caught.value.field == "port"


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("192.168.1.7", "192.168.1.7"),
        ("::ffff:192.168.1.7", "192.168.1.7"),
        ("::1", "::1"),
        ("100.64.3.4", "100.64.3.4"),
        ("169.254.3.4", None),
        ("fe80::1%eth0", None),
        ("8.8.8.8", None),
        ("", None),
    ],
)
def test_claim_is_called_back_only_where_that_is_allowed(owner: Account, address: str, host: str | None) -> None:
    answer = pair(owner.id, address=address)
    assert devices.get_device(owner.id, answer.device_id).host == host


@pytest.mark.parametrize("ids", [("a", "b", "c", "d"), ("same", "same", "same", "same")])
def test_one_of_several_claims_at_once_wins(app: Flask, owner: Account, ids: tuple[str, ...]) -> None:
    _, code = devices.create_code(owner.id)
    db.session.rollback()
    barrier = threading.Barrier(len(ids))
    won: list[wire.ClaimAnswer] = []
    lost: list[MusterError] = []

    def run(device_id: str) -> None:
        with app.app_context():
            barrier.wait()
            try:
                won.append(claim(code, device_id=device_id))
            except (NotFound, TooMany) as error:
                lost.append(error)

    threads = [threading.Thread(target=run, args=(device_id,)) for device_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    is_same = len(set(ids)) == 1  # then the later ones are the retry of a lost reply
    assert len(won) == (len(ids) if is_same else 1)
    assert len(won) + len(lost) == len(ids)
    live = db.session.scalars(select(Link).where(Link.revoked_at.is_(None))).all()
    assert len(live) == 1
    assert [device.id for device in devices.list_devices(owner.id)] == [won[0].device_id]
