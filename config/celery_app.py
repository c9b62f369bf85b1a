"""The Celery app, and all of its configuration.

Messages are hints to look at a job's record (see `tasks.jobs`): losing one or getting one twice
does no harm. Most settings follow from that.
"""

from __future__ import annotations

from typing import Any

from celery.schedules import crontab

from config.broker import CONNECT_TIMEOUT, QUEUE, transport_options
from config.celery_class import App
from config.redis_url import redbeat
from config.settings import Settings, get_settings

#: A worker's jobs mostly wait for the network, so threads serve; 64 fill a core.
CONCURRENCY = 64


def configuration(settings: Settings) -> dict[str, Any]:
    """Celery's settings, each with its reason."""
    broker_url, _ = settings.broker
    result_backend, backend_options = settings.backend
    redbeat_url, redbeat_options = redbeat(settings.redis_url.get_secret_value())
    tls = settings.redis_tls.options
    return {
        "broker_url": broker_url,
        "result_backend": result_backend,
        # Certificates of Redis are verified: the defaults of all three differ.
        "broker_use_ssl": tls(broker_url) or None,
        "redis_backend_use_ssl": tls(result_backend) or None,
        "broker_transport_options": transport_options(settings),
        "result_backend_transport_options": {
            **backend_options,
            "retry_policy": {"max_retries": 3, "interval_start": 0.1, "interval_max": 1.0},
        },
        # All threads share one client, so that there are few connections; Redis's may be shared.
        "result_backend_thread_safe": result_backend.startswith(("redis", "sentinel")),
        # The result backend's own connections, by the same reasons.
        "redis_socket_timeout": 3.0,
        "redis_socket_connect_timeout": 2.0,
        "redis_socket_keepalive": True,
        "redis_backend_health_check_interval": 2,
        # The worker stays and connects again, for ever: it holds nothing that could go stale.
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # A Redis whose disk or memory is full refuses to hand out messages: that will pass, too.
        "broker_channel_error_retry": True,
        "broker_connection_timeout": CONNECT_TIMEOUT,
        # With pauses that do not grow beyond seconds.
        "worker_consumer": "worker.celery_internals:QuickConsumer",
        # How many messages a worker has at once is the same afterwards.
        "worker_enable_prefetch_count_reduction": False,
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
        # One queue, declared here, so that workers, beat and `python -m tasks check` agree.
        "task_default_queue": QUEUE,
        "task_create_missing_queues": True,
        # Early: a message is done with once its jobs have threads; the records do the rest.
        "task_acks_late": False,
        "worker_pool": "worker.threads:ThreadPool",
        "worker_concurrency": CONCURRENCY,
        # Beat does not wait here for a broker that is away: what it could not send stays due.
        "task_publish_retry": False,
        # The record's outcome is stored by `tasks.outcome`, on one path for all cases.
        "task_ignore_result": True,
        "task_track_started": False,
        "result_expires": settings.result_ttl,
        # An event for each change of a job: so Flower knows of them. It could switch them on
        # itself, but 5 s late.
        "worker_send_task_events": True,
        "task_send_sent_event": False,
        # Ours is the one log line per attempt (config/logging.py).
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        # Beat's schedule lives in Redis: a lost disk or a second beat does no harm.
        "beat_scheduler": "worker.beat:PatientScheduler",
        # Celery shows its settings to whoever asks: the URL must not hold the password.
        "redbeat_redis_url": redbeat_url,
        "redbeat_key_prefix": "webhooks:beat:",
        # Another beat takes over so many seconds after one died.
        "redbeat_lock_timeout": 30,
        "beat_max_loop_interval": 5,
        "redbeat_redis_options": {
            **redbeat_options,
            **tls(redbeat_url),
            "socket_timeout": 10.0,
            "socket_connect_timeout": 2.0,
        },
        "beat_schedule": {
            "retry_failed": {
                "task": "tasks.retry_failed",
                "schedule": crontab(minute="*/15"),
            },
            "prune": {
                "task": "tasks.prune",
                "schedule": crontab(minute="17", hour="3"),
            },
        },
    }


# In a process that has a Celery app of its own this one changes nothing: Celery would make it the
# current one, to which @shared_task belongs, and Django's fix-up would add receivers and a path.
app = App(
    "webhooks",
    include=["tasks.create_webhook", "tasks.schedule", "worker.control"],
    set_as_current=False,
    fixups=[],
)
# A callable is a promise: the environment is read at first use, not at import.
app.add_defaults(lambda: configuration(get_settings()))
