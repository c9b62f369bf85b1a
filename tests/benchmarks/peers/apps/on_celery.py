"""Celery on threads, as its tutorial has it."""

from __future__ import annotations

from typing import Any

from call import REDIS, create
from celery import Celery

app = Celery("shop", broker=REDIS, backend=REDIS)
app.conf.broker_connection_retry_on_startup = True


@app.task(autoretry_for=(Exception,), retry_backoff=True)
def create_webhook(number: int) -> Any:
    return create(number)


enqueue = create_webhook.delay
