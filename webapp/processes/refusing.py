"""What the server itself refuses, before the hub sees it, said in sentences."""

from waitress.channel import HTTPChannel
from waitress.task import ErrorTask
from waitress.utilities import RequestEntityTooLarge

TOO_LARGE = (
    "This is more than the 9 MiB that the hub takes at once. "
    "Put an export file of that size into the folder inbox of the hub's data directory."
)


class Refusal(ErrorTask):
    """An answer to a request that cannot be read to its end."""

    def execute(self) -> None:
        """Writes the answer."""
        if isinstance(self.request.error, RequestEntityTooLarge):
            self.request.error = RequestEntityTooLarge(TOO_LARGE)
        super().execute()


class Channel(HTTPChannel):
    """A connection of waitress that refuses in our words."""

    error_task_class = Refusal
