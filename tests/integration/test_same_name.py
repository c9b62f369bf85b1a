"""Workers of one host that have the same name: none takes another's attempt for its own."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tasks import Webhook, enqueue_webhook
from tasks.store import get_store
from tests.integration.attempts import URL, api_fixture, attempt
from worker.sandbox import SandboxControl
from worker.stack import ROOT

api = api_fixture

#: What the dispatcher of another worker process with this name does with a message of the job.
OTHER = """
import sys
from types import SimpleNamespace

from tasks.store import get_store
from worker import dispatcher

name, job, what = sys.argv[1:]
dispatcher.received_ids = lambda: [job]
other = dispatcher.Dispatcher(SimpleNamespace(hostname=name))
if what == "stops":
    other._hand_back([job])
else:
    other._loops[0].tick(get_store())
"""


@pytest.mark.parametrize("what", ["stops", "renews"])
def test_a_message_of_another_workers_attempt_is_not_its_own(
    api: SandboxControl, app_id: str, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    job = enqueue_webhook(app_id, Webhook(id="orders", name="Orders", webhookURL=URL))
    store, seen = get_store(), []

    def meanwhile(self: Any, headers: Any) -> None:
        name = str(store.get(job.id).worker).partition("/")[0]
        store._redis.zadd("webhooks:running", {job.id: store.clock() + 1})
        subprocess.run([sys.executable, "-c", OTHER, name, job.id, what], cwd=ROOT, check=True)
        lease = store._redis.zscore("webhooks:running", job.id)
        seen.append((store.get(job.id).state, (lease or 0) - store.clock() < 1))

    monkeypatch.setattr("tasks.turn.Turn.after_call", meanwhile)
    attempt(job)

    assert seen == [("STARTED", True)]
    assert (job.refresh().state, len(job.history)) == ("SUCCESS", 1)


def test_what_it_runs_itself_is(
    api: SandboxControl, app_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    from worker import dispatcher

    job = enqueue_webhook(app_id, Webhook(id="orders", name="Orders", webhookURL=URL))
    store, seen = get_store(), []
    monkeypatch.setattr(dispatcher, "received_ids", lambda: [job.id])

    def meanwhile(self: Any, headers: Any) -> None:
        name = str(store.get(job.id).worker).partition("/")[0]
        store._redis.zadd("webhooks:running", {job.id: store.clock() + 1})
        own = dispatcher.Dispatcher(SimpleNamespace(hostname=name))
        own._loops[0].tick(store)
        seen.append(store._redis.zscore("webhooks:running", job.id) - store.clock() > 4)
        own._hand_back([job.id])
        seen.append(store.get(job.id).state)

    monkeypatch.setattr("tasks.turn.Turn.after_call", meanwhile)
    attempt(job)
    assert seen == [True, "RETRY"]
