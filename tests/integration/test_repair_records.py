"""`check`: records and entries that are broken, missing or kept wrongly; reported and mended."""

from __future__ import annotations

import pytest

from tasks.more import VERSION
from tests.integration.damage import SETS, Damaged, damaged_fixture, found

damaged = damaged_fixture

DAY = 86_400


@pytest.mark.parametrize("name", ["waiting", "running", "retry"])
def test_an_unfinished_job_that_is_to_be_told_is_no_problem(damaged: Damaged, name: str) -> None:
    damaged.put("untold", getattr(damaged, name))
    assert found() == []


@pytest.mark.parametrize("name", ["waiting", "published", "running", "retry", "failure"])
def test_a_record_that_would_expire_before_its_time(damaged: Damaged, name: str) -> None:
    job = getattr(damaged, name)
    damaged.client.expire(damaged.key(job), 1000)
    assert found() == found(repair=True) == [(job, "expires")]
    assert damaged.client.ttl(damaged.key(job)) == -1
    assert found() == []


@pytest.mark.parametrize("name", ["success", "revoked"])
def test_a_record_that_would_never_expire(damaged: Damaged, name: str) -> None:
    job = getattr(damaged, name)
    damaged.client.persist(damaged.key(job))
    assert found() == found(repair=True) == [(job, "never expires")]
    assert damaged.client.ttl(damaged.key(job)) == pytest.approx(604_800, abs=5)
    assert found() == []


def test_a_job_that_the_index_lacks(damaged: Damaged) -> None:
    created_at = damaged.store.get(damaged.success).created_at
    damaged.take("index", damaged.success)
    assert found() == found(repair=True) == [(damaged.success, "not indexed")]
    assert damaged.client.zscore("webhooks:index", damaged.success) == created_at
    assert found() == []


@pytest.mark.parametrize("name", ["waiting", "published", "running", "success", "failure"])
def test_entries_without_a_record(damaged: Damaged, name: str) -> None:
    job = getattr(damaged, name)
    damaged.put("untold", job, damaged.store.clock() - 20)
    damaged.ghost(job)
    assert found() == [(job, "no record")]
    assert found(repair=True) == [(job, "no record")]
    left = [place for place in SETS if damaged.client.zscore(f"webhooks:{place}", job)]
    assert left == ["untold"]  # a worker sees to that
    assert found() == []


@pytest.mark.parametrize("place", [place for place in SETS if place not in ("index", "untold")])
def test_an_entry_of_a_job_that_never_was(damaged: Damaged, place: str) -> None:
    damaged.put(place, "never-was", 1)
    assert found() == found(repair=True) == [("never-was", "no record")]
    assert found() == []


@pytest.mark.parametrize(("age", "wrong"), [(6 * DAY, True), (8 * DAY, False), (400 * DAY, False)])
def test_the_index_keeps_an_expired_job_until_it_is_pruned(
    damaged: Damaged, age: float, wrong: bool
) -> None:
    """Records live for a week from their job's end, whenever that was; beat prunes daily."""
    damaged.put("index", "ended", damaged.store.clock() - age)
    assert found() == ([("ended", "no record")] if wrong else [])
    # Elsewhere there must be none, whatever the index says.
    damaged.put("waiting", "ended")
    assert found() == [("ended", "no record")]
    assert found(repair=True) == [("ended", "no record")]
    assert (damaged.client.zscore("webhooks:index", "ended") is None) == wrong
    assert found() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("webhook", '{"id": "a'),
        ("webhook", '"a"'),
        ("error", "{"),
        ("history", '{"ms": 1}\n{"ms'),
        ("state", "DONE"),
        ("state", None),
        ("attempt", "many"),
        ("due_at", "soon"),
        ("app_id", None),
        ("v", None),
    ],
)
def test_a_record_that_cannot_be_read_is_left_alone(
    damaged: Damaged, field: str, value: str | None
) -> None:
    key = damaged.key(damaged.published)
    damaged.take("published", damaged.published)
    damaged.take("waiting", damaged.retry)
    if value is None:
        damaged.client.hdel(key, field)
    else:
        damaged.client.hset(key, field, value)
    before = damaged.client.dump(key)
    both = {(damaged.published, "unreadable"), (damaged.retry, "misplaced")}
    assert set(found(repair=True)) == both  # the other one is mended all the same
    assert damaged.client.dump(key) == before
    assert found() == [(damaged.published, "unreadable")]


def test_a_key_that_is_no_record_is_left_alone(damaged: Damaged) -> None:
    damaged.client.set(damaged.key("text"), "x")
    assert found(repair=True) == found() == [("text", "unreadable")]


def test_a_record_of_a_newer_version_is_left_alone(damaged: Damaged) -> None:
    key = damaged.key(damaged.waiting)
    damaged.client.hset(key, mapping={"v": VERSION + 1, "state": "PAUSED"})
    damaged.take("waiting", damaged.waiting)
    before = damaged.client.dump(key)
    assert found(repair=True) == found() == [(damaged.waiting, "newer")]
    assert damaged.client.dump(key) == before


def test_many_at_once_are_all_found_and_mended(damaged: Damaged) -> None:
    jobs = {damaged.add(f"many-{number}") for number in range(1200)}
    damaged.client.delete("webhooks:waiting", "webhooks:published")
    jobs |= {damaged.waiting, damaged.published, damaged.retry}
    assert {job for job, kind in found() if kind == "misplaced"} == jobs
    assert {job for job, kind in found(repair=True) if kind == "misplaced"} == jobs
    assert found() == []
    assert damaged.store.counts()["waiting"] == len(jobs)
