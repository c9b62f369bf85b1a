"""`check`: jobs that are not where they belong, and what nobody sees to; reported and mended."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tasks import Webhook, enqueue_webhook
from tasks.pipe import publish
from tasks.repair import find_problems
from tasks.states import NONE
from tests.integration.damage import Damaged, damaged_fixture, found

damaged = damaged_fixture


def test_nothing_is_wrong_with_sound_jobs(damaged: Damaged) -> None:
    before = damaged.dump()
    assert found() == found(repair=True) == []
    assert damaged.dump() == before


Break = Callable[[Damaged], str]


def out_of(name: str, place: str) -> Break:
    def damage(damaged: Damaged) -> str:
        job = str(getattr(damaged, name))
        damaged.take(place, job)
        return job

    return damage


def into(name: str, place: str) -> Break:
    def damage(damaged: Damaged) -> str:
        job = str(getattr(damaged, name))
        damaged.put(place, job)
        return job

    return damage


@pytest.mark.parametrize(
    ("damage", "ends_in"),
    [
        (out_of("waiting", "waiting"), ["waiting"]),
        (out_of("published", "published"), ["waiting"]),
        (out_of("retry", "waiting"), ["waiting"]),
        (out_of("running", "running"), ["running"]),
        (out_of("failure", "failed"), ["failed"]),
        (into("waiting", "published"), ["waiting"]),
        (into("published", "waiting"), ["waiting"]),
        (into("published", "running"), ["waiting"]),
        (into("waiting", "failed"), ["waiting"]),
        (into("running", "waiting"), ["running"]),
        (into("running", "published"), ["running"]),
        (into("success", "waiting"), []),
        (into("success", "failed"), []),
        (into("revoked", "waiting"), []),
        (into("revoked", "published"), []),
        (into("revoked", "running"), []),
        (into("failure", "waiting"), ["failed"]),
        (into("failure", "running"), ["failed"]),
    ],
)
def test_a_job_that_is_not_where_it_belongs(
    damaged: Damaged, damage: Break, ends_in: list[str]
) -> None:
    job = damage(damaged)
    record, before = damaged.store.get(job), damaged.dump()
    assert found() == [(job, "misplaced")]
    assert damaged.dump() == before

    [problem] = find_problems(repair=True)

    assert problem.mended
    assert damaged.places(job) == ends_in
    after = damaged.store.get(job)
    assert (after.state, after.attempt) == (record.state, record.attempt)
    assert found() == []


def test_a_job_for_later_is_not_run_early_by_its_repair(damaged: Damaged) -> None:
    damaged.take("waiting", damaged.waiting)
    list(find_problems(repair=True))
    due = damaged.store.get(damaged.waiting).due_at
    assert due is not None
    assert due - damaged.store.clock() > 3500
    assert damaged.client.zscore("webhooks:waiting", damaged.waiting) == due


def test_a_job_whose_attempt_may_run_reads_back_first(damaged: Damaged) -> None:
    damaged.put("running", damaged.published)
    assert not damaged.store.get(damaged.published).outcome_unknown
    list(find_problems(repair=True))
    assert damaged.store.get(damaged.published).outcome_unknown


def test_a_running_job_without_a_lease_stays_with_a_live_worker(damaged: Damaged) -> None:
    damaged.take("running", damaged.running)
    record = damaged.store.get(damaged.running)
    list(find_problems(repair=True))
    damaged.store.renew("w@h", [record.id])
    assert damaged.store.finish(record, "SUCCESS", result={"id": "running"})


def test_a_running_job_without_a_lease_whose_worker_is_gone_runs_again(damaged: Damaged) -> None:
    damaged.take("running", damaged.running)
    list(find_problems(repair=True))
    damaged.put("running", damaged.running, 1)  # the lease that it got has ended
    damaged.store.take_due(queued=0)
    record = damaged.store.get(damaged.running)
    assert (record.state, record.outcome_unknown) == ("RETRY", True)


@pytest.mark.parametrize("lost", ["worker", "started_at"])
def test_a_running_job_without_a_worker(damaged: Damaged, lost: str) -> None:
    damaged.client.hdel(damaged.key(damaged.running), lost)
    assert found() == [(damaged.running, "no worker")]
    assert found(repair=True) == [(damaged.running, "no worker")]
    record = damaged.store.get(damaged.running)
    assert (record.state, record.outcome_unknown) == ("RETRY", True)
    assert damaged.places(record.id) == ["waiting"]
    assert found() == []


def test_a_running_job_in_no_set_and_without_a_worker_is_mended_at_once(damaged: Damaged) -> None:
    damaged.take("running", damaged.running)
    damaged.client.hdel(damaged.key(damaged.running), "worker")
    assert found(repair=True) == [(damaged.running, "misplaced"), (damaged.running, "no worker")]
    assert damaged.places(damaged.running) == ["waiting"]
    assert found() == []


def test_a_lease_that_nobody_takes_up(damaged: Damaged) -> None:
    damaged.put("running", damaged.running, damaged.store.clock() - 20)
    assert found() == [(damaged.running, "lease over")]
    [problem] = find_problems(repair=True)
    assert "was run by w@h, which is gone, and no worker seems to run" in problem.problem
    record = damaged.store.get(damaged.running)
    assert (record.state, record.outcome_unknown) == ("RETRY", True)
    assert record.history[-1]["outcome"] == "lost"
    assert found() == []


def test_a_cancelled_job_whose_lease_nobody_takes_up_ends(damaged: Damaged) -> None:
    damaged.store.cancel(damaged.running)
    damaged.put("running", damaged.running, damaged.store.clock() - 20)
    assert found(repair=True) == [(damaged.running, "lease over")]
    assert damaged.store.get(damaged.running).state == "REVOKED"
    assert found() == []


def test_a_hint_whose_message_is_gone(damaged: Damaged) -> None:
    damaged.put("published", damaged.published, damaged.store.clock() - 20)
    assert found() == [(damaged.published, "hint lost")]
    assert found(repair=True) == [(damaged.published, "hint lost")]
    assert damaged.places(damaged.published) == ["waiting"]
    assert found() == []


def test_a_hint_whose_message_is_in_the_queue_waits_for_a_worker(
    damaged: Damaged, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = enqueue_webhook("app", Webhook(id="a", name="A", webhook_url="https://a.example/"))
    publish(damaged.store.take_due(queued=0).hints)
    damaged.put("published", job.id, damaged.store.clock() - 20)
    damaged.put("published", damaged.published, damaged.store.clock() - 30)
    assert found() == []  # the message may hint at both
    monkeypatch.setattr("tasks.repair.IDS", 1)
    # The queue is first in, first out: the older hint is the one that is gone.
    assert found() == [(damaged.published, "hint lost")]
    damaged.take("published", damaged.published)
    damaged.put("waiting", damaged.published)
    assert damaged.store.unattended(queued=1) == set()
    assert found() == []


def test_what_a_live_dispatcher_sees_to_is_no_problem(
    damaged: Damaged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is overdue is seen to while `check` waits."""
    for place, job in (
        ("running", damaged.running),
        ("published", damaged.published),
        ("untold", damaged.success),
    ):
        damaged.put(place, job, damaged.store.clock() - 20)

    def dispatch(_seconds: float) -> None:
        damaged.store.take_due(queued=0)
        damaged.store.told(damaged.store.take_untold(), "SUCCESS")
        # The next one to see to is not overdue for long enough.
        damaged.put("running", other, damaged.store.clock() - 20)
        damaged.put("untold", damaged.revoked, damaged.store.clock() - 20)

    other = damaged.claim("other").id
    monkeypatch.setattr("tasks.repair.time.sleep", dispatch)
    assert found() == []


def test_an_outcome_that_nobody_tells_is_left_to_a_worker(damaged: Damaged) -> None:
    damaged.put("untold", damaged.failure, damaged.store.clock() - 20)
    assert found(repair=True) == [(damaged.failure, "untold")]
    assert found() == [(damaged.failure, "untold")]


def test_a_lease_without_a_record_ends_with_no_record(damaged: Damaged) -> None:
    """A dispatcher makes no half a record of it."""
    damaged.put("running", "never-was", 1)
    damaged.store.take_due(queued=0)
    assert not damaged.client.exists(damaged.key("never-was"))
    assert not damaged.client.zscore("webhooks:running", "never-was")


def test_an_outcome_without_a_record_is_left_to_a_worker(damaged: Damaged) -> None:
    """The result backend may know something of a job that was forgotten."""
    damaged.put("untold", "never-was", 1)
    assert found(repair=True) == []
    assert damaged.store.take_untold() == ["never-was"]
    assert damaged.store.told(["never-was"], NONE) == []
    assert not damaged.client.zscore("webhooks:untold", "never-was")
