"""arq, on asyncio."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import aiohttp
from arq import create_pool
from arq.connections import RedisSettings
from call import AT_ONCE, REDIS, create_async

SETTINGS = RedisSettings.from_dsn(REDIS)


async def start(context: dict[str, Any]) -> None:
    context["session"] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


async def create_webhook(context: dict[str, Any], number: int) -> Any:
    return await create_async(context["session"], number)


class WorkerSettings:
    functions: ClassVar[list[Any]] = [create_webhook]
    on_startup = start
    redis_settings = SETTINGS
    max_jobs = AT_ONCE


_loop = asyncio.new_event_loop()
_pools: list[Any] = []


def enqueue(number: int) -> None:
    if not _pools:
        _pools.append(_loop.run_until_complete(create_pool(SETTINGS)))
    _loop.run_until_complete(_pools[0].enqueue_job("create_webhook", number))
