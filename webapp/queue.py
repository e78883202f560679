"""The seam to RQ: the connection, the queue names, and ringing a worker by a task's dotted name.

RQ is only a doorbell. What there is to do stands in the database; losing every message here loses no work.
"""

import logging
from typing import Literal

import redis
from flask import current_app
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue
from rq.serializers import JSONSerializer

from webapp import embedded_queue
from webapp.config import Config, current_config

log = logging.getLogger(__name__)

QueueName = Literal["pulls", "jobs"]
QUEUES: tuple[QueueName, ...] = ("pulls", "jobs")

CONNECT_SECONDS = 2
ANSWER_SECONDS = 5
KEEP_FAILED_SECONDS = 60


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
            job_id=job_id,
            timeout=timeout_seconds,
            result_ttl=0,
            failure_ttl=KEEP_FAILED_SECONDS,
            description=f"{task.rpartition('.')[2]} {job_id}",
        )
    except redis.RedisError as error:
        log.warning("could not ring for %s %s: %s", task, job_id, error)
        return False
    return True


def waiting(queue: QueueName) -> set[str]:
    """The ids that wait in `queue`; RedisError if Redis is not there."""
    return set(open_queue(connection(), queue).job_ids)


def open_queue(client: redis.Redis, name: str) -> Queue:
    """One RQ queue. JSON, because pickle would run whatever somebody wrote into Redis."""
    return Queue(name, connection=client, serializer=JSONSerializer)
