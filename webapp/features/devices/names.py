"""What machines may be called: text that people can read and that cannot disguise itself."""

from webapp.errors import Invalid

NAME_LENGTH = 200


def check_name(text: str) -> str:
    """`text` without control, bidirectional and other invisible characters; Invalid if nothing or too much is left."""
    name = printable(text)
    if not 1 <= len(name) <= NAME_LENGTH:
        raise Invalid(f"name: 1 to {NAME_LENGTH} characters.", field="name")
    return name


def printable(text: str, length: int | None = None) -> str:
    """`text` as one line of visible characters, cut to `length`."""
    spaced = " ".join(text.split())
    return "".join(character for character in spaced if character.isprintable())[:length].strip()
