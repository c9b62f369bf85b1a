"""What `make bench-guest` compares the gate with: the same without it."""

from __future__ import annotations

import threading

import pytest

from tasks import Webhook, enqueue_webhook
from tasks.jobs import JobStore
from tasks.steps import Steps
from tasks.turn import Turn, clock
from tests.benchmarks.guest import switched

ORDERS = Webhook(id="orders", name="Orders", webhook_url="https://shop.example.com/hook")


def test_the_gate_is_out_of_a_worker_in_every_second_period(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method in ("before_call", "before_bytes", "after_call", "told"):
        monkeypatch.setattr(Turn, method, getattr(Turn, method))  # as it was, afterwards
    monkeypatch.setattr(Steps, "run", Steps.run)
    switched.switch()
    for is_out in (True, False):
        monkeypatch.setattr(switched, "is_out", lambda out=is_out: out)
        job = enqueue_webhook(f"shop-{is_out}", ORDERS)
        record = store.claim(job.id, worker="w", token="t")
        assert record is not None
        turn = Turn(store, record, clock(), threading.Event())
        turn.before_call()
        turn.before_bytes()
        turn.after_call({})
        assert store.finish(record, "SUCCESS", told=turn.told())
        assert job.refresh().state == "SUCCESS"
        monkeypatch.setattr(switched, "is_out", lambda: False)
        assert bool(store.gate.look(record.account).fields) == (not is_out)
