"""How jobs look to a person: at a terminal, and in a pipe, where no line is folded."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from tasks.failed import Preview
from tasks.job import Job
from tasks.plain import ago, local, names, plain, took
from tasks.record import JobRecord
from tasks.repair import Problem
from tasks.states import ENDED
from tasks.store import get_store
from tasks.verbs import VERBS

#: Columns of a "terminal" that is a pipe: wide enough for `grep` to find a job on one line.
PIPE_WIDTH: Final = 2_000

#: Attempts; a history that the program wrote has no more.
MOST_ENTRIES: Final = 20

#: Columns from which on a list shows attempts and times too.
WIDE: Final = 120

STYLES: Final = {
    "SUCCESS": "bold green",
    "FAILURE": "bold red",
    "RETRY": "bold yellow",
    "STARTED": "bold cyan",
    "REVOKED": "bold magenta",
}


def console() -> Console:
    """Standard output, with colours at a terminal only."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def say(message: str, value: Any, *, as_json: bool) -> None:
    """A result: the message to a person, the value as JSON."""
    click.echo(json.dumps(value) if as_json else message)


def say_job(job: Job, what: str, *, as_json: bool) -> None:
    """What became of a job, on a line."""
    reason = f": {job.error.get('message')}" if job.error and job.state == "FAILURE" else ""
    effect = effect_words(job)
    due = job.record.due_at
    # By Redis's clock that was set; to say it, this machine's does.
    later = f", due at {local(due)}" if due and due > time.time() + 1 else ""
    message = f"{what}: job {job.id} is {job.state}{later}{reason}{effect and f'. {effect}'}"
    say(plain(message).plain, job.as_json(), as_json=as_json)


def effect_words(job: Job) -> str:
    """What is known of the webhook of a job that did not succeed, and what to do about it."""
    if job.state == "STARTED" and job.record.cancelled:
        return "A call is under way; `status` tells what became of it once it has ended."
    if job.state not in {"REVOKED", "FAILURE"}:
        return ""
    verb = VERBS[job.record.more.action]
    if job.effect == "unknown":
        may = f"An earlier call may have {verb.done} all the same"
        may = "The webhook may exist all the same" if job.record.more.action == "create" else may
        return (
            f"{may}, as no answer says what a call for it did: look "
            f"for {job.record.webhook_id!r} among the webhooks of app {job.record.app_id!r} at "
            "CometChat."
        )
    return verb.none if job.state == "REVOKED" else ""


def show_job(job: Job, *, as_json: bool) -> None:
    """All that a person wants to know about a job."""
    if as_json:
        say("", job.as_json(), as_json=True)
    else:
        console().print(*job_page(job, now=get_store().clock()), sep="\n")


def show_jobs(jobs: Iterable[Job], *, limit: int, as_json: bool) -> None:
    """A line for each job; `limit` of them may not be all."""
    count = 0
    if as_json:
        for job in jobs:
            count += 1
            say("", job.as_json(), as_json=True)
    elif shown := list(jobs):
        count = len(shown)
        out = console()
        out.print(job_table(shown, width=out.width))
    else:
        click.echo("There are no such jobs.", err=True)
    if count == limit:
        click.echo(f"These are {limit}; there may be more: see --limit.", err=True)


def show_preview(preview: Preview, *, as_json: bool) -> None:
    """Which failed jobs would be taken up again, before that is done."""
    if as_json:
        say("", preview.as_json(), as_json=True)
        return
    if not preview.count:
        click.echo("There are no such failed jobs.", err=True)
        return
    out = console()
    counts = Table(box=None, pad_edge=False, header_style="dim")
    counts.add_column("Jobs", justify="right")
    counts.add_column("Failure")
    counts.add_column("Code")
    for (failure, code), count in preview.by_failure.most_common():
        counts.add_row(str(count), plain(failure), plain(code))
    last = local(preview.last_due.timestamp())
    out.print(
        counts, Text(), "The first of them:", job_table(preview.first, width=out.width), sep="\n"
    )
    out.print(Text(f"\n{preview.count} failed jobs, due from now until {last}."))


def say_problem(problem: Problem, *, as_json: bool) -> None:
    """What is wrong with a job, and what is done about it."""
    does = "mended" if problem.mended else f"--repair {problem.remedy}"
    message = f"job {problem.job_id} {problem.problem} ({does})"
    say(plain(message).plain, problem.as_json(), as_json=as_json)


