"""Secrets: random tokens, keyed hashes for what is stored, and keys derived from the hub's one key."""

import base64
import hmac
import secrets
from functools import lru_cache


def new_token(prefix: str) -> str:
    """A 256-bit random token with a readable prefix, such as `mst_...`."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


@lru_cache(maxsize=64)
def derive_key(hub_key: bytes, purpose: str) -> bytes:
    """A 32-byte key for one purpose; another purpose gives an unrelated key."""
    return hmac.digest(hub_key, b"muster|" + purpose.encode(), "sha256")


def keyed_hash(hub_key: bytes, purpose: str, secret: str) -> bytes:
    """What is stored in place of `secret`: useless without the hub's key."""
    return hmac.digest(derive_key(hub_key, purpose), secret.encode(), "sha256")


def derive_secret(hub_key: bytes, purpose: str, *parts: bytes) -> str:
    """A 43-character secret derived from the hub's key and `parts`, so that it need not be stored."""
    message = b"|".join(part.hex().upper().encode() for part in parts)
    digest = hmac.digest(derive_key(hub_key, purpose), message, "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
