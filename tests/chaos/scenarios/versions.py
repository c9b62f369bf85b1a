"""Versions of the program beside each other, and records that other versions wrote."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import redis

from config.celery_app import app
from config.settings import get_settings
from tasks.actions import list_jobs, retry_job
from tasks.clients import get_api
from tasks.jobs import HINT_SECONDS, PREFIX
from tasks.more import VERSION
from tasks.record import job_id
from tasks.schedule import prune, retry_failed
from tasks.webhook import Webhook
from tests.chaos.gauges import Gauges
from tests.chaos.harness import TENTH, Chaos, Key
from tests.chaos.old_records import PASSWORD, SEALING_KEY, OldRecords
from tests.chaos.older import OlderVersion
from tests.chaos.registry import scenario

#: Before work on durability and versions began: other steps, and no look at a record's version.
PINNED = "ae461b5"
REVISIONS = ("HEAD~1", PINNED)

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


@scenario("records, messages and passwords of an older version")
def older_records(chaos: Chaos) -> None:
    """What an older version had left half-done is done, and what it had done stays so."""
    chaos.unguarded()  # the older version knows of neither
    chaos.start(SEALING_KEYS=SEALING_KEY)
    _run_old_records(chaos)


def _run_old_records(chaos: Chaos) -> None:
    kept = OldRecords.read()
    before = kept.records()
    client = _redis(chaos)
    kept.write(client, expire_seconds=get_settings().result_ttl)
    for app_id, version, webhook in kept.webhooks:
        get_api().create_webhook(app_id, Webhook.parse(webhook), version=version)
    for record in before.values():
        chaos.ledger.accepted.add((record.app_id, record.webhook_id))
    chaos.ledger.cancelled.add(("revoked", "orders"))
    chaos.ledger.perhaps_cancelled.add(("running-cancelled", "orders"))
    retry_job(before["refused"].id)
    chaos.worker()
    chaos.drain(30)
    chaos.wait_for(
        lambda: not client.zcard(f"{PREFIX}untold"), 20, "the outcomes of older jobs are told"
    )
    after = {record.app_id: record for record in chaos.records().values()}
    states = {name: record.state for name, record in after.items()}
    wanted = dict.fromkeys(before, "SUCCESS") | dict.fromkeys(
        ("revoked", "running-cancelled"), "REVOKED"
    )
    chaos.require(states == wanted, f"they ended as {states}")
    told = {name: app.AsyncResult(record.id).state for name, record in after.items()}
    chaos.require(told == wanted, f"the result backend says {told}")
    histories = {
        "created": ["created"],
        "created-late": ["ApiUnavailable", "existed"],
        "unavailable": ["ApiUnavailable", "created"],
        "limited": ["RateLimited", "created"],
        "refused": ["WebhookRejected", "created"],
        "running": ["lost", "created"],
        "running-cancelled": ["lost"],
        "revoked": [],
        "later": ["created"],
    }
    for name, outcomes in histories.items():
        found = [entry["outcome"] for entry in after[name].history]
        chaos.require(found == outcomes, f"{name}: {found}")
    chaos.require(after["created"].result == before["created"].result, "a result was changed")
    [secret] = [one for one in chaos.sandbox.webhooks() if one["app_id"] == "with-a-password"]
    chaos.require(
        secret["password_sha256"] == sha256(PASSWORD.encode()).hexdigest(), "another password"
    )
    [legacy] = [one for one in chaos.sandbox.webhooks() if one["app_id"] == "legacy"]
    chaos.require(legacy["version"] == "legacy", "a legacy webhook is none")
    chaos.report.notes.append(f"records of {kept.revision}: {len(before)}")


@scenario("the previous commit's workers and producer beside the new ones")
def older_workers(chaos: Chaos) -> None:
    """Both work on the same jobs, of either's making, while workers of both are killed."""
    chaos.unguarded()  # the older version knows of neither
    chaos.start(latency=0.05, SEALING_KEYS=SEALING_KEY)
    for revision in REVISIONS[: chaos.size(1, len(REVISIONS))]:
        try:
            version = OlderVersion(revision, chaos.stack.folder)
        except LookupError as reason:
            chaos.report.notes.append(f"{revision}: {reason}; its records from the repository")
            if not chaos.ledger.accepted:
                _run_old_records(chaos)
        else:
            _work_together(chaos, version, chaos.size(160, 2_400), kills=chaos.size(0, 2))


def _work_together(chaos: Chaos, version: OlderVersion, jobs: int, kills: int) -> None:
    chaos.sandbox.faults(*TENTH)
    before, done = set(chaos.ledger.accepted), chaos.created()
    theirs: set[Key] = set()
    sides: list[Mapping[str, str]] = [version.env, {}]
    workers = [chaos.worker(wait=False, **env) for env in sides]
    of_theirs = {workers[0].name}
    for worker in workers:
        worker.wait_for_line(" ready.")
    chaos.require(version.runs(workers[0]), f"{version.name} does not run")
    share = jobs // 2 // (kills + 1)
    with chaos.feeding(jobs // 2):
        for number in range(kills + 1):
            theirs |= _enqueue_with(chaos, version, share)
            for side, env in enumerate(sides if number < kills else ()):
                chaos.wait_for_created(done + (2 * number + side + 1) * share // 2)
                chaos.kill(workers[side])
                chaos.mark()
                workers[side] = chaos.worker(wait=False, **env)
                workers[side].wait_for_line(" ready.")
            of_theirs.add(workers[0].name)
    chaos.drain(120)
    for worker in workers:
        chaos.require(worker.stop() == 0, f"{worker.name} did not stop cleanly")
    ran = Counter(
        ("theirs" if key in theirs else "ours", "theirs" if by in of_theirs else "ours")
        for key, record in chaos.records().items()
        if key not in before
        for by in (entry["worker"].partition("@")[0] for entry in record.history)
    )
    chaos.require(len(ran) == 4, f"{version.name}: (producer's, worker's) attempts: {dict(ran)}")
    chaos.report.notes.append(
        f"{version.name}: {ran['theirs', 'ours']} attempts of ours at its jobs, "
        f"{ran['ours', 'theirs']} of its at ours"
    )


def _enqueue_with(chaos: Chaos, version: OlderVersion, count: int) -> set[Key]:
    items = chaos.producer.new_items(count)
    accepted = version.enqueue(
        chaos.stack.env, [(app_id, webhook.wire(), {}) for app_id, webhook in items]
    )
    chaos.require(len(accepted) == count, f"{version.name} accepted {len(accepted)} of {count}")
    chaos.ledger.accepted |= accepted
    return accepted


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
