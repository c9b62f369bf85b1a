"""Random walks through the program's own steps, the API's behaviours and the producer's database.

They judge themselves; their short forms are tests of their own (`tests/integration/`).
"""

from __future__ import annotations

from tests.chaos.harness import Chaos
from tests.chaos.model import run_model
from tests.chaos.outbox import Kills, run_after_commit_kills, run_outbox_kills
from tests.chaos.reconcile import run_reconcile
from tests.chaos.registry import scenario
from tests.interleaving.run import staged
from worker.stack import Stack


@scenario("random steps of several clients against the model of a job (jobs: steps)", apart=True)
def model(chaos: Chaos) -> None:
    """Every promise is looked at after each step."""
    chaos.report.jobs = run_model(chaos.size(1_000, 10_000), chaos.report.seed)


@scenario("random behaviours of the API, and others who meddle", apart=True)
def reconcile(chaos: Chaos) -> None:
    """The end is one webhook as asked, or a failure whose words are true."""
    chaos.report.jobs = run_reconcile(chaos.size(100, 600), chaos.report.seed)


@scenario("attempts and people stopped at every step, frozen, cut off (jobs: runs)", apart=True)
def interleaving(chaos: Chaos) -> None:
    """A history that breaks a promise is shown as short as was found."""
    number = chaos.size(100, 1_500)
    first = 1 + chaos.report.seed * 1_000_000
    with Stack() as stack, staged(stack.start_redis("--appendonly", "no").url) as stage:
        chaos.report.jobs = stage.check(range(first, first + number))


@scenario("a signup's process killed between its database and Redis: the outbox", apart=True)
def outbox(chaos: Chaos) -> None:
    """Every signup that was committed has its job."""
    _report(chaos, run_outbox_kills(chaos.size(10, 60), chaos.report.seed))


@scenario("the same, enqueueing after the commit, and a sweep", apart=True)
def after_commit(chaos: Chaos) -> None:
    """What a kill lost is what the document says, and the sweep finds it."""
    _report(chaos, run_after_commit_kills(chaos.size(10, 60), chaos.report.seed))


def _report(chaos: Chaos, found: Kills) -> None:
    chaos.report.jobs, chaos.report.lost = found.committed, found.lost
    chaos.report.notes.append(f"{found.kills} kills, {found.halfway} signups were halfway")
    chaos.require(not found.unasked, f"{found.unasked} jobs without a signup")
