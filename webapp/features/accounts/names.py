"""What accounts, tokens and zones may be called."""

import unicodedata
from functools import cache
from zoneinfo import available_timezones

from webapp.errors import Invalid

NAME_LENGTH = 64
LABEL_LENGTH = 100


def normalise_name(name: str) -> str:
    """One spelling of an account's name: `" Ada "` and `ada` are the same person."""
    return unicodedata.normalize("NFKC", printable(name)).strip().casefold()


def check_name(name: str) -> str:
    """The normalised name; Invalid if an account cannot have it."""
    name = normalise_name(name)
    if not 1 <= len(name) <= NAME_LENGTH:
        raise Invalid(f"The name needs 1 to {NAME_LENGTH} characters.", field="name")
    if not all(character.isalnum() or character in "._-@" for character in name):
        raise Invalid("The name can have letters, digits and . _ - @ only.", field="name")
    return name


def printable(text: str) -> str:
    """`text` without control and other invisible characters."""
    return "".join(character for character in text if character.isprintable())


def check_label(label: str) -> str:
    """The label without surrounding or invisible characters; Invalid if nothing, or too much, is left."""
    label = printable(label).strip()
    if not 1 <= len(label) <= LABEL_LENGTH:
        raise Invalid(f"The label needs 1 to {LABEL_LENGTH} characters.", field="label")
    return label


@cache
def list_zones() -> tuple[str, ...]:
    """The names of all time zones, UTC first."""
    return ("UTC", *sorted(zone for zone in _all_zones() if "/" in zone and not zone.startswith("Etc/")))


def known_zone(zone: str) -> str | None:
    """`zone` if the IANA database has it, as a browser's own claim may not be."""
    return zone if zone in _all_zones() else None


def check_zone(zone: str) -> str:
    """The zone; Invalid if there is no such."""
    if not known_zone(zone):
        raise Invalid("The time zone has to be a name such as Europe/Berlin.", field="timezone")
    return zone


@cache
def _all_zones() -> set[str]:
    return available_timezones()
