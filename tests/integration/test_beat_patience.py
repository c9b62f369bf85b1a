"""Beat stays when Redis is away, full or a replica, and when its lock is gone."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from typing import Any

import redis
from celery import Celery
from pydantic import SecretStr
from redbeat import RedBeatSchedulerEntry

from config.broker import QUEUE
from config.celery_app import configuration
from config.settings import load_settings
from tests.conftest import eventually
from worker.stack import HOST, Part, Stack, free_port


def make_due(url: str, name: str) -> None:
    app = Celery(set_as_current=False)
    app.conf.update(configuration(load_settings(_env_file=None, redis_url=SecretStr(url))))
    entry: Any = RedBeatSchedulerEntry.from_key(f"webhooks:beat:{name}", app=app)
    entry.reschedule(datetime(2020, 1, 1, tzinfo=UTC))


def count(beat: Part, words: str) -> int:
    return beat.output().count(words)


def test_beat_stays_and_goes_on() -> None:
    with Stack(COMETCHAT_BASE_URL="http://127.0.0.1:1") as stack:
        server = stack.start_redis()
        server.kill()
        beat = stack.celery("beat", "beat", "--max-interval", "1")
        beat.wait_for_line("beat waits")
        server.start()
        beat.wait_for_line("Acquired lock")

        # Its connections outlive this, and lead to a replica meanwhile.
        client: Any = redis.Redis.from_url(server.url)
        client.replicaof(HOST, free_port())
        eventually(lambda: count(beat, "beat waits") == 2)
        client.replicaof("NO", "ONE")
        eventually(lambda: count(beat, "beat goes on") == 2)

        client.delete("webhooks:beat::lock")
        eventually(lambda: count(beat, "Acquired lock") == 2)
        # Killed within this same tick, it would be in trouble still, and say nothing new.
        eventually(lambda: count(beat, "beat goes on") == 3)

        server.kill()
        eventually(lambda: count(beat, "beat waits") == 4)
        server.start()
        eventually(lambda: count(beat, "beat goes on") == 4)
        make_due(server.url, "prune")
        eventually(lambda: client.llen(QUEUE) == 1)

        server.kill()
        assert beat.stop() == 0
        assert "Traceback" not in beat.output()


def test_what_could_not_be_sent_stays_due() -> None:
    with Stack(COMETCHAT_BASE_URL="http://127.0.0.1:1") as stack:
        server = stack.start_redis()
        beat = stack.celery("beat", "beat", "--max-interval", "1")
        beat.wait_for_line("Acquired lock")
        client: Any = redis.Redis.from_url(server.url)
        client.execute_command("ACL", "SETUSER", "default", "-lpush")
        make_due(server.url, "prune")
        beat.wait_for_line("Sending due task prune")
        eventually(lambda: count(beat, "not sent, it stays due") == 1)
        assert "lpush" in beat.output()  # the right that is missing
        assert client.llen(QUEUE) == 0
        client.execute_command("ACL", "SETUSER", "default", "+lpush")
        eventually(lambda: client.llen(QUEUE) == 1)
        due_at = partial(client.zscore, "webhooks:beat::schedule", "webhooks:beat:prune")
        eventually(lambda: due_at() > time.time())
        assert client.llen(QUEUE) == 1
        assert beat.stop() == 0
        assert "Traceback" not in beat.output()


def test_beat_that_never_met_redis_stops_when_told_to() -> None:
    with Stack(COMETCHAT_BASE_URL="http://127.0.0.1:1") as stack:
        stack.env["REDIS_URL"] = f"redis://{HOST}:{free_port()}/0"
        beat = stack.celery("beat", "beat")
        beat.wait_for_line("beat waits")
        assert beat.stop() == 0
