"""What this program tells whoever listens in the worker's process (Sentry does).

Celery's own kind of signal: a receiver that raises is logged and disturbs nobody.
"""

from __future__ import annotations

from celery.utils.dispatch import Signal

#: A job failed for good. Sent with `job`, its `tasks.record.JobRecord`.
job_failed = Signal(name="job_failed", providing_args={"job"})

#: A fault of this program, not of the API. Sent with `error`, the exception, and `job`.
bug_found = Signal(name="bug_found", providing_args={"error", "job"})

#: An account's credentials were refused, and its gate is closed. Sent at once if that is sure, else
#: when a second app is refused or the first one again; once an hour for one app.
#: Sent with `account`, the `failure` and the `job` that met it, None if it was forgotten since.
account_rejected = Signal(name="account_rejected", providing_args={"account", "failure", "job"})
