"""What an export file is asked of its days: only of those that it can tell of."""

from dataclasses import dataclass
from datetime import date

import msgspec

from collector import wire
from webapp.features.sessions.check_plans import CheckPlan, Located


@dataclass
class FilePlan(CheckPlan):
    """The plan of a device, cut to the days up to `until`; with `is_silent` nothing is asked at all."""

    until: date = date.max
    is_silent: bool = False

    def ask_first(self, position: Located, has_more: bool) -> wire.CoverageRequest | None:
        """As the machine is asked after the first page."""
        return self._cut(super().ask_first(position, has_more))

    def ask_last(self, position: Located, progress: object = None) -> wire.CoverageRequest | None:
        """As the machine is asked after the last page."""
        return self._cut(super().ask_last(position, progress))

    def _cut(self, request: wire.CoverageRequest | None) -> wire.CoverageRequest | None:
        until = self.until.isoformat()
        if request is None or self.is_silent or request.first > until:
            return None
        return msgspec.structs.replace(request, last=min(request.last, until))
