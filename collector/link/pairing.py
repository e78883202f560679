"""Redeeming a pairing code at a hub, and ending the link."""

import msgspec

from collector import __version__, wire
from collector.link.hub import DeviceRevoked, Hub, HubError, normalise_hub_url
from collector.machine import machine_name, platform_name
from collector.store import Link, Store


class PairingError(Exception):
    """It did not pair; the message says why and what to do."""


def pair(store: Store, hub_url: str, code: str, port: int) -> Link:
    """Redeems `code` at the hub and keeps the link. `port` is where the hub may find this collector."""
    url = _read_hub_url(hub_url)
    code = wire.normalise_code(code)
    if len(code) != wire.CODE_LENGTH or set(code) - set(wire.CODE_ALPHABET):
        raise PairingError("A code has six letters and digits, such as K7M 2QX. Make one on the hub's pairing page.")
    existing = store.find_link()
    if existing is not None and existing.hub_url != url:
        raise PairingError(f"This machine is paired with {existing.hub_name} ({existing.hub_url}). Unpair it first.")
    answer = _claim(url, code, store.identity.device_id, port)
    link = Link(
        hub_url=url,
        device_id=answer.device_id,
        token=answer.token,
        pull_secret=answer.pull_secret,
        poll_interval=answer.poll_interval,
        hub_name=answer.hub_name,
        paired_at_ms=wire.now_ms(),
    )
    store.adopt_device_id(answer.device_id)
    store.delete_meta("settings")  # another link counts its settings anew
    store.save_link(link)
    return link


def unpair(store: Store) -> str | None:
    """Ends the link here in any case. The answer says why the hub could not be told, or is None if it was."""
    link = store.find_link()
    if link is None:
        return None
    try:
        Hub.of(link).post("/api/collector/unpair")
    except DeviceRevoked:
        pass  # it knew before
    except HubError as error:
        forget(store, link)
        return str(error)
    forget(store, link)
    return None


def forget(store: Store, link: Link) -> None:
    """Forgets this link, unless another one has taken its place in the meantime."""
    current = store.find_link()
    if current is not None and current.token == link.token:
        store.clear_link()


def _read_hub_url(text: str) -> str:
    try:
        return normalise_hub_url(text)
    except ValueError as error:
        raise PairingError(str(error)) from error


def _claim(url: str, code: str, device_id: str, port: int) -> wire.ClaimAnswer:
    request = wire.ClaimRequest(
        code=code, device_id=device_id, name=machine_name(), platform=platform_name(), version=__version__, port=port
    )
    try:
        content = Hub(url).post("/api/pair/claim", request)
        answer = msgspec.json.decode(content, type=wire.ClaimAnswer)
    except HubError as error:
        raise PairingError(_explain(error)) from error
    except msgspec.DecodeError as error:
        raise PairingError(f"{url} does not answer like a Muster hub. Is the address right?") from error
    if len(answer.pull_secret) < 32:
        raise PairingError(f"{url} gave a secret that is too short to be safe. It is not a hub to pair with.")
    return answer


def _explain(error: HubError) -> str:
    if error.status == 404 and error.code == "bad_code":
        return "The hub does not know this code: mistyped, used or older than ten minutes. Make a new one on its page."
    if error.status == 429:
        return "Too many wrong codes. Wait a moment, then make a new code on the hub's pairing page."
    return str(error)
