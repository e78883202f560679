"""Passwords: what one must be, and argon2id hashes of them."""

import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from webapp.errors import Invalid

MIN_LENGTH = 10
MAX_LENGTH = 200

# 19 MiB and two passes: the least that OWASP recommends, so that eight sign-ins at once stay cheap on a small machine.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def check_new_password(password: str, name: str) -> None:
    """Invalid if `password` is too short, too long, or the account's own name."""
    if len(password) < MIN_LENGTH:
        raise Invalid(f"The password needs at least {MIN_LENGTH} characters.", field="password")
    if len(password) > MAX_LENGTH:
        raise Invalid(f"The password can have at most {MAX_LENGTH} characters.", field="password")
    if password.casefold() == name.casefold() or len(set(password)) < 3:
        raise Invalid("That password is too easy to guess. Use a few words.", field="password")


def hash_password(password: str) -> str:
    """What is stored in place of `password`."""
    return _hasher.hash(_normalise(password))


def is_password(password: str, password_hash: str | None) -> bool:
    """Whether `password` made the hash. Takes as long for an account that does not exist (None)."""
    try:
        _hasher.verify(password_hash or _decoy_hash(), _normalise(password[: MAX_LENGTH + 1]))
    except (VerifyMismatchError, InvalidHashError):
        return False
    return password_hash is not None


@cache
def _decoy_hash() -> str:
    return _hasher.hash("nobody has this password")


def _normalise(password: str) -> str:
    """One form of the same characters: keyboards differ in how they compose an umlaut."""
    return unicodedata.normalize("NFKC", password)
