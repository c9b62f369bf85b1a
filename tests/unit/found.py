"""What a chaos run finds at its end, made up: good, until a test changes something."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tasks.record import JobRecord, job_id
from tests.chaos import verdict
from tests.chaos.producer import Key, Ledger, by_key, webhook_of
from tests.chaos.verdict import Verdict

ITEMS = [webhook_of(number) for number in range(3)]
KEYS = list(by_key(ITEMS))
ONE = KEYS[0]


def record(key: Key, state: str = "SUCCESS", **fields: Any) -> JobRecord:
    return JobRecord(
        id=job_id("default", *key),
        state=state,
        account="default",
        app_id=key[0],
        webhook=by_key(ITEMS)[key].wire(),
        webhook_version=2,
        created_at=1_000.0,
        **fields,
    )


def kept(key: Key, **fields: Any) -> dict[str, Any]:
    webhook = by_key(ITEMS)[key].wire()
    return {"app_id": key[0], "version": 2, **webhook, "created_by_calls": 1, **fields}


class Found:
    """A run in which all went well, until a test changes something."""

    def __init__(self) -> None:
        self.ledger = Ledger(accepted=set(KEYS), asked=by_key(ITEMS))
        self.webhooks = [kept(key) for key in KEYS]
        self.records = {key: record(key) for key in KEYS}
        self.waiting: set[str] = set()

    def verdict(self) -> Verdict:
        return verdict.judge(self.ledger, self.webhooks, self.records, self.waiting)

    def never_created(self, key: Key, **fields: Any) -> None:
        self.webhooks = [one for one in self.webhooks if (one["app_id"], one["id"]) != key]
        self.records[key] = replace(self.records[key], **fields)
