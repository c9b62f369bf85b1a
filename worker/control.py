"""Celery's remote control, which is also what Flower's buttons do: revoking a job cancels it.

Celery's own command has each worker drop the messages of an id for as long as it lives. The job
would wait on, hinted at again and again; and taken up by a person later on, it would still be
dropped. So no id ever gets onto that list.
"""

from __future__ import annotations

from typing import Any

import structlog
from celery.worker.control import control_command

from tasks.actions import cancel_job
from tasks.errors import WebhookJobError

log = structlog.get_logger("control")


@control_command(variadic="task_id", signature="[id1 [id2 [... [idN]]]]")
def revoke(
    state: Any, task_id: object, terminate: bool = False, signal: object = None, **_: object
) -> dict[str, str]:
    """Cancel jobs. A call that is under way is not cut off: its effect would not be known."""
    ids = task_id if isinstance(task_id, list | tuple | set) else [task_id]
    return {"ok": "; ".join(_cancel(state, str(job_id)) for job_id in ids)}


@control_command(
    variadic="task_id",
    args=[("signal", str)],
    signature="<signal> [id1 [id2 [... [idN]]]]",
)
def terminate(state: Any, signal: object, task_id: object, **_: object) -> dict[str, str]:
    """Cancel jobs, as `revoke` does."""
    return revoke(state, task_id)  # type: ignore[no-any-return]


def _cancel(state: Any, job_id: str) -> str:
    try:
        job = cancel_job(job_id)
    except WebhookJobError as error:
        return str(error)
    log.info("cancelled by remote control", job=job.id, state=job.state)
    if job.state != "REVOKED":
        return f"Job {job_id} is {job.state} until its call ends."
    events = state.consumer.event_dispatcher
    if events and events.enabled:
        # What Flower shows it by.
        events.send("task-revoked", uuid=job_id, terminated=False, signum=None, expired=False)
    return f"Job {job_id} is REVOKED."
