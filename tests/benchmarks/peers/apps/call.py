"""The job of all contestants: one call, as their tutorials make it."""

from __future__ import annotations

import os
import threading
from typing import Any

import requests

REDIS: str = os.environ["BENCH_REDIS_URL"]
#: So many jobs at once.
AT_ONCE: int = 64
TIMES_OUT: tuple[float, float] = (5.0, 15.0)

_API = os.environ["BENCH_API_URL"]
_HEADERS = {"key": "sandbox-key", "secret": "sandbox-secret", "X-Webhook-Version": "2"}
_thread = threading.local()


def request(number: int) -> tuple[str, dict[str, Any], dict[str, str]]:
    """URL, body and headers of one job's call."""
    body = {
        "id": f"orders-{number}",
        "name": "Orders",
        "webhookURL": "https://shop.example.com/hook",
        "enabled": True,
        "useBasicAuth": True,
        "username": "chat",
        "password": "hunter2hunter2",
    }
    return f"{_API}/apps/shop-{number // 20}/webhooks", body, _HEADERS


def create(number: int) -> Any:
    """Make the call, with one session for each thread."""
    session = getattr(_thread, "session", None)
    if session is None:
        session = _thread.session = requests.Session()
    url, body, headers = request(number)
    answer = session.post(url, json=body, headers=headers, timeout=TIMES_OUT)
    answer.raise_for_status()
    return answer.json()


async def create_async(session: Any, number: int) -> Any:
    """The same, with a session of aiohttp."""
    url, body, headers = request(number)
    async with session.post(url, json=body, headers=headers) as answer:
        answer.raise_for_status()
        return await answer.json()
