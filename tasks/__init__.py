"""Create CometChat webhooks from a queue: each one made, once, whatever fails.

    from tasks import Webhook, enqueue_webhook

    job = enqueue_webhook("my-app", Webhook(id="orders", name="Orders", webhook_url="https://…"))

`update_webhook`, `set_triggers` and `delete_webhook` are jobs of the same kind; those of a webhook
run in the order in which they were accepted. This is the producer's whole API.
"""

from tasks.changes import delete_webhook, set_triggers, update_webhook
from tasks.errors import (
    DurabilityUnavailable,
    InvalidInput,
    JobConflict,
    JobNotFound,
    NotConfirmed,
    RecordUnreadable,
    SealingUnavailable,
    StepRefused,
    StoreUnavailable,
    WebhookJobError,
)
from tasks.fields import check_app_id
from tasks.job import Job
from tasks.producer import Enqueued, enqueue_webhook, enqueue_webhooks, get_job
from tasks.webhook import Webhook

__all__ = [
    "DurabilityUnavailable",
    "Enqueued",
    "InvalidInput",
    "Job",
    "JobConflict",
    "JobNotFound",
    "NotConfirmed",
    "RecordUnreadable",
    "SealingUnavailable",
    "StepRefused",
    "StoreUnavailable",
    "Webhook",
    "WebhookJobError",
    "check_app_id",
    "delete_webhook",
    "enqueue_webhook",
    "enqueue_webhooks",
    "get_job",
    "set_triggers",
    "update_webhook",
]
