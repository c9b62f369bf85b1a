"""What each of Redis's users may do, and what none but the right one may; config/redis.acl."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from tasks import (
    StoreUnavailable,
    Webhook,
    delete_webhook,
    enqueue_webhook,
    enqueue_webhooks,
    get_job,
    update_webhook,
)
from tasks.errors import StoreRefused
from tasks.jobs import JobStore
from tasks.store import get_store
from tests.integration.users import USERS, Guarded, guarded_fixture, server_fixture
from worker.stack import HOST

server, guarded = server_fixture, guarded_fixture

ORDER = Webhook(
    id="orders",
    name="Orders",
    webhook_url="https://x.example/orders",
    username="shop",
    password="Hunter2Hunter2",
)


#: What no process may do, however it tries.
NOBODY = [
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "GET", "*"),
    ("CONFIG", "SET", "dir", "/tmp"),
    ("KEYS", "*"),
    ("EVAL", "return 1", "0"),
    ("SCRIPT", "FLUSH"),
    ("FUNCTION", "FLUSH"),
    ("FUNCTION", "DELETE", "x"),
    ("SHUTDOWN",),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "default", "on"),
    ("DEBUG", "SLEEP", "0"),
    ("MONITOR",),
    ("CLIENT", "LIST"),
    ("REPLICAOF", "x.example", "6379"),
    ("MODULE", "LIST"),
    ("MIGRATE", "x.example", "6379", "webhooks:job:1", "0", "100"),
    ("DUMP", "webhooks:job:1"),
    ("RESTORE", "webhooks:job:1", "0", "x"),
    ("RENAME", "webhooks:job:1", "webhooks:job:2"),
    ("COPY", "webhooks:sealed:1", "webhooks:job:2"),
    ("DEL", "webhooks:audit"),
    ("XTRIM", "webhooks:audit", "MAXLEN", "0"),
    ("XDEL", "webhooks:audit", "1-1"),
    ("GET", "others"),
    ("SET", "others", "x"),
    ("LRANGE", "webhooks", "0", "-1"),
    ("DEL", "webhooks"),
    ("PUBLISH", "others", "x"),
    ("SUBSCRIBE", "__keyspace@0__:webhooks"),
]

#: Every way to see a sealed password.
READ_SEALED = [
    ("GET", "webhooks:sealed:1"),
    ("GETRANGE", "webhooks:sealed:1", "0", "-1"),
    ("GETDEL", "webhooks:sealed:1"),
    ("GETEX", "webhooks:sealed:1"),
    ("MGET", "webhooks:sealed:1"),
    ("SET", "webhooks:sealed:1", "x", "GET"),
    ("HGET", "webhooks:sealed:1", "x"),
    ("HGETALL", "webhooks:sealed:1"),
    ("SORT", "webhooks:sealed:1"),
    ("STRLEN", "webhooks:sealed:1"),
]

LOSE_JOBS = [
    ("DEL", "webhooks:job:1"),
    ("EXPIRE", "webhooks:job:1", "0"),
    ("ZREM", "webhooks:waiting", "1"),
    ("DEL", "webhooks:index"),
    ("DEL", "webhooks:chain:1"),
]
OPEN_GATE = [("HSET", "webhooks:gate:default", "x", "1"), ("DEL", "webhooks:gate:default")]
SEE_JOBS = [("HGETALL", "webhooks:job:1"), ("ZRANGE", "webhooks:index", "0", "-1")]
ADD_JOBS = [("HSET", "webhooks:job:1", "x", "1"), ("ZADD", "webhooks:waiting", "1", "1")]
TAKE_HINTS = [("BRPOP", "webhooks", "1"), ("RPOP", "webhooks")]
HINT = [("LPUSH", "webhooks", "x")]
CONTROL = [("PUBLISH", "/0.celery.pidbox", "x")]
SEE_EVENTS = [("PSUBSCRIBE", "/0.celeryev/*")]
FORGE_RESULTS = [("SETEX", "celery-task-meta-1", "9", "x"), ("DEL", "celery-task-meta-1")]
CHANGE_SCHEDULE = [("HSET", "webhooks:beat:prune", "definition", "x")]
NOTE = [("XADD", "webhooks:audit", "*", "action", "x")]
SEE_NOTES = [("XRANGE", "webhooks:audit", "-", "+"), ("XREVRANGE", "webhooks:audit", "+", "-")]
LOAD = [("FUNCTION", "LOAD", "#!lua name=x\n")]
SEE_STEPS = [("FUNCTION", "LIST")]

MUST_NOT: dict[str, list[tuple[str, ...]]] = {
    "producer": [
        *(*READ_SEALED, *LOSE_JOBS, *OPEN_GATE, *TAKE_HINTS, *CONTROL, *SEE_EVENTS, *NOTE),
        *(
            *HINT,
            *SEE_NOTES,
            *FORGE_RESULTS,
            *CHANGE_SCHEDULE,
            *LOAD,
            *SEE_STEPS,
            ("SCRIPT", "LOAD", "return 1"),
        ),
    ],
    "worker": [*CHANGE_SCHEDULE, *SEE_NOTES],
    "beat": [
        *(*READ_SEALED, *LOSE_JOBS, *OPEN_GATE, *SEE_JOBS, *ADD_JOBS, *TAKE_HINTS, *CONTROL),
        *(*SEE_EVENTS, *FORGE_RESULTS, *NOTE, *SEE_NOTES, *LOAD, *SEE_STEPS),
    ],
    "flower": [
        *(*READ_SEALED, *LOSE_JOBS, *OPEN_GATE, *SEE_JOBS, *ADD_JOBS, *TAKE_HINTS, *HINT),
        *(*FORGE_RESULTS, *CHANGE_SCHEDULE, *NOTE, *SEE_NOTES, *LOAD, *SEE_STEPS),
    ],
    "operator": [*READ_SEALED, *TAKE_HINTS, *HINT, *CHANGE_SCHEDULE, *SEE_EVENTS, *LOAD],
}


class TestMustNot:
    @pytest.mark.parametrize("user", USERS)
    def test_do_what_others_do(self, guarded: Guarded, user: str) -> None:
        """By Redis's own dry run, which checks without doing: some would end the server."""
        allowed = [
            command
            for command in (*NOBODY, *MUST_NOT[user])
            if guarded.admin.execute_command("ACL", "DRYRUN", user, *command) == "OK"
        ]
        assert not allowed

    @pytest.mark.parametrize("user", USERS)
    def test_the_dry_run_tells_the_truth(self, guarded: Guarded, user: str) -> None:
        guarded.admin.set("webhooks:sealed:1", "sealed")
        client = guarded.client(user)
        for command in MUST_NOT[user]:
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)
        if user != "worker":
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.get("webhooks:sealed:1")
        assert guarded.admin.get("webhooks:sealed:1") == "sealed"

    def test_log_in_without_a_name(self, guarded: Guarded) -> None:
        for login in ("", ":@", "default:@"):
            client = redis.Redis.from_url(f"redis://{login}{HOST}:{guarded.server.port}/0")
            with pytest.raises(redis.exceptions.AuthenticationError):
                client.ping()

    def test_be_administrators(self, guarded: Guarded) -> None:
        """Rights are named one by one: no category, and no command on all keys."""
        for user in USERS:
            told = guarded.admin.acl_getuser(user)
            told = [
                told,
                *(
                    {str(k): v for k, v in zip(s[::2], s[1::2], strict=True)}
                    for s in told["selectors"]
                ),
            ]
            for part in told:
                assert (
                    "~*" not in str(part["keys"]).split()
                    and "&*" not in str(part["channels"]).split()
                )
                assert "+@" not in str(part["commands"])


