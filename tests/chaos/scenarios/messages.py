"""Messages that are lost, doubled, out of order, foreign or broken: a hint is only a hint."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import redis

from tasks.pipe import publish
from tasks.record import job_id
from tests.chaos.foreign import broken, strange
from tests.chaos.harness import Chaos
from tests.chaos.registry import scenario
from worker.stack import Part

QUEUE = "webhooks"

SECRET = "hunter2hunter2"

#: What a worker must not print because of a message, besides what is in it.
UNSEEMLY = ("Traceback", '"level": "error"', '"level": "critical"', "Connection to broker lost")


@contextmanager
def _broker(chaos: Chaos) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(chaos.redis.url) as client:
        yield client


def _meanwhile(chaos: Chaos, meddle: Callable[[redis.Redis], None]) -> None:
    """Meddle with the queue again and again while jobs come in and run."""
    jobs, times = chaos.size(150, 5_000), chaos.size(1, 10)
    chaos.start(latency=0.02)
    workers = [chaos.worker("--concurrency", "8", wait=False) for _ in range(2)]
    for worker in workers:
        worker.wait_for_line(" ready.")
    with _broker(chaos) as broker, chaos.feeding(jobs):
        for number in range(times):
            chaos.wait_for_created(jobs * number // (times + 1) + 20)
            time.sleep(chaos.random.uniform(0, 0.2))
            chaos.mark()
            meddle(broker)
    chaos.drain()


@scenario("the queue deleted", short=False)
def queue_deleted(chaos: Chaos) -> None:
    """Hints that nobody claims are sent again."""
    deleted = []

    def meddle(broker: redis.Redis) -> None:
        deleted.append(int(broker.llen(QUEUE)))
        broker.delete(QUEUE)

    _meanwhile(chaos, meddle)
    chaos.report.notes.append(f"{sum(deleted)} messages deleted")


@scenario("every Celery key deleted: queue, bindings, unacknowledged, results")
def celery_keys_deleted(chaos: Chaos) -> None:
    """All but the job records."""
    names: set[str] = set()

    def meddle(broker: redis.Redis) -> None:
        keys = [key for key in broker.keys("*") if not key.startswith(b"webhooks:")]
        names.update(key.decode().split("-")[0] for key in keys)
        if keys:
            broker.delete(*keys)

    _meanwhile(chaos, meddle)
    chaos.report.notes.append(f"deleted: {', '.join(sorted(names))}")


@scenario("all messages doubled")
def doubled(chaos: Chaos) -> None:
    """As they stand in the queue, and as new ones for each job that there is."""

    def meddle(broker: redis.Redis) -> None:
        if messages := broker.lrange(QUEUE, 0, -1):
            broker.lpush(QUEUE, *messages)
        known = [job_id("default", *key) for key in sorted(chaos.ledger.accepted)]
        publish(chaos.random.sample(known, min(len(known), 500)))

    _meanwhile(chaos, meddle)
    repeated = [key for key, record in chaos.records().items() if record.attempt != 1]
    chaos.require(not repeated, f"ran more than once: {repeated[:3]}")


@scenario("messages in any order", short=False)
def shuffled(chaos: Chaos) -> None:
    """The first is not the oldest any more."""
    shuffle = """
        local all = redis.call('LRANGE', KEYS[1], 0, -1)
        math.randomseed(tonumber(ARGV[1]))
        for i = #all, 2, -1 do local j = math.random(i); all[i], all[j] = all[j], all[i] end
        redis.call('DEL', KEYS[1])
        for _, one in ipairs(all) do redis.call('RPUSH', KEYS[1], one) end
        return #all"""
    counts: list[int] = []

    def meddle(broker: redis.Redis) -> None:
        counts.append(int(broker.eval(shuffle, 1, QUEUE, str(chaos.random.randrange(10**6)))))

    _meanwhile(chaos, meddle)
    chaos.report.notes.append(f"{sum(counts)} messages shuffled")
    repeated = [key for key, record in chaos.records().items() if record.attempt != 1]
    chaos.require(not repeated, f"ran more than once: {repeated[:3]}")


@scenario("foreign and broken messages")
def foreign(chaos: Chaos) -> None:
    """One line each with nothing of what is in them; the worker keeps its connection."""
    chaos.start()
    worker = chaos.worker("--concurrency", "8")
    rounds = chaos.size(1, 20)
    bad, odd = broken(SECRET), strange(SECRET)
    with _broker(chaos) as broker, chaos.feeding(chaos.size(100, 2_000)):
        for number in range(1, rounds + 1):
            messages = [*bad.values(), *odd.values()]
            chaos.random.shuffle(messages)
            for message in messages:
                broker.lpush(QUEUE, message)
            chaos.mark()
            chaos.wait_for(
                lambda: _dropped(worker) >= number * len(bad),  # noqa: B023
                30,
                f"{len(bad)} messages dropped",
            )
        for exchange in (b"/0.celery.pidbox", b"/0.celeryev/worker.heartbeat"):
            for message in (SECRET.encode(), b"7", b'{"a": 1}', b"\xff"):
                broker.publish(exchange.decode(), message)
    chaos.feed(1)  # its message comes after all others
    chaos.drain()
    told, count = _dropped(worker), rounds * len(bad) + 8
    chaos.require(told == count, f"{told} lines about {count} dropped messages")
    output = worker.output()
    chaos.require(SECRET not in output, "what was in a message is in the log")
    # A task of another program is an error, with its likely cause.
    own = "".join(line for line in output.splitlines(keepends=True) if "likely_cause" not in line)
    for words in UNSEEMLY:
        chaos.require(words not in own, f"the log has {words!r}")


def _dropped(worker: Part) -> int:
    return worker.output().count("message dropped")
