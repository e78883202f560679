"""The seam to RQ: the connection, the queue names, and ringing a worker by a task's dotted name.

RQ is only a doorbell. What there is to do stands in the database; losing every message here loses no work.
"""

import logging
import secrets
from collections.abc import Collection
from typing import Any, Literal

import redis
from flask import current_app
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from webapp import embedded_queue
from webapp.config import Config, current_config

log = logging.getLogger(__name__)

QueueName = Literal["pulls", "jobs"]
QUEUES: tuple[QueueName, ...] = ("pulls", "jobs")

CONNECT_SECONDS = 2
ANSWER_SECONDS = 5
KEEP_FAILED_SECONDS = 60
KEEP_LOST_SECONDS = 86_400
KEEP_SWEPT_SECONDS = 3600
MARK = "__"


def connect(config: Config) -> redis.Redis:
    """A new client of the configured Redis or the embedded Valkey. It gives up quickly: no page waits for it."""
    return redis.Redis.from_url(
        config.redis_url or embedded_queue.url(config.data_dir),
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 1),
    )


def connection() -> redis.Redis:
    """The client that the current app keeps."""
    kept = current_app.extensions.get("muster-redis")
    if not isinstance(kept, redis.Redis):
        kept = current_app.extensions["muster-redis"] = connect(current_config())
    return kept


def enqueue(task: str, *args: object, job_id: str, queue: QueueName = "jobs", timeout_seconds: int = 3600) -> bool:
    """Rings for `task` (dotted name) unless the same `job_id` already waits in that queue; False if Redis is not there.

    `args` are JSON values: ids only, for they stand in Redis and in the log.
    """
    try:
        if job_id in waiting(queue):
            return True
        open_queue(connection(), queue).enqueue_call(
            task,
            args=args,
            job_id=f"{job_id}{MARK}{secrets.token_hex(6)}",
            timeout=timeout_seconds,
            ttl=KEEP_LOST_SECONDS,  # of a ring that a worker lost; the janitor has rung again long before
            result_ttl=0,
            failure_ttl=KEEP_FAILED_SECONDS,
            description=f"{task.rpartition('.')[2]} {job_id}",
        )
    except redis.RedisError as error:
        log.warning("could not ring for %s %s: %s", task, job_id, error)
        return False
    return True


def waiting(queue: QueueName) -> set[str]:
    """The `job_id`s of the rings that wait in `queue`; RedisError if Redis is not there."""
    return {read_id(ring) for ring in open_queue(connection(), queue).job_ids}


def noted(queue: QueueName) -> set[str]:
    """Every `job_id` that Redis knows of: waiting, on its way to a worker, started by one that lives or does not."""
    return {read_id(ring) for rings in _list_rings(queue).values() for ring in rings}


def forget(queue: QueueName, ids: Collection[str]) -> None:
    """Takes these rings out of every list in Redis, where their text soon ends; RedisError if it is not there."""
    opened, gone = open_queue(connection(), queue), set(ids)
    with connection().pipeline(transaction=False) as line:
        for key, rings in _list_rings(queue).items():
            for ring in rings:
                if read_id(ring) not in gone:
                    continue
                if key == opened.started_job_registry.key:
                    line.zrem(key, ring)
                else:
                    line.lrem(key, 0, ring)
                # a worker that comes back late still looks at its text
                line.expire(Job.key_for(ring.partition(":")[0]), KEEP_SWEPT_SECONDS)
        line.execute()


def read_id(ring: str) -> str:
    """The `job_id` of a ring. Each ring has an RQ id of its own, so that two of one job are not taken for one."""
    return ring.partition(MARK)[0]


def _list_rings(queue: QueueName) -> dict[str, list[str]]:
    """What stands in each of RQ's lists of a queue, by the list's key; a started ring is `id:execution`."""
    opened = open_queue(connection(), queue)
    started = opened.started_job_registry.key
    entries: Any = connection().zrange(started, 0, -1)
    return {
        opened.key: opened.job_ids,
        opened.intermediate_queue_key: opened.intermediate_queue.get_job_ids(),
        started: [entry.decode() for entry in entries],
    }


def open_queue(client: redis.Redis, name: str) -> Queue:
    """One RQ queue. JSON, because pickle would run whatever somebody wrote into Redis."""
    return Queue(name, connection=client, serializer=JSONSerializer)