class TestProducer:
    def test_adds_reads_and_changes(self, guarded: Guarded) -> None:
        guarded.be("producer")
        job = enqueue_webhook("shop", ORDER)
        assert enqueue_webhook("shop", ORDER).id == job.id
        update = update_webhook(
            "shop", "orders", {"name": "New", "username": "shop", "password": "Other2"}
        )
        assert update.record.after == job.id
        delete_webhook("shop", "orders")
        assert (
            enqueue_webhook("shop", ORDER, not_before=time.time() + 9, expires_in=99).id != job.id
        )
        many = [
            (f"shop-{n % 9}", Webhook(id=f"w{n}", name="W", webhook_url="https://x.example/"))
            for n in range(600)
        ]
        assert not [outcome.error for outcome in enqueue_webhooks(many) if outcome.error]
        assert get_job(job.id).state == "PENDING"
        assert not guarded.denied()

    @pytest.mark.parametrize(
        "call",
        [
            lambda store, an_id: store.cancel(an_id),
            lambda store, an_id: store.claim(an_id, worker="w", token="t"),
            lambda store, an_id: store.take_due(queued=0),
            lambda store, an_id: store.hand_back("w", [an_id]),
            lambda store, an_id: store.forget(["one that is gone"]),
            lambda store, an_id: store.gate.pause("default", reason="x"),
            lambda store, an_id: store.judge("job", [an_id], queued=0, unattended="", mend=True),
        ],
    )
    def test_other_steps_stop_before_they_change_anything(
        self, guarded: Guarded, call: Any
    ) -> None:
        """The server has them; what is done within them needs the caller's own rights."""
        guarded.be("producer")
        job = enqueue_webhook("shop", ORDER)
        before = guarded.everything()
        with pytest.raises(
            StoreRefused, match=r"^Redis refuses this: .*config/redis\.acl"
        ) as refused:
            call(get_store(), job.id)
        assert refused.value.__context__ is None
        assert guarded.everything() == before

    def test_waits_for_a_worker_that_loads_the_steps(self, guarded: Guarded) -> None:
        guarded.admin.function_flush()
        worker = JobStore(SecretStr(guarded.url("worker")), pipe_size=9, result_ttl=9, patience=9)
        threading.Timer(0.7, lambda: worker.take_due(queued=0)).start()  # as its dispatcher does
        guarded.be("producer")
        assert enqueue_webhook("shop", ORDER).state == "PENDING"

    def test_says_what_is_missing_if_none_does(self, guarded: Guarded) -> None:
        guarded.admin.function_flush()
        guarded.be("producer")
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"steps of this version.*worker.*start one"):
            enqueue_webhook("shop", ORDER)
        assert time.monotonic() - began < 5

    def test_may_wait_for_the_disk_without_asking_for_the_settings(self, guarded: Guarded) -> None:
        guarded.be("producer", REDIS_APPENDFSYNC="always")
        assert enqueue_webhook("shop", ORDER, durability="fsync").state == "PENDING"
        guarded.denied()
