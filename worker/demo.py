"""The demo: 200 webhooks for 20 apps through a faulty API, and a check of what came of them."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tasks import Job, Webhook, enqueue_webhooks
from tasks.states import ENDED
from tasks.store import get_store
from worker.sandbox import SandboxControl

APPS, WEBHOOKS_EACH = 20, 10
PASSWORD = "OnlyTheSandboxKnows"  # nosec B105  # it guards nothing
#: Somebody else made these two before, with another address: conflicts, left as they are.
TAKEN = (("shop-01", "orders-0"), ("shop-02", "orders-1"))
#: This app does not exist: failures, after the time that a new app is given.
UNKNOWN_APP = "shop-20"
#: Seconds for all jobs to end.
PATIENCE = 90.0


class Wanted(NamedTuple):
    """A webhook that the demo asks for."""

    app_id: str
    webhook: Webhook

    @property
    def failure(self) -> str | None:
        """The class of the failure that is expected of it."""
        if (self.app_id, self.webhook.id) in TAKEN:
            return "WebhookConflict"
        return "AppNotFound" if self.app_id == UNKNOWN_APP else None


def wanted() -> list[Wanted]:
    """The 200 webhooks, every other one with basic auth."""
    return [
        Wanted(
            f"shop-{app:02}",
            Webhook.parse(
                {
                    "id": f"orders-{number}",
                    "name": f"Orders {number}",
                    "webhookURL": f"https://shop-{app:02}.example.com/hooks/{number}",
                    **({"username": "chat", "password": PASSWORD} if number % 2 else {}),
                }
            ),
        )
        for app in range(1, APPS + 1)
        for number in range(WEBHOOKS_EACH)
    ]


def prepare(sandbox: SandboxControl) -> None:
    """Let somebody else have been there before."""
    for app_id, webhook_id in TAKEN:
        sandbox.put_webhook(app_id, webhook_id, name="Not ours", url="https://other.example.com/")
    sandbox.remove_apps(UNKNOWN_APP)


def run_demo(sandbox: SandboxControl, console: Console, started: float) -> bool:
    """Enqueue, watch, and check; whether all is right.

    Args:
        started: when the command began, on the monotonic clock.
    """
    prepare(sandbox)
    asked = wanted()
    jobs = []
    for outcome in enqueue_webhooks(asked):
        if outcome.job is None:
            console.print(f"[red]not accepted: {outcome.error}")
            return False
        jobs.append(outcome.job)
    first = watch(jobs, console, started)
    problems = check(asked, jobs, sandbox.state())
    console.print(report(jobs, sandbox.state(), first))
    for problem in problems[:20]:
        console.print(f"[red]wrong: {problem}")
    if not problems:
        console.print(
            f"[green]All right:[/] {len(asked)} asked for; the sandbox's own store has each "
            "webhook once, as asked; the failures are those expected."
        )
    return not problems


def watch(jobs: Sequence[Job], console: Console, started: float) -> float | None:
    """Show the progress until every job has ended; seconds until the first was created."""
    first = None
    give_up = time.monotonic() + PATIENCE
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[places]}"),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("webhooks", total=len(jobs), places="")
        while time.monotonic() < give_up:
            for job in jobs:
                if job.state not in ENDED:
                    job.refresh()
            done = [job for job in jobs if job.state in ENDED]
            if first is None and any(job.state == "SUCCESS" for job in done):
                first = time.monotonic() - started
            places = get_store().counts()
            words = "  ".join(f"{name} {count}" for name, count in places.items())
            progress.update(bar, completed=len(done), places=words)
            if len(done) == len(jobs):
                break
            time.sleep(0.1)
    return first


def check(asked: Sequence[Wanted], jobs: Sequence[Job], state: Mapping[str, Any]) -> list[str]:
    """What is wrong with the jobs, or with what the sandbox has in its store."""
    problems = []
    store = {(kept["app_id"], kept["id"]): kept for kept in state["webhooks"]}
    if len(store) != len(state["webhooks"]):
        problems.append("the sandbox has a webhook twice")
    sha256 = hashlib.sha256(PASSWORD.encode()).hexdigest()
    for want, job in zip(asked, jobs, strict=True):
        name = f"{want.webhook.id} of {want.app_id}"
        kept = store.pop((want.app_id, want.webhook.id), None)
        if want.failure is not None:
            met = (job.error or {}).get("class")
            if job.state != "FAILURE" or met != want.failure:
                problems.append(f"{name}: {job.state} {met}, expected {want.failure}")
            if kept is not None and kept["name"] != "Not ours":
                problems.append(f"{name}: created although it should not")
            continue
        if job.state != "SUCCESS":
            problems.append(f"{name}: {job.state}: {(job.error or {}).get('message')}")
        if kept is None:
            problems.append(f"{name}: not at the sandbox")
            continue
        body = want.webhook.wire()
        differing = [key for key, value in body.items() if kept[key] != value]
        if kept["password_sha256"] != (sha256 if want.webhook.password else None):
            differing.append("password")
        if differing or kept["created_by_calls"] != 1:
            problems.append(
                f"{name}: differs in {differing}, made {kept['created_by_calls']} times"
            )
    problems += [f"{webhook} of {app}: nobody asked for it" for app, webhook in store]
    return problems


def report(jobs: Sequence[Job], state: Mapping[str, Any], first: float | None) -> Table:
    """The table at the end."""
    outcomes = Counter(entry["outcome"] for job in jobs for entry in job.history)
    created, existed = outcomes.pop("created", 0), outcomes.pop("existed", 0)
    seconds = sorted(
        job.record.ended_at - job.record.created_at
        for job in jobs
        if job.state == "SUCCESS" and job.record.ended_at
    )
    failures = Counter(
        str((job.error or {}).get("class")) for job in jobs if job.state == "FAILURE"
    )
    table = Table(title="What came of it", show_header=False)
    table.add_row("created", f"{created + existed} ({existed} of them found on reading back)")
    table.add_row("calls to the API", str(state["calls"]))
    table.add_row("faults it served", str(sum(state["faults_served"].values())))
    for reason, count in outcomes.most_common():
        table.add_row(f"attempts ended by {reason}", str(count))
    if len(seconds) > 1:
        cuts = statistics.quantiles(seconds, n=20)
        words = f"p50 {cuts[9]:.2f} s, p95 {cuts[18]:.2f} s, longest {seconds[-1]:.2f} s"
        table.add_row("enqueued to created", words)
    if first is not None:
        table.add_row("first created after", f"{first:.1f} s")
    for kind, count in failures.items():
        table.add_row(f"failed for good: {kind}", f"{count}, as expected")
    return table
