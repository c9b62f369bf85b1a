"""A job's id, and its record as it is read from Redis."""

from __future__ import annotations

import dataclasses
import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import RecordUnreadable
from tasks.more import More
from tasks.record import JobRecord, job_id

WEBHOOK = {"id": "orders", "name": "Orders", "webhookURL": "https://shop.example.com/hook"}

#: What `add` writes.
MINIMAL = {
    "v": "1",
    "state": "PENDING",
    "account": "default",
    "app_id": "shop",
    "webhook": json.dumps(WEBHOOK),
    "webhook_version": "",
    "created_at": "1700000000.125",
    "due_at": "1700000000.250",
    "attempt": "0",
    "attempts": "0",
}

FULL = {
    **MINIMAL,
    "state": "FAILURE",
    "webhook_version": "2",
    "password": "sealed",
    "mark": "key.mark",
    "attempt": "7",
    "attempts": "5",
    "holds": "2",
    "unknown": "1",
    "cancelled": "1",
    "due_at": "",
    "first_attempt_at": "1700000001.500",
    "started_at": "1700000100.500",
    "ended_at": "1700000101.000",
    "worker": "worker@host",
    "token": "of the latest claim",
    "result": json.dumps({"id": "orders", "outcome": "created"}),
    "error": json.dumps({"class": "PlanLimit", "code": "ERR_PLAN_RESTRICTION", "status": 400}),
    "history": '{"attempt": 6, "outcome": "lost"}\n{"attempt": 7, "outcome": "PlanLimit"}',
    "alerted": "PlanLimit:ERR_PLAN_RESTRICTION",
    "priority": "bulk",
    "group": "shop 7",
    "on_existing": "update",
    "triggers": '["message_sent", "user_blocked"]',
    "expires_at": "1700000200.000",
    "action": "delete",
    "after": "the one before",
    "next": "the one behind",
}

texts = st.text(max_size=8)


class TestJobId:
    @pytest.mark.parametrize(
        ("account", "app_id", "webhook_id", "expected"),
        [
            ("default", "shop", "orders", "948b1eef-e6cd-5261-9452-450ec54028f4"),
            ("default", "büro", "orders", "d3ac03ca-9cb5-57ee-ae48-9dbaabdd92bf"),
        ],
    )
    def test_is_this_for_ever(
        self, account: str, app_id: str, webhook_id: str, expected: str
    ) -> None:
        # Another value makes every webhook that is enqueued again a second job.
        assert job_id(account, app_id, webhook_id) == expected

    def test_is_a_uuid_of_version_5(self) -> None:
        assert uuid.UUID(job_id("default", "shop", "orders")).version == 5

    @given(texts, texts, texts)
    def test_is_the_same_for_the_same(self, account: str, app_id: str, webhook_id: str) -> None:
        assert job_id(account, app_id, webhook_id) == job_id(account, app_id, webhook_id)

    @pytest.mark.parametrize(
        "other",
        [
            ("other", "shop", "orders"),
            ("default", "other", "orders"),
            ("default", "shop", "other"),
            ("default", "orders", "shop"),
            ("default", "shopo", "rders"),
            ("default", "sho", "porders"),
            ("defaults", "hop", "orders"),
            ("default", "shop", "Orders"),
            ("default", "shop-orders", ""),
        ],
    )
    def test_is_another_for_another(self, other: tuple[str, str, str]) -> None:
        assert job_id(*other) != job_id("default", "shop", "orders")

    @given(st.tuples(texts, texts, texts), st.tuples(texts, texts, texts))
    def test_two_triples_never_meet(
        self, one: tuple[str, str, str], other: tuple[str, str, str]
    ) -> None:
        assert (job_id(*one) == job_id(*other)) is (one == other)

    @given(st.text('",[] \\:/-ab', min_size=2, max_size=12), st.data())
    def test_joining_makes_no_collision(self, text: str, data: st.DataObject) -> None:
        cuts = st.integers(min_value=0, max_value=len(text))
        one, other = data.draw(cuts), data.draw(cuts)
        same = job_id("a", text[:one], text[one:]) == job_id("a", text[:other], text[other:])
        assert same is (one == other)


