"""`flask user ...` and `flask token ...`."""

import pytest
from flask import Flask

from webapp.features.accounts import service as accounts
from webapp.features.accounts.models import Account

PASSWORD = "correct horse battery"


@pytest.mark.parametrize("is_admin", [True, False])
def test_user_create_reads_the_password_from_standard_input(app: Flask, is_admin: bool) -> None:
    words = ["user", "create", "ada", "--password-stdin", *(["--admin"] if is_admin else [])]
    result = app.test_cli_runner().invoke(args=words, input=f"{PASSWORD}\n")
    assert (result.exit_code, result.output) == (0, "ada can sign in now.\n")
    made = accounts.find_account_by_password("ada", PASSWORD)
    assert made is not None
    assert made.is_admin is is_admin


@pytest.mark.parametrize(
    ("name", "password", "sentence"),
    [("owner", PASSWORD, "already an account"), ("ada", "short", "at least 10"), ("a b", PASSWORD, "letters, digits")],
)
def test_user_create_says_why_not(app: Flask, owner: Account, name: str, password: str, sentence: str) -> None:
    result = app.test_cli_runner().invoke(args=["user", "create", name, "--password-stdin"], input=password)
    assert result.exit_code == 1
    assert sentence in result.output
    assert "Traceback" not in result.output


def test_user_password_replaces_a_forgotten_one(app: Flask, owner: Account) -> None:
    token = accounts.sign_in(owner.id, user_agent="", address="")
    words = ["user", "password", "owner", "--password-stdin"]
    assert app.test_cli_runner().invoke(args=words, input="a new long password").exit_code == 0
    assert accounts.find_account_by_password("owner", "a new long password") == owner
    assert accounts.find_browser_session(token) is None


def test_token_create_prints_the_token_and_nothing_else(app: Flask, owner: Account) -> None:
    result = app.test_cli_runner().invoke(args=["token", "create", "--user", "Owner", "--label", "script"])
    assert result.exit_code == 0
    found = accounts.find_api_token(result.stdout.removesuffix("\n"))
    assert found is not None
    assert (found.account, found.label) == (owner, "script")


def test_token_create_for_nobody_prints_no_token(app: Flask) -> None:
    result = app.test_cli_runner().invoke(args=["token", "create", "--user", "nobody", "--label", "script"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "There is no account called nobody." in result.stderr
