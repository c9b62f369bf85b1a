"""Records that no producer of ours wrote: what is looked at before the first call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tasks.act import act
from tasks.admission import check_record
from tasks.errors import RecordRefused
from tasks.progress import Progress
from tasks.record import JobRecord, More

WIRE: Mapping[str, Any] = {
    "id": "orders",
    "name": "Orders",
    "webhookURL": "https://shop.example.com/hook",
    "enabled": True,
}
WITH_AUTH = {**WIRE, "useBasicAuth": True, "username": "chat"}
CREATE = JobRecord("job", "STARTED", "default", "acme", WIRE, 2, 0.0)
UPDATE = replace(CREATE, webhook={"id": "orders", "name": "New"}, more=More(action="update"))
DELETE = replace(CREATE, webhook={"id": "orders"}, more=More(action="delete"))
SET = replace(DELETE, more=More(action="set_triggers", triggers=("message_sent",)))


@pytest.mark.parametrize(
    "job",
    [
        CREATE,
        replace(CREATE, webhook_version=None),
        replace(CREATE, webhook=WITH_AUTH, mark="key.mark"),
        replace(CREATE, webhook={**WIRE, "retryOnFailure": False}),
        replace(CREATE, more=More(triggers=("message_sent", "a-new_one"))),
        UPDATE,
        replace(UPDATE, webhook={"id": "orders", "useBasicAuth": False}),
        replace(UPDATE, webhook={"id": "orders", "webhookURL": "https://b.example.com"}),
        replace(
            UPDATE,
            webhook={"id": "orders", "useBasicAuth": True, "username": "chat"},
            mark="key.mark",
        ),
        DELETE,
        SET,
        replace(SET, more=More(action="set_triggers")),
    ],
)
def test_what_producers_write_is_let_through(job: JobRecord) -> None:
    check_record(job, ())
    check_record(job, ("example.com",))


def of(job: JobRecord, **fields: Any) -> JobRecord:
    return replace(job, webhook={**job.webhook, **fields})


@pytest.mark.parametrize(
    ("job", "field"),
    [
        *((replace(job, app_id="../x"), "appId") for job in (CREATE, UPDATE, DELETE, SET)),
        *((of(job, id="a%2f.."), "id") for job in (CREATE, UPDATE, DELETE, SET)),
        *((of(job, id="a\r\nX-Header: 1"), "id") for job in (CREATE, UPDATE, DELETE, SET)),
        *((of(job, id=7), "id") for job in (CREATE, UPDATE, DELETE, SET)),
        *((replace(job, webhook={}), "id") for job in (CREATE, DELETE, SET)),
        *((replace(job, webhook_version=3), "X-Webhook-Version") for job in (CREATE, DELETE)),
        *((of(job, webhookURL="https://127.1/"), "webhookURL") for job in (CREATE, UPDATE)),
        *((of(job, webhookURL="http://a.example"), "webhookURL") for job in (CREATE, UPDATE)),
        *((of(job, webhookURL=["https://a.example"]), "webhookURL") for job in (CREATE, UPDATE)),
        *((of(job, webhookURL="https://evil.org"), "webhookURL") for job in (CREATE, UPDATE)),
        *((of(job, name="x" * 51), "name") for job in (CREATE, UPDATE)),
        *((of(job, password="hunter2"), "useBasicAuth") for job in (CREATE, UPDATE)),
        *((of(job, surprise={"a": 1}), "surprise") for job in (CREATE, UPDATE)),
        (replace(CREATE, webhook=WITH_AUTH), "useBasicAuth"),
        (replace(CREATE, mark="key.mark"), "useBasicAuth"),
        (replace(SET, more=More(action="set_triggers", triggers=("a b",))), "triggers"),
        (replace(CREATE, more=More(triggers=("x",) * 101)), "triggers"),
    ],
)
def test_what_they_do_not_write_makes_no_call(job: JobRecord, field: str) -> None:
    with pytest.raises(RecordRefused) as refused:
        check_record(job, ("example.com",))
    told = str(refused.value)
    named = f"unknown field '{field}'" if field == "surprise" else f"{field}: "
    assert named in told and "Nothing was called" in told
    assert "hunter2" not in str(refused.value)
    assert not refused.value.transient and not refused.value.outcome_unknown


@pytest.mark.parametrize("job", [CREATE, UPDATE, DELETE, SET])
def test_every_action_looks_first(job: JobRecord) -> None:
    api: Any = object()  # has no method to call
    with pytest.raises(RecordRefused):
        act(api, replace(job, app_id=".."), progress=Progress())
