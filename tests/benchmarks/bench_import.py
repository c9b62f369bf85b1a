"""100,000 jobs imported while single ones are enqueued: `make bench`.

Bounds: 5,000 jobs a second or more, an `enqueue_webhook` within 50 ms (p99), no message in the
queue. Exits with 1 when one is broken.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time

import redis

from tasks import Webhook, enqueue_webhook
from worker.stack import Stack

JOBS, RATE, P99_SECONDS = 100_000, 5_000, 0.05


def webhook(number: int) -> dict[str, str]:
    url = "https://shop.example.com/hook"
    return {"id": f"w{number % 20}", "name": "Orders", "webhookURL": url}


def main() -> bool:
    with Stack() as stack:
        stack.start_redis()
        os.environ.update(stack.env)
        path = stack.folder / "jobs.jsonl"
        with path.open("w") as lines:
            for number in range(JOBS):
                line = {"app_id": f"app-{number // 20}", **webhook(number)}
                lines.write(json.dumps(line) + "\n")
        client = redis.Redis.from_url(stack.redis.url)
        enqueue_webhook("warm-up", Webhook.parse(webhook(0)))
        seconds: list[float] = []
        most = 0
        began = time.monotonic()
        importing = stack.run("import", "-m", "tasks", "import", str(path), "--json")
        while importing.process.poll() is None:
            start = time.monotonic()
            enqueue_webhook(f"one-{len(seconds) // 20}", Webhook.parse(webhook(len(seconds))))
            seconds.append(time.monotonic() - start)
            most = max(most, int(client.llen("webhooks")))
            time.sleep(0.02)
        rate = JOBS / (time.monotonic() - began)
        p99 = statistics.quantiles(seconds, n=100)[98]
        new = json.loads(importing.output().strip().splitlines()[-1])["new"]
    print(f"imported {new} jobs at {rate:,.0f} a second (at least {RATE:,})")
    print(f"enqueue_webhook meanwhile: p99 {p99 * 1000:.1f} ms (at most {P99_SECONDS * 1000:g})")
    print(f"messages in the queue: at most {most} (bound 0)")
    return new == JOBS and rate >= RATE and p99 <= P99_SECONDS and most == 0


if __name__ == "__main__":
    sys.exit(not main())
