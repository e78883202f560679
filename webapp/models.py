"""Index of every feature's models, for Alembic and the shell. No code."""

from webapp.features.accounts.models import Account, ApiToken, BrowserSession
from webapp.features.devices.models import Device, Link, PairingCode, RelayedCall, Sighting
from webapp.features.jobs.models import Job, JobEvent, ProcessBeat
from webapp.features.sessions.models import (
    CountedZone,
    CoverageState,
    CoveredDay,
    DayTotal,
    KnownName,
    Pull,
    PullState,
    QuarantinedSession,
    Restart,
    StaleDay,
    StoredSession,
)

__all__ = [
    "Account",
    "ApiToken",
    "BrowserSession",
    "CountedZone",
    "CoverageState",
    "CoveredDay",
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
    "RelayedCall",
    "Restart",
    "Sighting",
    "StaleDay",
    "StoredSession",
]
