"""What can go wrong with a collector, in words for people and in one word for the back-off."""

from typing import Literal

from webapp.adapters.collector_connections import NothingThere

Problem = Literal[
    "unreachable",
    "timeout",
    "identity",
    "refused",
    "bad_answer",
    "too_large",
    "redirected",
    "address",
    "unsupported",
    "disk_full",
]


class CollectorError(Exception):
    """A call to a collector that brought nothing. `may_pass`: trying again at once makes sense. `status` is that of its
    answer, when it was a wrong one."""

    def __init__(self, problem: Problem, detail: str, *, may_pass: bool = False, status: int | None = None) -> None:
        super().__init__(detail)
        self.problem: Problem = problem
        self.detail = detail.replace("\0", "\ufffd")  # it may quote the machine, and PostgreSQL cannot hold NUL
        self.may_pass = may_pass
        self.status = status


def explain_failure(url: str, error: Exception) -> CollectorError:
    """What a failed connection or transfer means."""
    if isinstance(error, NothingThere):
        return CollectorError("unreachable", f"Nothing answers at {url}. Is the collector running?", may_pass=True)
    if isinstance(error, TimeoutError):
        return CollectorError("timeout", f"{url} did not answer in time.", may_pass=True)
    return CollectorError("unreachable", f"The connection to {url} broke off.", may_pass=True)


def explain_status(url: str, status: int) -> CollectorError:
    """What an answer other than 200 means."""
    if 300 <= status < 400:
        return CollectorError("redirected", f"{url} sends the hub elsewhere ({status}); a collector never does.")
    if status in (401, 403):
        detail = f"{url} refuses the hub's credential ({status}). Compare the two clocks, or pair the machine again."
        return CollectorError("refused", detail)
    if status == 507:
        return CollectorError("disk_full", f"The disk of the machine at {url} is full.", status=status)
    may_pass = status == 429 or status >= 500
    return CollectorError("bad_answer", f"{url} answered with status {status}.", may_pass=may_pass, status=status)
