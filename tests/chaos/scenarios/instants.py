"""Many jobs due at one instant, and records that expire while their webhooks' next jobs come."""

from __future__ import annotations

import time

import redis

from tasks import Webhook, set_triggers
from tasks.jobs import PREFIX
from tasks.store import get_store
from tests.chaos.harness import TENTH, Chaos
from tests.chaos.registry import scenario
from worker.stack import Part

#: Seconds from the enqueueing of the first to the instant at which all are due.
AHEAD = 8.0

#: Jobs a second that two workers on two cores run at least, and seconds beside that.
PACE, SPARE = 50, 10.0

#: Seconds that the record of an ended job is kept, and jobs of one webhook follow each other by.
TTL, PAUSE = 2, 0.7

#: What a webhook's triggers are to be, in turn.
TURNS = (["message_sent"], ["user_blocked"], [])


@scenario("many jobs due at one instant, a worker killed then", short=False)
def instant(chaos: Chaos) -> None:
    """None runs before it, and all run behind it, whoever is killed."""
    jobs = chaos.size(300, 5_000)
    chaos.start()
    workers: list[Part] = [chaos.worker(), chaos.worker()]
    due = get_store().clock() + AHEAD
    chaos.feed(jobs, not_before=due)
    chaos.require(get_store().clock() < due, "enqueueing took longer than until they are due")
    chaos.wait_for_created(jobs // 10)
    chaos.kill(workers[0])
    workers[0] = chaos.worker()
    chaos.mark()
    chaos.drain(SPARE + jobs / PACE)
    began = [record.history[0]["at"] for record in chaos.records().values()]
    early = sum(at < due - 0.01 for at in began)
    chaos.require(not early, f"{early} ran before their time")
    chaos.report.notes.append(f"all begun within {max(began) - due:.1f} s")


@scenario("records that expire while jobs of the same webhooks go on (times scaled)", short=False)
def expiring(chaos: Chaos) -> None:
    """A webhook whose record is gone is not made again, and nothing is left of any job."""
    rounds, webhooks = chaos.size(8, 80), 10
    chaos.start(RESULT_TTL=str(TTL))
    chaos.ledger.may_expire = True
    chaos.sandbox.faults(*TENTH)
    workers: list[Part] = [chaos.worker(), chaos.worker()]
    items = chaos.producer.new_items(webhooks)
    for number in range(rounds):
        # Some follow a job that is under way, others one whose record has just expired.
        chosen = chaos.random.sample(items, webhooks // 2)
        chaos.producer.enqueue(chosen)
        for app_id, webhook in chosen:
            set_triggers(app_id, webhook.id, TURNS[number % len(TURNS)])
        if number % 20 == rounds // 2 % 20:
            chaos.kill(workers[number % 2])
            workers[number % 2] = chaos.worker(wait=False)
        time.sleep(chaos.random.uniform(PAUSE, 2 * TTL) / 2)
    chaos.producer.enqueue(items)
    for app_id, webhook in items:
        set_triggers(app_id, webhook.id, _last(webhook))
    chaos.mark()
    chaos.drain()
    wrong = [
        one["id"]
        for one in chaos.sandbox.webhooks()
        if sorted(one["triggers"]) != _last(chaos.ledger.asked[one["app_id"], one["id"]])
    ]
    chaos.require(not wrong, f"other triggers than asked: {wrong[:3]}")
    with redis.Redis.from_url(chaos.redis.url, decode_responses=True) as client:
        chaos.wait_for(
            lambda: not list(client.scan_iter(f"{PREFIX}job:*", count=1_000)),
            TTL + 5,
            "all records have expired",
        )


def _last(webhook: Webhook) -> list[str]:
    return ["message_sent", "user_blocked"] if webhook.id.endswith(tuple("02468")) else []
