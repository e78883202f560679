"""What the ids in the API's paths look like: anything else is a 404 that never asks the database."""

from werkzeug.routing import BaseConverter


class DeviceIdConverter(BaseConverter):
    """The id of a device: a UUID, or what a plain collector calls itself."""

    regex = r"[0-9A-Za-z_-]{1,64}"
    part_isolating = True


class PairingCodeConverter(BaseConverter):
    """A pairing code as a person may type it."""

    regex = r"[0-9A-Za-z-]{6,16}"
    part_isolating = True


class RowNumberConverter(BaseConverter):
    """The number of a row, as far as both databases count."""

    regex = r"[0-9]{1,9}"
    part_isolating = True

    def to_python(self, value: str) -> int:
        """The number that stands in the path."""
        return int(value)


CONVERTERS = {"device_id": DeviceIdConverter, "pairing_code": PairingCodeConverter, "row_number": RowNumberConverter}
