"""Pairing: a person makes a code, a machine claims it."""

from datetime import datetime
from typing import Literal

import msgspec
from flask import Blueprint, request

from collector import wire
from webapp.blueprints.access import current_account
from webapp.blueprints.api.endpoint import endpoint
from webapp.blueprints.api.throttle import allow
from webapp.features.devices import service as devices

calls = Blueprint("api_pairing", __name__)

CLAIMS_PER_ADDRESS = "10/minute"
CLAIMS_IN_ALL = "60/minute"
LOOKS_PER_CODE = "5/second"


class NewCode(msgspec.Struct, kw_only=True):
    """A code to type at the machine; single use."""

    code: str
    expires_at: datetime


class CodeState(msgspec.Struct, kw_only=True):
    """What became of a code."""

    status: Literal["waiting", "claimed", "expired"]
    expires_at: datetime
    device_id: str | None = None


@endpoint(calls, "POST", "/api/pair/codes", answers={201: NewCode}, errors=(429,), summary="Make a pairing code.")
def create_code() -> NewCode:
    made, code = devices.create_code(current_account().id)
    return NewCode(code=code, expires_at=made.expires_at)


@endpoint(
    calls,
    "GET",
    "/api/pair/codes/<pairing_code:code>",
    answers={200: CodeState},
    errors=(429,),
    summary="Whether a code still waits, and which device claimed it.",
)
def find_code(code: str) -> CodeState:
    account = current_account()
    slow_down = "Ask once in two seconds at most."
    allow(LOOKS_PER_CODE, "pair-look", str(account.id), detail=slow_down, code="slow_down")
    found = devices.find_code(account.id, code)
    return CodeState(status=found.status, expires_at=found.expires_at, device_id=found.device_id)


@endpoint(
    calls,
    "POST",
    "/api/pair/claim",
    audience="public",
    body=wire.ClaimRequest,
    answers={200: wire.ClaimAnswer},
    errors=(404, 429),
    summary="Redeem a pairing code for this machine's credentials. Called by a collector.",
)
def claim_code(body: wire.ClaimRequest) -> wire.ClaimAnswer:
    address = request.remote_addr or ""
    for rate, key in ((CLAIMS_PER_ADDRESS, address), (CLAIMS_IN_ALL, "all")):
        allow(rate, "pair-claim", key, detail="Too many tries. Wait a minute, then make a new code.")
    return devices.claim_code(body, address=address)
