"""The one place that looks into Celery, kombu and billiard where they document no way.

`install` changes them in this process. `tests/integration/test_celery_internals.py` fails when
they have changed by themselves.
"""

from worker.celery_internals.consumer import RECONNECT_MOST, QuickConsumer, received_ids
from worker.celery_internals.patches import install
from worker.celery_internals.transport import RedisTransport, SentinelTransport

__all__ = [
    "RECONNECT_MOST",
    "QuickConsumer",
    "RedisTransport",
    "SentinelTransport",
    "install",
    "received_ids",
]
