"""What sealing a password costs: `python -m tests.benchmarks.bench_sealing`.

Webhooks whose password is sealed, and such where it is stored as it is, take turns: what else the
machine does hits both alike. Measured are the enqueue of each, and its attempt in a worker of one
thread. Exits with 1 if either takes more than 110% of the other's time (means of the middle 80%).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from config.sealing_keys import new_pair
from tasks import Job, Webhook, enqueue_webhook, producer
from tasks.passwords import Sealed, seal_password
from tests.benchmarks.guest.figures import middle
from tests.benchmarks.unsealed import unsealed
from tests.conftest import use_environment
from worker.stack import Stack

PAIRS, MOST = 1_500, 1.10
#: The first ones connect, and load what they need.
WARM = 50

#: Which function seals.
KINDS: dict[str, Callable[..., Sealed | None]] = {"plain": unsealed, "sealed": seal_password}


def webhook(number: int) -> Webhook:
    return Webhook(
        id=f"w{number % 20}",
        name="Orders",
        webhook_url="https://shop.example.com/hook",
        username="chat",
        password=f"Hunter2Hunter{number}",
    )


def ratio(words: str, times: dict[str, list[float]]) -> bool:
    """Print a row; whether the bound holds."""
    plain, sealed = (middle(times[kind][WARM:]) * 1000 for kind in ("plain", "sealed"))
    good = sealed <= MOST * plain
    verdict = "yes" if good else "**NO**"
    print(f"| {words} | {plain:.2f} ms | {sealed:.2f} ms | {sealed / plain:.1%} | {verdict} |")
    return good


def main() -> bool:
    """Print a row for each."""
    public, private = new_pair()
    keys = {
        "SEALING_PUBLIC_KEY": public.get_secret_value(),
        "SEALING_PRIVATE_KEYS": private.get_secret_value(),
    }
    enqueues: dict[str, list[float]] = {kind: [] for kind in KINDS}
    attempts: dict[str, list[float]] = {kind: [] for kind in KINDS}
    jobs: dict[str, list[Job]] = {kind: [] for kind in KINDS}
    with Stack(**keys) as stack:
        stack.start_redis()
        stack.start_sandbox()
        use_environment(stack.env)
        for number in range(PAIRS):
            for kind in sorted(KINDS, reverse=number % 2 == 1):
                one = webhook(number)
                producer.seal_password = KINDS[kind]
                start = time.perf_counter()
                job = enqueue_webhook(f"{kind}-{number // 20}", one)
                enqueues[kind].append(time.perf_counter() - start)
                jobs[kind].append(job)
        stack.start_worker("worker", "--concurrency", "1", "-I", "tests.benchmarks.unsealed")
        for kind in KINDS:
            for job in jobs[kind]:
                entry: dict[str, Any] = job.wait(300).history[-1]
                assert entry["outcome"] == "created"
                attempts[kind].append(entry["ms"] / 1000)
    print("| | not sealed | sealed | ratio | at most 110% |")
    print("| --- | --- | --- | --- | --- |")
    enqueue_is_good = ratio("an enqueue", enqueues)
    return ratio("an attempt in a worker", attempts) and enqueue_is_good


if __name__ == "__main__":
    sys.exit(not main())
