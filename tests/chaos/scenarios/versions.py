"""Records that a later version wrote."""

from __future__ import annotations

import time
from typing import Any

import redis

from tasks.actions import list_jobs
from tasks.jobs import HINT_SECONDS, PREFIX
from tasks.more import VERSION
from tasks.record import job_id
from tasks.schedule import prune, retry_failed
from tests.chaos.gauges import Gauges
from tests.chaos.harness import Chaos
from tests.chaos.registry import scenario

#: Within so many seconds jobs run, and are told, that newer ones are in front of.
PROMPT_SECONDS = 20.0
#: Messages for each job.
MESSAGES = 1.05

#: A layout that this program does not know: a field is gone, another is new.
NEWER = {"v": str(VERSION + 1), "target": '{"version": 9}'}
NOT_IN_NEWER = ("webhook_version",)
#: Where else than in waiting and published one of them is, and how it got there.
ELSEWHERE = {
    "running": {"state": "STARTED", "worker": "newer@stack", "attempt": "1", "started_at": "1"},
    "failed": {"state": "FAILURE", "ended_at": "1", "error": "{}"},
    "untold": {"state": "SUCCESS", "ended_at": "1", "result": "{}"},
}


@scenario("records of a newer layout: left alone, and in nobody's way")
def newer_records(chaos: Chaos) -> None:
    """More of them than the pipe takes are due first; others run, have failed, were not told."""
    pipe, jobs = 32, chaos.size(100, 2_000)
    chaos.unguarded()  # this process does what beat's tasks do
    chaos.start(PIPE_SIZE=str(pipe))
    client = _redis(chaos)
    chaos.feed(pipe + 8)
    ids = [job_id("default", *key) for key in chaos.ledger.accepted]
    was = {i: client.hgetall(f"{PREFIX}job:{i}") for i in ids}
    for i, (place, fields) in zip(ids, ELSEWHERE.items(), strict=False):
        client.zrem(f"{PREFIX}waiting", i)
        client.zrem(f"{PREFIX}published", i)
        client.zadd(f"{PREFIX}{place}", {i: time.time() - 60})
        client.hset(f"{PREFIX}job:{i}", mapping=fields)
    for i in ids:
        client.hset(f"{PREFIX}job:{i}", mapping=NEWER)
        client.hdel(f"{PREFIX}job:{i}", *NOT_IN_NEWER)
    newer = {i: client.hgetall(f"{PREFIX}job:{i}") for i in ids}
    with Gauges(chaos.redis.url) as gauges:
        sent, began = gauges.messages(), time.monotonic()
        chaos.worker()
        chaos.mark()
        chaos.feed(jobs)
        chaos.wait_for_created(jobs, PROMPT_SECONDS + jobs / 50)
        [told], overdue = client.zrange(f"{PREFIX}index", -1, -1), time.time() - 30
        client.zadd(f"{PREFIX}untold", {told: overdue, ids[2]: overdue})
        chaos.wait_for(
            lambda: client.zscore(f"{PREFIX}untold", told) is None, PROMPT_SECONDS, "others told"
        )
        sent, seconds = gauges.messages() - sent, time.monotonic() - began
    for name, act in {"list": _list, "retry_failed": retry_failed, "prune": prune}.items():
        try:
            act()
        except KeyError as error:
            chaos.require(False, f"{name} stumbles over them: no {error}")
    changed = [i for i in ids if client.hgetall(f"{PREFIX}job:{i}") != newer[i]]
    chaos.require(not changed, f"{len(changed)} of them were changed, such as {changed[:1]}")
    rounds = seconds / HINT_SECONDS + 2
    chaos.report.notes.append(f"{sent} messages for {jobs} jobs and {len(ids)} of a newer layout")
    chaos.require(sent <= MESSAGES * jobs + rounds * len(ids), f"{sent} messages")
    # Those who know them are back: as they were, they all run.
    for i in ids:
        for place in ELSEWHERE:
            client.zrem(f"{PREFIX}{place}", i)
        client.delete(f"{PREFIX}job:{i}")
        client.hset(f"{PREFIX}job:{i}", mapping=was[i])
        if client.zscore(f"{PREFIX}published", i) is None:
            client.zadd(f"{PREFIX}waiting", {i: time.time()})
    chaos.drain(60)


def _list() -> None:
    for _ in list_jobs(limit=1_000_000):
        pass


def _redis(chaos: Chaos) -> Any:
    return redis.Redis.from_url(chaos.redis.url, decode_responses=True)
