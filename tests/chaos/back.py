"""Whether the workers go on after a fault, by a job that is enqueued behind it."""

from __future__ import annotations

import time

from tasks import Job, StoreUnavailable, enqueue_webhook
from tests.chaos.harness import Chaos


def require_back(chaos: Chaos, since: float, seconds: float) -> float:
    """A new job runs within so many seconds; after how many it did.

    New, as others were under way when the fault came, and may end whatever it is.

    Args:
        since: on the monotonic clock.
    """
    job = _enqueue(chaos)
    limit = since + seconds - time.monotonic()
    chaos.wait_for(lambda: _has_run(job), limit, "a new job ran after the fault")
    took = time.monotonic() - since
    chaos.report.first_after = max(took, chaos.report.first_after or 0.0)
    return took


def _has_run(job: Job) -> bool:
    try:
        return job.refresh().state == "SUCCESS"
    except StoreUnavailable:
        return False


def _enqueue(chaos: Chaos) -> Job:
    """Enqueue one webhook, and again until it is accepted."""
    [(app_id, webhook)] = chaos.producer.new_items(1)
    while True:
        try:
            job = enqueue_webhook(app_id, webhook)
        except StoreUnavailable:
            continue
        chaos.ledger.accepted.add((app_id, webhook.id))
        return job
