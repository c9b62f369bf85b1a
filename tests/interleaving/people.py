"""What producers and people do in a run: a play for each kind of trouble, drawn by the seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tasks import delete_webhook, enqueue_webhooks, set_triggers, update_webhook
from tasks.errors import JobConflict, JobNotFound, StoreUnavailable
from tasks.job import Job
from tasks.jobs import JobStore
from tasks.store import get_store

if TYPE_CHECKING:
    from tests.interleaving.world import World

TRIGGERS: Final = ("message_sent", "user_blocked", "group_created", "message_edited")
SETS: Final = (TRIGGERS[:1], TRIGGERS[1:2], TRIGGERS[:2], TRIGGERS[1:3], TRIGGERS[2:4])
WEBHOOK: Final = {"id": "w", "name": "W", "webhookURL": "https://a.example/"}
#: Seconds between two deeds, as likely one as the other.
PAUSES: Final = (2.0, 0.0, 0.1, 1.0, 4.0, 9.0)
#: How long nothing goes on: a lease, a hint's or a held job's time, and what a record is kept.
JUMPS: Final = (7.0, 61.0, 400.0, 1001.0)


class People:
    """All who ask for something in one run.

    Args:
        world: the run.
        app_id: the app whose webhook they are about.
    """

    def __init__(self, world: World, app_id: str = "app", account: str = "default") -> None:
        self._world, self._app, self._account = world, app_id, account
        self._asked: list[str] = []

    def start(self, name: str, at: float, do: Callable[[], None]) -> None:
        """Somebody does this at that time, and tells what came of it."""

        def run() -> None:
            self._world.scheduler.pause(at)
            try:
                do()
            except (JobConflict, JobNotFound, StoreUnavailable) as error:
                self._world.tell(f"{type(error).__name__}: {error}")

        self._world.scheduler.start(name, run)

    def create(self, **options: Any) -> None:
        """Enqueue the webhook."""
        webhook = {**WEBHOOK, "enabled": True}
        if options.pop("with_triggers", False):
            webhook["triggers"] = list(SETS[2])
        options = {"priority": "interactive", "account": self._account, **options}
        [outcome] = enqueue_webhooks([(self._app, webhook)], **options)
        if outcome.error is not None:
            raise outcome.error
        assert outcome.job is not None
        self._answered(outcome.job)

    def update(self, *, enabled: bool, **options: Any) -> None:
        """Enqueue a change."""
        self._answered(update_webhook(self._app, "w", {"enabled": enabled}, **options))

    def delete(self, **options: Any) -> None:
        """Enqueue its deletion."""
        self._answered(delete_webhook(self._app, "w", **options))

    def set_triggers(self, triggers: tuple[str, ...], **options: Any) -> None:
        """Enqueue its triggers."""
        self._answered(set_triggers(self._app, "w", triggers, **options))

    def _answered(self, job: Job) -> None:
        self._world.judge.answers(job, self._world.scheduler.current.notes["asked_at"])
        if job.id not in self._asked:
            self._asked.append(job.id)
        self._world.tell(f"is answered with {self._world.label(job.id)}, {job.state}")

    def _pick(self, which: int) -> str:
        """One of their jobs, 0 for the latest; raises `JobNotFound` if there is none."""
        if not self._asked:
            raise JobNotFound("nothing was asked for")
        job = self._asked[-1 - which % len(self._asked)]
        self._world.scheduler.current.notes["watched"] = job
        return job

    def cancel(self, which: int) -> None:
        """Cancel a job."""
        store().cancel(self._pick(which))

    def retry(self, which: int, how: Any) -> None:
        """Have a job taken up again."""
        store().retry([self._pick(which)], how=how)

    def forget(self, which: int) -> None:
        """Forget a job that has ended."""
        store().forget([self._pick(which)])

    def pause_gate(self, seconds: float) -> None:
        """Let no job of the account go on for so long."""
        store().gate.pause(self._account, reason="maintenance")
        self._world.scheduler.pause(seconds)
        store().gate.resume(self._account)


def store() -> JobStore:
    """As a command of a person has it."""
    return get_store()


#: What is done with one webhook, and how likely that is in each kind of its life.
DEEDS: Final = (
    "nothing",
    "create",
    "create with triggers",
    "update",
    "delete",
    "set triggers",
    "cancel",
    "retry",
    "forget",
    "jump",
    "pause",
)
FIRST: Final = (0, 12, 2, 0, 0, 2)
ANYTHING: Final = (1, 10, 3, 10, 10, 14, 8, 9, 3, 5, 1)
#: Created and deleted again and again, with people who retry what failed.
AGAIN: Final = (1, 12, 0, 0, 12, 0, 2, 12, 2, 4, 0)
#: Its triggers are set, and people change their minds.
TRIGGERS_ALONE: Final = (1, 1, 1, 1, 0, 20, 14, 3, 0, 0, 0)
HOW: Final = ("last", "fresh", "once")


def a_webhooks_life(world: World, deeds: Sequence[int] = ANYTHING) -> None:
    """Producers and people have to do with one webhook; anything may go wrong."""
    people, choose, at = People(world), world.choose, 0.0
    for number in range(9):
        name = f"deed {number}"
        deed = DEEDS[choose(name, FIRST if number == 0 else deeds)]
        at += PAUSES[choose(f"{name} after", (3, 2, 1, 3, 3, 2))]
        options: dict[str, Any] = {}
        if choose(f"{name} expires", (14, 1)):
            options["expires_in"] = (3.0, 10.0)[choose(f"{name} expires in", (1, 1))]
        which = choose(f"{name} which", (6, 3, 2, 1))
        enabled = bool(choose(f"{name} how", (2, 1)))
        triggers = SETS[choose(f"{name} set", (1,) * len(SETS))]
        how = HOW[choose(f"{name} retry", (2, 1, 1))]
        jump = JUMPS[choose(f"{name} jump", (2, 1, 1, 4))]
        does: dict[str, Callable[[], None]] = {
            "create": partial(people.create, **options),
            "create with triggers": partial(people.create, with_triggers=True, **options),
            "update": partial(people.update, enabled=enabled, **options),
            "delete": partial(people.delete, **options),
            "set triggers": partial(people.set_triggers, triggers, **options),
            "cancel": partial(people.cancel, which),
            "retry": partial(people.retry, which, how),
            "forget": partial(people.forget, which),
            "jump": partial(world.jump, jump),
            "pause": partial(people.pause_gate, 3.0),
        }
        if deed != "nothing":
            people.start(f"{deed} {number}", at, does[deed])
    if choose("clock back", (6, 1)):
        world.scheduler.at(5.0, lambda: setattr(world.clock, "skew", -30.0))


def created_again(world: World) -> None:
    """The API refuses some calls for good; else less goes wrong."""
    world.api.expects(answered=60, refused=20, slow=3)
    a_webhooks_life(world, AGAIN)


def minds_change(world: World) -> None:
    """The API refuses some calls for now."""
    world.api.expects(answered=60, slow=6, refused=2, **{"429": 16})
    a_webhooks_life(world, TRIGGERS_ALONE)


def two_accounts(world: World) -> None:
    """One has a backlog before the other one has jobs; nothing else goes wrong."""
    world.judge.watches_shares = True
    world.api.expects(answered=30, slow=4)
    priority = ("bulk", "interactive")[world.choose("priority", (1, 1))]
    number = 12 + 8 * world.choose("backlog", (1, 1, 1, 1))
    for one in range(number):
        people = People(world, f"big-{one}")
        people.start(f"big {one}", 0.0, partial(people.create, priority=priority))
    for one in range(3):
        people = People(world, f"small-{one}", "acme")
        at = (0.5, 0.1, 1.0)[world.choose("small at", (1, 1, 1))]
        people.start(f"small {one}", at, partial(people.create, priority=priority))


def refused_credentials(world: World) -> None:
    """For half a minute an account's credentials are refused."""
    for one in range(2 + world.choose("apps", (1, 1, 1))):
        people = People(world, f"app-{one}")
        at = (0.0, 1.0, 3.0, 8.0)[world.choose(f"app {one} at", (1, 1, 1, 1))]
        people.start(f"create {one}", at, people.create)

    def refuse() -> None:
        world.api.refused.add("default")
        since = world.scheduler.now
        world.scheduler.pause(30.0)
        if store().gate.look("default").closed == "rejected":
            world.judge.alarms.append((since, "default"))
        world.api.refused.discard("default")

    People(world).start("whoever rotates keys", 0.0, refuse)


def workers_that_stop(world: World) -> None:
    """Some are told to stop while calls take long; others go on."""
    world.api.expects(answered=1, slow=20)
    for one in range(9 + world.choose("apps", (1, 1, 1))):
        people = People(world, f"app-{one}")
        at = (0.0, 0.5, 2.0)[world.choose(f"app {one} at", (2, 1, 1))]
        people.start(f"create {one}", at, people.create)
    for number in range(2):
        if number == 0 or world.choose("second stop", (1, 3)):
            at = 5.0 + 1.0 * world.choose(f"stop {number}", (1,) * 8)
            world.scheduler.start(f"stop {number}", partial(_stop, world, number, at))


def _stop(world: World, number: int, at: float) -> None:
    world.scheduler.pause(at)
    alive = [one for one in world.workers if not one.dead and not one.leaving]
    if alive:
        worker = alive[number % len(alive)]
        world.scheduler.start(f"{worker.label}.stop", worker.stop, worker)


PLAYS: Final = {
    "life": (a_webhooks_life, 9),
    "again": (created_again, 4),
    "triggers": (minds_change, 4),
    "accounts": (two_accounts, 1),
    "refused": (refused_credentials, 2),
    "stops": (workers_that_stop, 2),
}
