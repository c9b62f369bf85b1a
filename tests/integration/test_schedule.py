"""Rounds of what beat asks for: bounded by Redis's clock, however many messages there are."""

from __future__ import annotations

import pytest
import redis
from structlog.testing import capture_logs

from config.celery_app import configuration
from config.settings import get_settings
from tasks.jobs import JobStore
from tasks.schedule import prune, retry_failed


def begun(logs: list[dict[str, object]]) -> list[object]:
    return [line["event"] for line in logs if line["event"] in {"retry_failed", "prune"}]


def test_messages_that_had_to_wait_begin_one_round(store: JobStore) -> None:
    with capture_logs() as logs:
        for _ in range(3):
            retry_failed.apply()
            prune.apply()
    assert begun(logs) == ["retry_failed", "prune"]


def test_who_calls_the_function_gets_a_round(store: JobStore) -> None:
    with capture_logs() as logs:
        retry_failed()
        retry_failed()
    assert begun(logs) == ["retry_failed", "retry_failed"]


def test_a_round_is_over_after_its_time(store: JobStore, redis_server: str) -> None:
    assert store.begin_round("some", 600)
    assert not store.begin_round("some", 600)
    assert store.begin_round("other", 600)
    with redis.Redis.from_url(redis_server) as client:
        assert 590_000 < client.pttl("webhooks:round:some") <= 600_000
        client.pexpire("webhooks:round:some", 1)
        while client.exists("webhooks:round:some"):
            pass
    assert store.begin_round("some", 600)


@pytest.mark.usefixtures("redis_server")
def test_beats_messages_do_not_expire_by_anybodys_clock() -> None:
    entries = configuration(get_settings())["beat_schedule"].values()
    assert entries
    assert [entry for entry in entries if entry.get("options")] == []
