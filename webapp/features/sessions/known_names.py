"""The projects and languages of an account, numbered in the order in which they first came, so no list reshuffles."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from webapp.extensions import db
from webapp.features.sessions.day_details import DayDetail
from webapp.features.sessions.models import KnownName
from webapp.features.sessions.upserting import insert_into

KNOWN = select(KnownName.kind, KnownName.name).where(KnownName.account_id == bindparam("of_account"))


@dataclass(frozen=True)
class Filters:
    """What sessions can be filtered by. `""` among the projects is work outside any project."""

    projects: Sequence[str]
    languages: Sequence[str]


def remember(session: Session, account_id: int, details: Iterable[DayDetail]) -> None:
    """Adds the names in `details` that are new, in the caller's transaction."""
    shares = [share for detail in details for share in (*detail.shares, *detail.agent_shares)]
    named = dict.fromkeys([("project", project) for project, _, _ in shares])
    named |= dict.fromkeys([("language", language) for _, language, _ in shares])
    found = session.connection().execute(KNOWN, {"of_account": account_id})
    old = {(kind, name) for kind, name in found}
    new = [key for key in named if key not in old]
    if new:
        rows = [
            {"account_id": account_id, "kind": kind, "name": name, "number": len(old) + step}
            for step, (kind, name) in enumerate(new)
        ]
        session.connection().execute(insert_into(session, KnownName).on_conflict_do_nothing(), rows)


def list_filters(account_id: int) -> Filters:
    """The names that the account's sessions have had so far."""
    wanted = select(KnownName.kind, KnownName.name).where(KnownName.account_id == account_id)
    found = db.session.execute(wanted.order_by(KnownName.number, KnownName.name)).all()
    return Filters(
        projects=[name for kind, name in found if kind == "project"],
        languages=[name for kind, name in found if kind == "language"],
    )
