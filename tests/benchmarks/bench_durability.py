"""What each ENQUEUE_DURABILITY costs: `python -m tests.benchmarks.bench_durability`.

One producer that enqueues one webhook after the other, and an import of 20,000, under both ways of
Redis to sync its append-only file, with one replica that does the same. Exits with 1 when a bound
is broken: a confirmation within 100 ms (p99) where it need not wait for the sync of every second,
and 1,000 jobs a second for every import.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import NamedTuple

from config.settings import Durability
from tasks import DurabilityUnavailable, Webhook, enqueue_webhook
from tests.benchmarks.bench_import import webhook
from tests.conftest import use_environment
from worker.stack import HOST, RedisServer, Stack

JOBS, RATE, P99_SECONDS = 20_000, 1_000, 0.1
#: Enqueues of one webhook: fewer where each waits for the next of the syncs, one a second.
SINGLES, SINGLES_EVERYSEC = 500, 30


class Cost(NamedTuple):
    """Seconds of one enqueue, and jobs a second of an import."""

    p50: float
    p99: float
    rate: float


def measure(stack: Stack, durability: Durability, singles: int) -> Cost:
    """Of one durability, on the stack's Redis."""
    seconds = []
    for number in range(singles):
        one = Webhook.parse(webhook(number))
        start = time.monotonic()
        enqueue_webhook(f"{durability}-{number // 20}", one, durability=durability)
        seconds.append(time.monotonic() - start)
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    path = stack.folder / "jobs.jsonl"
    with path.open("w") as lines:
        for number in range(JOBS):
            line = {"app_id": f"import-{durability}-{number // 20}", **webhook(number)}
            lines.write(json.dumps(line) + "\n")
    began = time.monotonic()
    options = "--durability", durability, "--json"
    importing = stack.run("import", "-m", "tasks", "import", str(path), *options)
    importing.process.wait()
    rate = JOBS / (time.monotonic() - began)
    new = json.loads(importing.output().strip().splitlines()[-1]).get("new")
    return Cost(cuts[49], cuts[98], rate if new == JOBS else 0.0)


def main() -> bool:
    """Print a row for each, as the README has it."""
    good = True
    print("| appendfsync | durability | one enqueue, p50 | p99 | import, jobs/s |")
    print("| --- | --- | --- | --- | --- |")
    for fsync in ("everysec", "always"):
        with Stack() as stack:
            server = stack.start_redis("--appendfsync", fsync, "--repl-diskless-sync-delay", "0")
            follow = "--replicaof", f"{HOST} {server.port}", "--appendfsync", fsync
            replica = RedisServer(stack.folder, options=follow)
            use_environment(stack.env)
            # Connections, and the replica's first answer.
            enqueue_webhook("first", Webhook.parse(webhook(0)), durability="replicas")
            for durability in ("memory", "fsync", "replicas"):
                waits = (fsync, durability) == ("everysec", "fsync")
                try:
                    cost = measure(stack, durability, SINGLES_EVERYSEC if waits else SINGLES)
                except DurabilityUnavailable as error:
                    print(f"| {fsync} | {durability} | refused: {error} | | |")
                    continue
                times = f"{cost.p50 * 1000:.1f} ms | {cost.p99 * 1000:.1f} ms"
                print(f"| {fsync} | {durability} | {times} | {cost.rate:,.0f} |", flush=True)
                good = good and cost.rate >= RATE and (waits or cost.p99 <= P99_SECONDS)
            replica.kill()
    return good


if __name__ == "__main__":
    sys.exit(not main())
