"""The Celery app, and all of its configuration.

Messages are hints to look at a job's record (see `tasks.jobs`): losing one or getting one twice
does no harm. Most settings follow from that.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.schedules import crontab

from config.settings import Settings, get_settings

QUEUE = "webhooks"

#: A worker's jobs mostly wait for the network, so threads serve; 64 fill a core.
CONCURRENCY = 64


def configuration(settings: Settings) -> dict[str, Any]:
    """Celery's settings, each with its reason."""
    redis_options = {
        # A peer that vanished without a word must not hold a publish for ever.
        "socket_timeout": 10.0,
        "socket_connect_timeout": 2.0,
        "socket_keepalive": True,
        # Half-open connections: kombu checks an idle blocking read after so many seconds.
        "health_check_interval": 10,
    }
    return {
        "broker_url": settings.broker_url,
        "result_backend": settings.result_backend,
        "broker_transport_options": {
            **redis_options,
            # Hints need no guarding: without emulated acknowledgements a message costs two
            # transactions less, and workers survive Redis restarts, however many.
            "ack_emulation": False,
        },
        "result_backend_transport_options": {
            "retry_policy": {"max_retries": 3, "interval_start": 0.1, "interval_max": 1.0},
        },
        # The result backend's own connections, by the same reasons.
        "redis_socket_timeout": 10.0,
        "redis_socket_connect_timeout": 2.0,
        "redis_socket_keepalive": True,
        "redis_backend_health_check_interval": 10,
        # The worker stays and connects again, for ever: it holds nothing that could go stale.
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_connection_timeout": 2.0,
        # With pauses that do not grow beyond seconds.
        "worker_consumer": "worker.celery_internals:QuickConsumer",
        # Running attempts go on when the broker's connection drops: their leases guard them.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Nothing but JSON is read: a message must not be able to run code.
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        # Everything in UTC.
        "timezone": "UTC",
        "enable_utc": True,
        # One queue, declared here, so that producers, workers and beat agree.
        "task_default_queue": QUEUE,
        "task_create_missing_queues": True,
        # Early: a message is done with once a worker looks at it; the record does the rest.
        "task_acks_late": False,
        # One message a thread in reserve: what a killed worker held is hinted at again.
        "worker_prefetch_multiplier": 1,
        # The default pool; `--pool prefork` and `--pool solo` work too.
        "worker_pool": "threads",
        "worker_concurrency": CONCURRENCY,
        # A producer does not wait for a broker that is away: the dispatcher publishes later.
        "task_publish_retry": False,
        # The record's outcome is stored by `tasks.outcome`, on one path for all cases.
        "task_ignore_result": True,
        "task_track_started": False,
        "result_expires": settings.result_ttl,
        # Flower sees each job from a worker's first second. It could switch events on itself, but
        # does so every 5 s only; they cost up to a quarter of the throughput.
        "worker_send_task_events": True,
        "task_send_sent_event": False,
        # Ours is the one log line per attempt (config/logging.py).
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        # Beat's schedule lives in Redis: a lost disk or a second beat does no harm.
        "beat_scheduler": "redbeat.RedBeatScheduler",
        "redbeat_redis_url": settings.redis_url.get_secret_value(),
        "redbeat_key_prefix": "webhooks:beat:",
        # Another beat takes over so many seconds after one died.
        "redbeat_lock_timeout": 30,
        "beat_max_loop_interval": 5,
        "redbeat_redis_options": {"socket_timeout": 10.0, "socket_connect_timeout": 2.0},
        "beat_schedule": {
            "retry_failed": {
                "task": "tasks.retry_failed",
                "schedule": crontab(minute="*/15"),
                "options": {"expires": 15 * 60},
            },
            "prune": {
                "task": "tasks.prune",
                "schedule": crontab(minute="17", hour="3"),
                "options": {"expires": 60 * 60},
            },
        },
    }


app = Celery("webhooks", include=["tasks.create_webhook", "tasks.schedule"])
# A callable is a promise: the environment is read at first use, not at import.
app.add_defaults(lambda: configuration(get_settings()))
