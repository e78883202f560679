"""API tokens: shown once, found by text, closed for good."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from webapp.errors import Invalid, NotFound
from webapp.features.accounts import service as accounts
from webapp.features.accounts.models import Account


def test_token_opens_its_account_and_is_not_stored(owner: Account) -> None:
    made, secret = accounts.create_api_token(owner.id, "  status line\u202e ")
    assert made.label == "status line"
    assert secret.startswith(made.prefix)
    assert len(secret) > len(made.prefix) + 30
    assert secret.encode() not in made.token_hash
    found = accounts.find_api_token(secret)
    assert found is not None
    assert found.account == owner


@pytest.mark.parametrize("text", ["", "mat_", "mat_guess", "eyJhbGciOiJub25lIn0.e30.", "\u2603"])
def test_other_text_opens_nothing(owner: Account, text: str) -> None:
    accounts.create_api_token(owner.id, "script")
    assert accounts.find_api_token(text) is None


@pytest.mark.parametrize("label", ["", " ", "\n\t", "x" * 101])
def test_label_is_needed(owner: Account, label: str) -> None:
    with pytest.raises(Invalid) as caught:
        accounts.create_api_token(owner.id, label)
    assert caught.value.field == "label"


def test_use_is_noted_once_a_minute(owner: Account) -> None:
    start = datetime(2026, 3, 1, 9, tzinfo=UTC)
    made, secret = accounts.create_api_token(owner.id, "script")
    assert made.last_used_at is None
    for seconds, noted in ((0, 0), (60, 0), (61, 61)):
        with time_machine.travel(start + timedelta(seconds=seconds), tick=False):
            found = accounts.find_api_token(secret)
            assert found is not None
            assert found.last_used_at == start + timedelta(seconds=noted)


def test_revoked_token_is_dead_and_gone_from_the_list(owner: Account, stranger: Account) -> None:
    made, secret = accounts.create_api_token(owner.id, "script")
    kept, _ = accounts.create_api_token(owner.id, "other script")
    with pytest.raises(NotFound):
        accounts.revoke_api_token(stranger.id, made.id)
    accounts.revoke_api_token(owner.id, made.id)
    assert accounts.find_api_token(secret) is None
    assert accounts.list_api_tokens(owner.id) == [kept]
    assert accounts.list_api_tokens(stranger.id) == []
    with pytest.raises(NotFound):
        accounts.revoke_api_token(owner.id, made.id)
