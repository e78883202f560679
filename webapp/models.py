"""Index of every feature's models, for Alembic and the shell. No code."""

from webapp.features.accounts.models import Account, ApiToken, BrowserSession
from webapp.features.devices.models import Device, Link, PairingCode, Sighting
from webapp.features.jobs.models import Job, JobEvent, ProcessBeat
from webapp.features.sessions.models import (
    CountedZone,
    DayTotal,
    KnownName,
    Pull,
    PullState,
    QuarantinedSession,
    StaleDay,
    StoredSession,
)

__all__ = [
    "Account",
    "ApiToken",
    "BrowserSession",
    "CountedZone",
    "DayTotal",
    "Device",
    "Job",
    "JobEvent",
    "KnownName",
    "Link",
    "PairingCode",
    "ProcessBeat",
    "Pull",
    "PullState",
    "QuarantinedSession",
    "Sighting",
    "StaleDay",
    "StoredSession",
]
