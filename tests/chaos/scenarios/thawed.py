"""Workers that stand still in the middle of calls, and go on after others took their jobs over."""

from __future__ import annotations

import signal
import time

from tasks import set_triggers
from tasks.store import get_store
from tests.chaos.harness import TENTH, Chaos
from tests.chaos.registry import scenario
from worker.stack import Part

#: What each webhook's triggers are to be at first, and in the end.
FIRST, LAST = ["user_blocked"], ["message_sent", "user_blocked"]

#: The calls in which a worker may stand still, before their effect or after it.
CALLS = ("create", "add_triggers", "list_triggers")

#: Seconds that it stands still: its leases are over, and others are at its jobs, or done.
STILL = 10.5, 17.0


def _freeze_in_calls(chaos: Chaos, worker: Part, webhooks: int) -> None:
    """Enqueue jobs, and let the worker stand still in the middle of some of their calls."""
    hold = {
        "kind": "hold",
        "when": chaos.random.choice(("before", "after")),
        "operation": chaos.random.choice(CALLS),
        "times": webhooks,
    }
    chaos.say(f"{worker.name} in {hold['operation']}, {hold['when']} the effect")
    chaos.sandbox.faults(hold, *TENTH)
    items = chaos.producer.new_items(webhooks)
    chaos.producer.enqueue(items)
    for triggers in (FIRST, LAST):
        for app_id, webhook in items:
            set_triggers(app_id, webhook.id, triggers)
    chaos.sandbox.wait_for_held(webhooks // 2, timeout=30)
    worker.signal(signal.SIGSTOP)
    chaos.mark()
    chaos.sandbox.faults(*TENTH)
    chaos.sandbox.release()
    time.sleep(chaos.random.uniform(*STILL))
    worker.signal(signal.SIGCONT)


@scenario(
    "SIGSTOP in the middle of calls, SIGCONT after others have the jobs: stale attempts",
    short=False,
)
def thawed(chaos: Chaos) -> None:
    """What a stale attempt does is undone by nobody's hand: the last job decides."""
    chaos.start()
    workers = [chaos.worker(), chaos.worker()]
    for number in range(chaos.size(1, 8)):
        _freeze_in_calls(chaos, workers[number % 2], chaos.size(10, 40))
    chaos.drain()
    wrong = [
        f"{one['app_id']} {one['id']}: {sorted(one['triggers'])}"
        for one in chaos.sandbox.webhooks()
        if sorted(one["triggers"]) != LAST
    ]
    chaos.require(not wrong, f"{len(wrong)} with other triggers than asked, such as {wrong[:2]}")
    failed = get_store().counts()["failed"]
    chaos.require(not failed, f"{failed} jobs failed")
