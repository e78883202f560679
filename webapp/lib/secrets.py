"""Secrets: random tokens, keyed hashes for what is stored, and keys derived from the hub's one key."""

import base64
import hashlib
import hmac
import secrets


def new_token(prefix: str) -> str:
    """A 256-bit random token with a readable prefix, such as `mst_...`."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def derive_key(hub_key: bytes, purpose: str) -> bytes:
    """A 32-byte key for one purpose; another purpose gives an unrelated key."""
    return hmac.new(hub_key, b"muster|" + purpose.encode(), hashlib.sha256).digest()


def keyed_hash(hub_key: bytes, purpose: str, secret: str) -> bytes:
    """What is stored in place of `secret`: useless without the hub's key."""
    return hmac.new(derive_key(hub_key, purpose), secret.encode(), hashlib.sha256).digest()


def derive_secret(hub_key: bytes, purpose: str, *parts: bytes) -> str:
    """A 43-character secret derived from the hub's key and `parts`, so that it need not be stored."""
    message = b"|".join(base64.b16encode(part) for part in parts)
    digest = hmac.new(derive_key(hub_key, purpose), message, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
