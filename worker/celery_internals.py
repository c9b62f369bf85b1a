"""The one place that looks into Celery where it documents no way.

`tests/integration/test_celery_internals.py` fails when these change.
"""

from __future__ import annotations

from celery.worker import state


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
