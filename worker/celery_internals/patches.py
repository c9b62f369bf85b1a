"""What is changed in a process of Celery's, each by a function of its own."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from functools import wraps
from typing import Any

import kombu.connection
import kombu.transport
from redis import asyncio
from redis.connection import ConnectionPool

from config.celery_app import app
from tasks.bounded import bounded
from tasks.happy_eyeballs import HEAD_START
from worker.celery_internals import transport


def use_our_transports() -> None:
    """Let Redis's URLs lead to the transports of `transport.py`, in this process.

    The documented way to name a transport is this table; a URL must not have a class's path.
    """
    kombu.transport.TRANSPORT_ALIASES.update(
        redis=f"{transport.__name__}:RedisTransport",
        rediss=f"{transport.__name__}:RedisTransport",
        sentinel=f"{transport.__name__}:SentinelTransport",
    )


def store_results_together() -> None:
    """Let this process store results by the backends beside this file."""
    path = "worker.celery_internals.results"
    app.loader.override_backends = {
        "redis": f"{path}:RedisResults",
        "rediss": f"{path}:RedisResults",
        "sentinel": f"{path}:SentinelResults",
    }


def verify_certificates() -> None:
    """Let a connection for which somebody has forgotten the options for TLS verify, and say so.

    Celery makes one, just to show its URL.
    """
    vars(kombu.connection)["CERT_NONE"] = ssl.CERT_REQUIRED
    logging.getLogger("kombu.connection").addFilter(_is_no_false_alarm)


def _is_no_false_alarm(line: logging.LogRecord) -> bool:
    return "insecure SSL" not in line.getMessage()


def dial_addresses_side_by_side() -> None:
    """Let each connection to Redis dial all addresses of its host, with a bound on the time.

    A pool's constructor is the one place that all connections pass in a worker and beat: records,
    broker, results, redbeat's and those to sentinels. Not all of them let a class be named.
    Flower's pages have redis-py's other half, on asyncio, which dials so if it is asked to.
    """
    if not getattr(ConnectionPool.__init__, "is_bounded", False):
        ConnectionPool.__init__ = _bounded_pool(ConnectionPool.__init__)  # type: ignore[method-assign]
        asyncio.Connection._connection_arguments = _side_by_side(  # type: ignore[method-assign,assignment]
            asyncio.Connection._connection_arguments  # type: ignore[arg-type]
        )


def _bounded_pool(make: Callable[..., None]) -> Callable[..., None]:
    @wraps(make)
    def __init__(pool: Any, *args: Any, **options: Any) -> None:
        make(pool, *args, **options)
        pool.connection_class = bounded(pool.connection_class)

    __init__.is_bounded = True  # type: ignore[attr-defined]
    return __init__


def _side_by_side(arguments: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    return lambda connection: {**arguments(connection), "happy_eyeballs_delay": HEAD_START}


def install() -> None:
    """Change in this process what no setting can; for Celery's commands, not for producers."""
    use_our_transports()
    store_results_together()
    verify_certificates()
    dial_addresses_side_by_side()
