"""The five that connect to Redis, each as its process has it of the settings."""

from __future__ import annotations

import asyncio
from typing import Any

from celery import Celery
from flower.utils.broker import Broker
from redbeat.schedulers import get_redis

from config.celery_app import configuration
from config.settings import get_settings
from tasks.store import get_store
from worker import celery_internals

celery_internals.install()


def app() -> Any:
    """What any process of Celery's has of the settings."""
    made = Celery(set_as_current=False)
    made.conf.update(configuration(get_settings()))
    return made


def reach_records() -> object:
    return get_store().counts()


def reach_broker() -> object:
    with app().connection_for_write() as connection:
        return connection.transport.establish_connection()


def reach_results() -> object:
    return app().backend.client.ping()


def reach_redbeat() -> object:
    return get_redis(app()).ping()


def reach_by_flower() -> object:
    conf = app().conf
    options = {"broker_options": conf.broker_transport_options}
    broker = Broker(conf.broker_url, broker_use_ssl=conf.broker_use_ssl, **options)
    return asyncio.run(broker.queues(["webhooks"]))


REACH = {
    "records": reach_records,
    "broker": reach_broker,
    "results": reach_results,
    "redbeat": reach_redbeat,
    "Flower": reach_by_flower,
}
