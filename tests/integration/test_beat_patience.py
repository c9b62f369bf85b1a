"""Beat stays when Redis is away, full or a replica, and when its lock is gone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import redis
from celery import Celery
from pydantic import SecretStr
from redbeat import RedBeatSchedulerEntry

from config.celery_app import QUEUE, configuration
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

        server.kill()
        eventually(lambda: count(beat, "beat waits") == 4)
        server.start()
        eventually(lambda: count(beat, "beat goes on") == 4)
        make_due(server.url, "prune")
        eventually(lambda: client.llen(QUEUE) == 1)

        server.kill()
        assert beat.stop() == 0
        assert "Traceback" not in beat.output()


def test_beat_that_never_met_redis_stops_when_told_to() -> None:
    with Stack(COMETCHAT_BASE_URL="http://127.0.0.1:1") as stack:
        stack.env["REDIS_URL"] = f"redis://{HOST}:{free_port()}/0"
        beat = stack.celery("beat", "beat")
        beat.wait_for_line("beat waits")
        assert beat.stop() == 0
