"""The one place that looks into Celery where it documents no way.

`tests/integration/test_celery_internals.py` fails when these change.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from celery.worker import state
from celery.worker.consumer import Consumer

#: Seconds between attempts to reach a broker that is away. Celery's own grow to 30.
RECONNECT_FIRST, RECONNECT_MOST = 0.5, 2.0


class QuickConsumer(Consumer):
    """Celery's consumer (`worker_consumer`), back at work within seconds of its broker."""

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, trying again for ever; no setting has the pauses in between."""
        conn.ensure_connection = partial(
            conn.ensure_connection,
            interval_start=RECONNECT_FIRST,
            interval_step=RECONNECT_FIRST,
            interval_max=RECONNECT_MOST,
        )
        return super().ensure_connected(conn)


def received_ids() -> list[str]:
    """The ids of the tasks that this worker has received and not ended, running or not.

    Celery's `worker.state` is what its own `inspect active` and `inspect reserved` read; they
    answer over the broker, which a worker that stops may have left already.
    """
    while True:
        try:
            return [request.id for request in tuple(state.reserved_requests)]
        except RuntimeError:  # the set changed while it was read: read it again
            continue
