"""Where each library would connect to, by the settings; nobody connects."""

from __future__ import annotations

from typing import Any, NamedTuple

from celery import Celery
from redbeat.schedulers import get_redis
from redis import SSLConnection

from config.celery_app import configuration
from config.settings import Settings
from tasks.redis import Connection


class Place(NamedTuple):
    """A server, and who is to log in there."""

    host: str
    port: int
    db: int
    user: str
    password: str
    has_tls: bool


def readers(settings: Settings) -> dict[str, Place]:
    """What the records, the broker, the result backend and beat make of the settings."""
    app = Celery(set_as_current=False)
    app.conf.update(configuration(settings))
    broker = app.connection_for_write()
    records = Connection(settings.redis_url, prefix="x:", patience=0.1, tls=settings.redis_tls)
    return {
        "records": _of_pool(records.redis.connection_pool),
        "broker": Place(
            broker.hostname,
            broker.port,
            int(broker.virtual_host),
            broker.userid or "",
            broker.password or "",
            has_tls=bool(broker.ssl),
        ),
        "backend": _of_options(
            app.backend.connparams, has_tls="ssl_cert_reqs" in app.backend.connparams
        ),
        "beat": _of_pool(get_redis(app).connection_pool),
    }


def _of_pool(pool: Any) -> Place:
    is_tls = issubclass(pool.connection_class, SSLConnection)
    return _of_options(pool.connection_kwargs, has_tls=is_tls)


def _of_options(options: Any, *, has_tls: bool) -> Place:
    login = (options.get(name) or "" for name in ("username", "password"))
    return Place(options["host"], options["port"], options["db"], *login, has_tls=has_tls)
