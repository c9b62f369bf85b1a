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
from tasks.audit import Via, Who
from tasks.audited import about_job, audited
from tasks.errors import WebhookJobError

log = structlog.get_logger("control")


#: Seconds in which several workers, which all are asked, make one entry of it in the audit stream.
TOGETHER = 2.0


@control_command(variadic="task_id", signature="[id1 [id2 [... [idN]]]]")
def revoke(
    state: Any,
    task_id: object,
    terminate: bool = False,
    signal: object = None,
    by: str = "",
    at: str = "",
    **_: object,
) -> dict[str, str]:
    """Cancel jobs. A call that is under way is not cut off: its effect would not be known.

    Flower adds `by` and `at`: who logged in there, and from which address. Nothing proves it.
    """
    ids = task_id if isinstance(task_id, list | tuple | set) else [task_id]
    via: Via = "Flower" if by or at else "remote control"
    who = Who(str(by) or "unknown", str(at) or "unknown", via)
    return {"ok": "; ".join(_cancel(state, str(job_id), who) for job_id in ids)}


@control_command(
    variadic="task_id",
    args=[("signal", str)],
    signature="<signal> [id1 [id2 [... [idN]]]]",
)
def terminate(state: Any, signal: object, task_id: object, **_: object) -> dict[str, str]:
    """Cancel jobs, as `revoke` does."""
    return revoke(state, task_id)  # type: ignore[no-any-return]


def _cancel(state: Any, job_id: str, who: Who) -> str:
    try:
        about = about_job(job_id)
        once = f"revoke:{job_id}"
        with audited("cancel", about, who=who, once=once, seconds=TOGETHER) as result:
            job = cancel_job(job_id)
            result["state"] = job.state
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
