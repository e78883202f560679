"""The named errors of the hub: raised deep, translated once (in blueprints/errors.py). No HTTP here."""


class MusterError(Exception):
    """Something that the person or program asking can be told in a sentence."""

    code = "error"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code


class NotFound(MusterError):
    """It does not exist, or it is not yours: the answer is the same."""

    code = "not_found"


class Invalid(MusterError):
    """A value that cannot be accepted; `field` names it."""

    code = "invalid"

    def __init__(self, detail: str, *, field: str | None = None, code: str | None = None) -> None:
        super().__init__(detail, code=code)
        self.field = field


class Unreadable(MusterError):
    """The request cannot be understood at all (not JSON, not a time, a cursor of another query)."""

    code = "unreadable"


class NotAllowed(MusterError):
    """Known caller, but this is not theirs to do."""

    code = "not_allowed"


class Conflict(MusterError):
    """The thing is in a state in which this cannot be done."""

    code = "conflict"


class TooMany(MusterError):
    """Too often; try again in `retry_after_seconds`."""

    code = "too_many"

    def __init__(self, detail: str, *, retry_after_seconds: int = 60, code: str | None = None) -> None:
        super().__init__(detail, code=code)
        self.retry_after_seconds = retry_after_seconds
