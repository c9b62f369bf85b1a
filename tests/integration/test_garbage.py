"""What an attempt leaves for Python's collector: nothing, so that an outage costs no memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tasks import Job, Webhook, enqueue_webhook
from tests.conftest import FAST, use_environment
from worker.sandbox import SandboxControl
from worker.stack import Stack

#: A worker that writes down, when it ends, what only the collector could free.
COUNTING = """
import gc, json, sys
from collections import Counter
from celery import signals
from worker import app

signals.worker_ready.connect(lambda **_: (gc.collect(), gc.set_debug(gc.DEBUG_SAVEALL)), weak=False)

@signals.worker_shutting_down.connect(weak=False)
def tell(**_):
    gc.collect()
    # redis-py and urllib3 have a Retry, too.
    kinds = (type(left) for left in gc.garbage)
    found = Counter(kind.__module__.split(".")[0] + "." + kind.__name__ for kind in kinds)
    with open(sys.argv[1], "w") as file:
        json.dump(found, file)

app.worker_main(["worker", "--concurrency", "2"])
"""

WAYS_TO_FAIL: dict[str, dict[str, Any]] = {
    "unavailable": {"kind": "status", "status": 503},
    "cut": {"kind": "cut"},
    "silent": {"kind": "hold", "seconds": 2},
    "garbage": {"kind": "garbage"},
    "refused": {"kind": "status", "status": 400, "code": "ERR_BAD_REQUEST"},
}
#: Of a webhook that is there, with another URL, or that was just created.
CHANGES_THAT_FAIL: dict[str, dict[str, Any]] = {
    f"{operation}-{name}": {"operation": operation, "kind": "status", **rule}
    for operation in ("update", "add_triggers", "list_triggers")
    for name, rule in {
        "away": {"status": 503},
        "gone": {"status": 404, "code": "ERR_WEBHOOK_NOT_FOUND"},
        "refused": {"status": 404, "code": "ERR_TRIGGER_NOT_FOUND"},
    }.items()
}
#: An exception holds the frames of all that called; billiard's copies of those are the bulk.
FRAMES = (
    *("builtins.frame", "builtins.traceback", "billiard._Frame", "billiard.ExceptionInfo"),
    *("celery.Context", "tasks.JobRecord", "requests.PreparedRequest"),
)
ERRORS = (
    *("celery.Retry", "tasks.ApiUnavailable", "tasks.WebhookRejected", "tasks.Expired"),
    *("tasks.TriggersRefused", "tasks.WebhookNotFound"),
    *("urllib3.NewConnectionError", "urllib3.ReadTimeoutError"),
)


def test_an_attempt_leaves_nothing_to_the_collector(tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    with Stack(**{**FAST, "COMETCHAT_READ_TIMEOUT": "0.5"}) as stack:
        stack.start_redis()
        stack.start_sandbox()
        use_environment(stack.env)
        worker = stack.run("worker", "-c", COUNTING, str(found))
        worker.wait_for_line(" ready.")
        sandbox = SandboxControl(stack.env["COMETCHAT_BASE_URL"])
        ways = {**WAYS_TO_FAIL, **CHANGES_THAT_FAIL}
        sandbox.faults(*({"app_id": app, **rule} for app, rule in ways.items()))
        for job in [enqueue_webhook(app, orders()) for app in (*WAYS_TO_FAIL, "good")]:
            job.wait(30)
        for job in [
            *[changing(sandbox, app) for app in CHANGES_THAT_FAIL],
            enqueue_webhook("late-already", orders(), expires_in=0.001),
        ]:
            assert job.wait(60).state == "FAILURE"
        [api] = [part for part in stack.parts if part.name == "sandbox"]
        api.kill()  # connections are refused from here on
        job = enqueue_webhook("late", orders()).wait(30)
        assert job.state == "FAILURE"
        worker.stop()
    left = json.loads(found.read_text())
    assert {name: left[name] for name in (*FRAMES, *ERRORS) if name in left} == {}


def orders(**fields: Any) -> Webhook:
    url = "https://shop.example.com/hook"
    return Webhook(id="orders", name="Orders", webhook_url=url, **fields)


def changing(sandbox: SandboxControl, app_id: str) -> Job:
    if not app_id.startswith("add_triggers"):
        sandbox.put_webhook(app_id, "orders", name="Orders", url="https://other.example.com/")
    return enqueue_webhook(app_id, orders(triggers=["message_sent"]), on_existing="update")
