"""The least that can be done: threads that pop a number, call, and store the answer."""

from __future__ import annotations

import json
import threading

from call import AT_ONCE, REDIS, create
from redis import Redis

_client = Redis.from_url(REDIS)


def enqueue(number: int) -> None:
    _client.rpush("numbers", number)


def _work() -> None:
    while True:
        popped = _client.blpop("numbers", 60)
        if popped:
            number = int(popped[1])
            _client.setex(f"answer:{number}", 3_600, json.dumps(create(number)))


if __name__ == "__main__":
    for _ in range(AT_ONCE):
        threading.Thread(target=_work).start()
