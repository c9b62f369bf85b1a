"""taskiq, on asyncio."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from call import REDIS, create_async
from taskiq import TaskiqEvents, TaskiqState
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

broker = ListQueueBroker(REDIS).with_result_backend(RedisAsyncResultBackend(REDIS))


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def start(state: TaskiqState) -> None:
    state.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


@broker.task
async def create_webhook(number: int) -> Any:
    return await create_async(broker.state.session, number)


_loop = asyncio.new_event_loop()


def enqueue(number: int) -> None:
    _loop.run_until_complete(create_webhook.kiq(number))
