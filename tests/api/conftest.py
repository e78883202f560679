"""What the API's tests share: callers with a token, a paired machine, and rate limits that start anew."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from collector import wire
from tests.jobs import factory
from webapp.extensions import limiter
from webapp.features.accounts import service as accounts
from webapp.features.accounts.models import Account
from webapp.features.devices import service as devices

Callers = Callable[[Account], "Caller"]


@dataclass
class Caller:
    """A program that calls the API with a bearer token, or with none."""

    client: FlaskClient
    token: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def call(self, method: str, path: str, **given: Any) -> TestResponse:
        """The answer; `json=` or `data=` as Flask's client has them."""
        credential = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        headers = credential | self.headers | given.pop("headers", {})
        return self.client.open(path, method=method, headers=headers, **given)

    def get(self, path: str, **given: Any) -> TestResponse:
        return self.call("GET", path, **given)

    def post(self, path: str, **given: Any) -> TestResponse:
        return self.call("POST", path, **given)


@dataclass
class Machine:
    """A paired collector as the hub's tests need it: what the claim answered, and a caller with its token."""

    link: wire.ClaimAnswer
    caller: Caller

    @property
    def id(self) -> str:
        return self.link.device_id


@pytest.fixture(autouse=True)
def fresh_limits(app: Flask) -> Iterator[None]:
    """No test inherits another's rate limits."""
    limiter.reset()
    yield
    limiter.reset()


@pytest.fixture
def anybody(app: Flask) -> Caller:
    """Somebody without any credential."""
    return Caller(app.test_client())


@pytest.fixture
def caller_of(app: Flask) -> Callers:
    """A script with an API token of an account: `caller_of(owner).get("/api/devices")`."""

    def make(account: Account) -> Caller:
        _, token = accounts.create_api_token(account.id, "test")
        return Caller(app.test_client(), token)

    return make


@pytest.fixture
def script(caller_of: Callers, owner: Account) -> Caller:
    """A script of the owner's."""
    return caller_of(owner)


@pytest.fixture
def outsider(caller_of: Callers, stranger: Account) -> Caller:
    """A script of somebody who must see nothing of the owner's."""
    return caller_of(stranger)


@pytest.fixture
def pair(app: Flask) -> Callable[..., Machine]:
    """Pairs a machine with an account: `pair(owner)`."""

    def make(account: Account, device_id: str = "3f0d6d0e-5a43-4c05-9d0b-6a2f6f1f6b11", name: str = "desk") -> Machine:
        _, code = devices.create_code(account.id)
        link = devices.claim_code(claim(code, device_id, name), address="127.0.0.1")
        return Machine(link, Caller(app.test_client(), link.token))

    return make


@pytest.fixture
def machine(pair: Callable[..., Machine], owner: Account) -> Machine:
    """The owner's paired machine."""
    return pair(owner)


@pytest.fixture
def add_jobs(owner: Account) -> Callable[[int], None]:
    """Gives the owner some waiting jobs."""

    def make(count: int) -> None:
        for number in range(count):
            factory.add(owner, title=f"job {number}")

    return make


def claim(code: str, device_id: str = "3f0d6d0e-5a43-4c05-9d0b-6a2f6f1f6b11", name: str = "desk") -> wire.ClaimRequest:
    """What a collector says when it redeems `code`."""
    return wire.ClaimRequest(code=code, device_id=device_id, name=name, platform="linux", version="0.1.0", port=8001)