class TestReading:
    def test_a_new_record(self) -> None:
        record = JobRecord.read("some-id", MINIMAL)
        assert record == JobRecord(
            id="some-id",
            state="PENDING",
            account="default",
            app_id="shop",
            webhook=WEBHOOK,
            webhook_version=None,
            created_at=1700000000.125,
            due_at=1700000000.25,
        )
        assert record.webhook_id == "orders"
        assert record.age == 0
        assert record.failure == ":"

    def test_a_record_with_all_its_fields(self) -> None:
        record = JobRecord.read("some-id", FULL)
        assert dataclasses.asdict(record) == {
            "id": "some-id",
            "state": "FAILURE",
            "account": "default",
            "app_id": "shop",
            "webhook": WEBHOOK,
            "webhook_version": 2,
            "created_at": 1700000000.125,
            "sealed_password": "sealed",
            "mark": "key.mark",
            "attempt": 7,
            "attempts": 5,
            "holds": 2,
            "outcome_unknown": True,
            "cancelled": True,
            "due_at": None,
            "first_attempt_at": 1700000001.5,
            "started_at": 1700000100.5,
            "ended_at": 1700000101.0,
            "worker": "worker@host",
            "token": "of the latest claim",
            "result": {"id": "orders", "outcome": "created"},
            "error": {"class": "PlanLimit", "code": "ERR_PLAN_RESTRICTION", "status": 400},
            "history": (
                {"attempt": 6, "outcome": "lost"},
                {"attempt": 7, "outcome": "PlanLimit"},
            ),
            "alerted": "PlanLimit:ERR_PLAN_RESTRICTION",
            "more": {
                "priority": "bulk",
                "group": "shop 7",
                "on_existing": "update",
                "triggers": ("message_sent", "user_blocked"),
                "expires_at": 1700000200.0,
                "action": "delete",
            },
            "after": "the one before",
            "followed_by": "the one behind",
            "turn_in": 0.0,
            "closed_for": 0.0,
            "refused_alone": False,
        }
        assert record.age == 99
        told = JobRecord.read("some-id", {**FULL, "turn": "0.25", "closed": "90.5"})
        assert (told.turn_in, told.closed_for, told.age) == (0.25, 90.5, 8.5)
        assert record.failure == "PlanLimit:ERR_PLAN_RESTRICTION"

    def test_what_was_asked_for_besides_is_written_as_it_is_read(self) -> None:
        record = JobRecord.read("some-id", FULL)
        told = record.more.fields()
        assert told == {name: FULL[name] for name in told}
        more = {"priority", "group", "on_existing", "triggers", "expires_at", "action"}
        assert set(told) == more
        assert More(action="delete").fields() == {"action": "delete"}
        assert More().fields() == {}
        assert More(priority="bulk", group="shop 7").fields() == {
            "priority": "bulk",
            "group": "shop 7",
        }

    @pytest.mark.parametrize(
        "wrong",
        [
            {"priority": "low"},
            {"on_existing": "merge"},
            {"triggers": "{}"},
            {"triggers": "[1]"},
            {"triggers": "["},
            {"expires_at": "soon"},
            {"action": "rename"},
        ],
    )
    def test_what_was_asked_for_besides_is_read_strictly(self, wrong: dict[str, str]) -> None:
        with pytest.raises(RecordUnreadable):
            JobRecord.read("some-id", {**FULL, **wrong})

    def test_takes_no_other_sign_for_an_unknown_outcome(self) -> None:
        assert not JobRecord.read("some-id", {**FULL, "unknown": "0"}).outcome_unknown

    @given(st.lists(st.text(), max_size=5))
    def test_an_entry_of_the_history_is_a_line_whatever_it_says(self, messages: list[str]) -> None:
        # Redis's cjson, which writes some of the entries, leaves text beyond ASCII as it is.
        entries = [{"message": message} for message in messages]
        lines = "\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
        assert list(JobRecord.read("some-id", {**MINIMAL, "history": lines}).history) == entries