def progress(*, wanted: bool) -> Progress:
    """A progress bar on standard error, if that is a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,  # else results would go to standard error
        disable=not (wanted and sys.stderr.isatty()),
    )


def job_page(job: Job, *, now: float) -> Iterable[Table | Text]:
    """All that a person wants to know about one job; `now` is Redis's clock, unix seconds."""
    record = job.record
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    state = _state(job)
    if record.cancelled and job.state == "STARTED":
        state.append(" (cancelled: ends with the call that is under way)", style="not bold")
    facts.add_row("Job", job.id)
    facts.add_row("State", state)
    facts.add_row("App", plain(record.app_id))
    if record.more.action == "create":
        facts.add_row("Webhook", plain(f"{record.webhook_id} ({record.webhook.get('name')})"))
        facts.add_row("URL", plain(record.webhook.get("webhookURL")))
    else:
        facts.add_row("Action", VERBS[record.more.action].to_do)
        facts.add_row("Webhook", plain(record.webhook_id))
    for name, value in record.webhook.items() if record.more.action == "update" else ():
        if name != "id":
            facts.add_row(plain(name), plain(value))
    if record.after and job.state not in ENDED:
        facts.add_row("Runs after", plain(record.after))
    if record.more.triggers:
        facts.add_row("Triggers", plain(", ".join(record.more.triggers)))
    if record.more.on_existing != "accept":
        facts.add_row("If it exists", record.more.on_existing)
    facts.add_row("Attempts", str(job.attempts))
    facts.add_row("Enqueued", _instant(record.created_at, now))
    if record.due_at is not None:
        facts.add_row("Due", _instant(record.due_at, now, past="now"))
    if record.more.expires_at is not None:
        facts.add_row("Wanted until", _instant(record.more.expires_at, now))
    if job.state == "STARTED" and record.started_at:
        facts.add_row("Running", plain(f"since {ago(now - record.started_at)} on {record.worker}"))
    if record.ended_at is not None:
        facts.add_row("Ended", _instant(record.ended_at, now))
    if job.result:
        facts.add_row("Result", plain(_outcome(job.result)))
    if job.error:
        facts.add_row("Error", plain(job.error.get("message")))
    if effect := effect_words(job):
        facts.add_row("Effect", plain(effect))
    yield facts
    if job.history:
        yield Text()
        yield _history(job.history[-MOST_ENTRIES:])


def job_table(jobs: Iterable[Job], *, width: int) -> Table:
    """A row for each job, with attempts and times where `width` columns have room for them."""
    is_wide = width >= WIDE
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("State", no_wrap=True)
    table.add_column("App", overflow="fold")
    table.add_column("Webhook", overflow="fold")
    table.add_column("Job", no_wrap=True)
    table.add_column("Last failure", no_wrap=True)
    for name in ("Tries", "Enqueued", "Ended") if is_wide else ():
        table.add_column(name, no_wrap=True)
    for job in jobs:
        record = job.record
        failure = (job.error or {}).get("class")
        times = map(local, filter(None, (record.created_at, record.ended_at)))
        table.add_row(
            _state(job),
            *map(plain, (record.app_id, _whose(record), job.id, failure)),
            *((str(job.attempts), *times) if is_wide else ()),
        )
    return table


def _history(entries: Iterable[Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim")
    table.add_column("#", justify="right")
    table.add_column("Attempt at", no_wrap=True)
    table.add_column("Took", justify="right", no_wrap=True)
    table.add_column("Outcome", overflow="fold")
    table.add_column("What was said", overflow="fold")
    for entry in entries:
        table.add_row(
            plain(entry.get("attempt")),
            local(entry["at"]) if entry.get("at") else "",
            took(entry.get("ms")),
            plain(entry.get("outcome")),
            plain(entry.get("message")),
        )
    return table


def _whose(record: JobRecord) -> str:
    """The webhook, with what is done to it unless it is created."""
    action = record.more.action
    what = "" if action == "create" else f" ({VERBS[action].to_do.removesuffix(' of')})"
    return f"{record.webhook_id}{what}"


def _state(job: Job) -> Text:
    return Text(job.state, style=STYLES.get(job.state, "bold"))


def _outcome(result: Mapping[str, Any]) -> str:
    outcome = result.get("outcome")
    what = {
        "existed": "the webhook was there already, as asked for",
        "updated": "the webhook was updated",
        "unchanged": "the webhook was as asked for already",
        "deleted": "the webhook was deleted",
        "absent": "there was no such webhook",
    }.get(str(outcome), "the webhook was created")
    if "changed" in result:
        what = f"the webhook was there already, and was sent: {names(result['changed'])}"
    if "differs" in result:
        what = what.removesuffix(", as asked for")
        what += f"; CometChat shows otherwise than asked for: {names(result['differs'])}"
    if "triggers" not in result:
        return what
    return f"{what}; its triggers: {names(result['triggers']) or 'none'}"


def _instant(instant: float, now: float, *, past: str = "") -> str:
    if instant > now:
        return f"{local(instant)} (in {ago(instant - now)})"
    return past or f"{local(instant)} ({ago(now - instant)} ago)"
