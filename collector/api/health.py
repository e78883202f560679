"""Who is here: the one call without a credential, and the proof that lets the hub send one."""

from flask import Blueprint, Response, request

from collector import __version__, wire
from collector.api.problems import Problem
from collector.api.replies import reply
from collector.machine import machine_name
from collector.running import current
from collector.store import Store

LONGEST_NONCE = 200

calls = Blueprint("health", __name__)


@calls.get("/api/health")
def show_health() -> Response:
    """The collector's claim of itself; with a challenge and while paired also what only the paired one can know."""
    running = current()
    link, answer = running.store.find_link(), describe_health(running.store)
    nonce = request.args.get("challenge")
    if nonce is not None and (not nonce or len(nonce) > LONGEST_NONCE):
        raise Problem(400, f"challenge: 1 to {LONGEST_NONCE} characters.", field="challenge")
    if nonce is not None and link is not None:
        answer.proof = wire.health_proof(link.pull_secret, nonce, answer.device_id, running.port)
    return reply(answer)


def describe_health(store: Store) -> wire.Health:
    """The claim alone."""
    return wire.Health(
        status="healthy",
        device_id=store.identity.device_id,
        timestamp=wire.format_ms(wire.now_ms()),
        version=__version__,
        protocol=wire.PROTOCOL,
        paired=store.find_link() is not None,
        name=machine_name(),
    )
