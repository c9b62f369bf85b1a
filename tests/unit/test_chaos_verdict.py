"""The verdict of a chaos run: lost, doubled and other broken promises are seen."""

from __future__ import annotations

import pytest

from tests.chaos.verdict import Verdict
from tests.unit.found import ONE, Found, kept, record


@pytest.fixture
def found() -> Found:
    return Found()


def test_a_run_in_which_all_went_well(found: Found) -> None:
    assert found.verdict() == Verdict(lost=[], doubled=[], repeated=0, problems=[])


@pytest.mark.parametrize("state", ["PENDING", "STARTED", "RETRY", "SUCCESS", "REVOKED"])
def test_a_lost_job_whatever_its_record_says(found: Found, state: str) -> None:
    found.never_created(ONE, state=state)
    assert found.verdict().lost == [ONE]


def test_a_lost_job_without_a_record(found: Found) -> None:
    found.never_created(ONE)
    del found.records[ONE]
    assert found.verdict().lost == [ONE]


def test_a_failure_without_a_reason_is_lost(found: Found) -> None:
    found.never_created(ONE, state="FAILURE", error={"class": "PlanLimit", "message": ""})
    assert found.verdict().lost == [ONE]


def test_a_failure_with_a_reason_is_not_lost_but_broken(found: Found) -> None:
    found.never_created(ONE, state="FAILURE", error={"message": "The plan does not allow it."})
    assert found.verdict().lost == []
    assert "1 jobs failed" in found.verdict().problems[0]


def test_what_was_not_accepted_cannot_be_lost(found: Found) -> None:
    found.never_created(ONE)
    del found.records[ONE]
    found.ledger.accepted.remove(ONE)
    found.ledger.unsure.add(ONE)
    assert found.verdict() == Verdict([], [], 0, [])


@pytest.mark.parametrize("times", [0, 2])
def test_a_webhook_that_was_created_twice_or_by_somebody_else(found: Found, times: int) -> None:
    found.webhooks[0]["created_by_calls"] = times
    assert found.verdict().doubled == [ONE]


def test_a_webhook_that_is_there_twice(found: Found) -> None:
    found.webhooks.append(kept(ONE, version="legacy"))
    assert found.verdict().doubled == [ONE]


def test_created_after_its_job_was_said_to_be_cancelled(found: Found) -> None:
    found.ledger.cancelled.add(ONE)
    assert found.verdict().doubled == [ONE]


def test_created_although_its_job_says_that_nothing_was_under_way(found: Found) -> None:
    found.ledger.perhaps_cancelled.add(ONE)
    found.records[ONE] = record(ONE, "REVOKED")
    assert found.verdict().doubled == [ONE]


@pytest.mark.parametrize("created", [True, False])
def test_cancelled_during_a_call_it_may_be_there_or_not(found: Found, created: bool) -> None:
    found.ledger.perhaps_cancelled.add(ONE)
    found.never_created(ONE, state="REVOKED", outcome_unknown=True)
    found.webhooks += [kept(ONE)] if created else []
    assert found.verdict() == Verdict([], [], 0, [])


def test_cancelled_in_time_it_is_neither_lost_nor_doubled(found: Found) -> None:
    found.ledger.cancelled.add(ONE)
    found.never_created(ONE, state="REVOKED")
    assert found.verdict() == Verdict([], [], 0, [])


@pytest.mark.parametrize("field", ["name", "webhookURL"])
def test_a_webhook_that_is_not_as_asked(found: Found, field: str) -> None:
    found.webhooks[0][field] = "something else"
    assert "not as asked" in found.verdict().problems[0]


def test_a_webhook_that_nobody_asked_for(found: Found) -> None:
    found.ledger.accepted.remove(ONE)
    assert "never asked for" in found.verdict().problems[0]


@pytest.mark.parametrize("state", ["PENDING", "STARTED", "RETRY"])
def test_a_job_that_never_ends(found: Found, state: str) -> None:
    found.records[ONE] = record(ONE, state)
    assert "never ended" in found.verdict().problems[0]


def test_jobs_may_wait_where_the_workers_were_stopped_before_the_end(found: Found) -> None:
    found.never_created(ONE, state="PENDING")
    found.waiting = {record(ONE).id}
    assert found.verdict() == Verdict([], [], 0, [])
    found.webhooks.append(kept(ONE))
    assert "were created" in found.verdict().problems[0]


def test_attempts_that_died_are_counted(found: Found) -> None:
    history = [{"outcome": "lost"}, {"outcome": "handed back"}, {"outcome": "created"}]
    found.records[ONE] = record(ONE, history=tuple(history))
    assert found.verdict().repeated == 2
