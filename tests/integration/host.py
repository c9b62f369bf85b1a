"""A process with a Celery app of its own, as a Django project has it, that is also a producer.

    python -m tests.integration.host before|after|never BROKER

It sets up its own app before or after it imports the producer, or does not import that at all, and
prints as JSON what of the process is not as it was.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import pkgutil
import signal
import socket
import sys
import threading
import warnings
from typing import Any

import billiard.einfo
import celery
import kombu
import kombu.connection
import kombu.pools
import kombu.transport
import redis
import redis.sentinel
import requests
from billiard.context import BaseContext
from celery import _state, shared_task, signals
from celery.utils.dispatch import Signal
from kombu.serialization import registry
from kombu.transport import redis as redis_transport

#: Classes and modules that others use, too.
SHARED: tuple[Any, ...] = (
    *(redis_transport, redis_transport.Channel, redis_transport.SentinelChannel),
    *(redis_transport.Transport, redis_transport.SentinelTransport, redis_transport.QoS),
    *(kombu.Connection, kombu.Producer, kombu.connection, kombu.pools, kombu.transport),
    *(redis.Redis, redis.Connection, redis.SSLConnection, redis.ConnectionPool),
    *(redis.sentinel.Sentinel, billiard.einfo._Frame, BaseContext, celery.Celery, logging.Logger),
    *(requests.Session, requests.adapters.HTTPAdapter),
)

published: list[str] = []


@signals.before_task_publish.connect(weak=False)
def note(sender: str, **_: Any) -> None:
    published.append(sender)


@shared_task(name="shop.send_welcome")
def send_welcome() -> None:
    """A host's task."""


def own_app(broker: str) -> Any:
    app = celery.Celery("shop", broker=broker, backend="cache+memory://")
    app.conf.task_ignore_result = True
    app.set_default()
    return app


def look() -> dict[str, object]:
    """What a host would notice."""
    loggers = {
        name: (one.level, one.handlers[:], one.filters[:], one.propagate, one.disabled)
        for name, one in logging.root.manager.loggerDict.items()
        if isinstance(one, logging.Logger)
        and (one.level or one.handlers or one.filters or not one.propagate)
    }
    return {
        "default app": getattr(_state.default_app, "main", None),
        "this thread's app": getattr(_state._tls.current_app, "main", None),
        "receivers of Celery's signals": {
            name: [repr(key) for key, _ in one.receivers]
            for name, one in vars(signals).items()
            if isinstance(one, Signal)
        },
        "classes": [{k: id(v) for k, v in vars(one).items() if k[:2] != "__"} for one in SHARED],
        "transports": dict(kombu.transport.TRANSPORT_ALIASES),
        "pools": [kombu.pools.get_limit(), [len(group) for group in kombu.pools._groups]],
        "what is decoded": [sorted(registry._decoders), sorted(registry._disabled_content_types)],
        "root logger": (logging.root.level, logging.root.handlers[:], logging.root.filters[:]),
        "loggers": loggers,
        "logging": (
            logging.getLoggerClass(),
            logging.root.manager.disable,
            logging.raiseExceptions,
        ),
        "warnings": warnings.filters[:],
        "environment": dict(os.environ),
        "path": sys.path[:],
        "folder": os.getcwd(),  # noqa: PTH109
        "process's signals": {
            number: signal.getsignal(number) for number in signal.valid_signals()
        },
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook, sys.displayhook),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "threads": sorted(one.name for one in threading.enumerate()),
        "time-out of sockets": socket.getdefaulttimeout(),
    }


def changed(before: dict[str, object], after: dict[str, object]) -> list[str]:
    return [name for name in before if before[name] != after[name]]


def use_producer() -> None:
    from tasks import Webhook, enqueue_webhook, enqueue_webhooks, get_job

    webhook = Webhook(id="orders", name="Orders", webhook_url="https://shop.example.com/hook")
    job = enqueue_webhook("shop", webhook)
    enqueue_webhooks([("other", webhook)])
    assert get_job(job.id).state == "PENDING"


def load_all() -> None:
    for package in ("config", "tasks"):
        for found in pkgutil.walk_packages(
            importlib.import_module(package).__path__, f"{package}."
        ):
            if not found.name.endswith("__main__"):
                importlib.import_module(found.name)


def main(order: str, broker: str) -> dict[str, object]:
    app = own_app(broker) if order != "after" else None
    first, found = look(), []
    if order != "never":
        use_producer()
        found = changed(first, look())
        load_all()
        found += changed(first, look())
    app = app or own_app(broker)
    sent = []
    if order != "never":
        in_task = app.task(name="shop.signup", ignore_result=False)(use_producer).apply()
        sent = [*published, *(in_task.children or ())]
    send_welcome.delay()
    return {"changed": found, "current app": celery.current_app.main, "its hints": sent}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
