"""Who sees to what is due: dispatchers that die or hang, beats that die, are two, or none."""

from __future__ import annotations

import signal
from datetime import UTC, datetime

from celery import Celery
from pydantic import SecretStr
from redbeat.schedulers import RedBeatSchedulerEntry, get_redis

from config.celery_app import configuration
from config.settings import load_settings
from tasks.store import get_store
from tests.chaos.harness import Chaos, Key
from tests.chaos.registry import scenario
from worker.stack import Part

#: A job runs within so many seconds of its time.
DUE_SECONDS = 5.0
#: The same where the only worker must find out that it stands still, end, and be started anew.
ANEW_SECONDS = 20.0

#: Each step in which a dispatcher may end or be held up.
STEPS = ("take_due", "renew", "messages_in_queue", "publish", "take_untold", "wait_for_due")


class Appointments:
    """Jobs that become due one after the other, a tenth of a second apart.

    Args:
        first: seconds until the first of them.
        last: seconds until the last.
    """

    def __init__(self, chaos: Chaos, first: float, last: float) -> None:
        self._chaos = chaos
        self._due: dict[Key, float] = {}
        now, known = get_store().clock(), set(chaos.ledger.accepted)
        for tenth in range(int((last - first) * 10)):
            due = now + first + tenth / 10
            chaos.feed(1, not_before=due)
            [key] = chaos.ledger.accepted - known
            known.add(key)
            self._due[key] = due

    def judge(self, *, most: float = DUE_SECONDS, once: bool = True) -> None:
        """Whether each ran at most so many seconds after its time, and none a second time."""
        chaos, records = self._chaos, self._chaos.records()
        late = {key: records[key].history[0]["at"] - due for key, due in self._due.items()}
        latest = max(late.values())
        chaos.report.notes.append(f"at most {latest:.1f} s late")
        early = [key for key, seconds in late.items() if seconds < -0.01]
        chaos.require(not early, f"{early[:3]} ran before their time")
        chaos.require(latest <= most, f"a job ran {latest:.1f} s after its time")
        repeated = [key for key in self._due if records[key].attempt != 1]
        chaos.require(not (once and repeated), f"ran more than once: {repeated[:3]}")


def _sabotaged(chaos: Chaos, how: str, *options: str, **env: str) -> Part:
    loading = ("-I", "tests.chaos.saboteur")
    return chaos.worker(*loading, *options, SABOTAGE=how, STILL_SECONDS="4", **env)


def _ends(chaos: Chaos, worker: Part) -> None:
    """Sabotage it, and wait until it has ended itself."""
    worker.signal(signal.SIGUSR2)
    worker.wait_for_line("sabotage: ")
    chaos.mark()
    chaos.ends(worker)
    chaos.require("start it anew" in worker.output(), "it did not say why it ended")


@scenario("the dispatcher of the only worker dies or hangs: it is started anew")
def dispatcher_ends(chaos: Chaos) -> None:
    """In each of its steps; this scenario is the supervisor."""
    chaos.start()
    steps = STEPS[: chaos.size(1, len(STEPS))]
    # Some of the steps come every few seconds only; until the last one there are jobs to publish.
    appointments = Appointments(chaos, 0.5, len(steps) * 2 * 8.0)
    for step in steps:
        for how in ("die", "hang"):
            _ends(chaos, _sabotaged(chaos, f"{how}:{step}"))
    chaos.worker()
    chaos.drain()
    appointments.judge(most=ANEW_SECONDS, once=False)


@scenario("the thread that renews the leases hangs, calls take their time")
def leases_hang(chaos: Chaos) -> None:
    """The worker ends in the middle of its calls, and another runs its jobs again, once."""
    chaos.start(COMETCHAT_READ_TIMEOUT="60")
    jobs = chaos.size(10, 50)
    worker = _sabotaged(chaos, "hang:renew")
    chaos.sandbox.faults({"kind": "hold", "when": "after", "operation": "create", "times": jobs})
    chaos.feed(jobs)
    chaos.sandbox.wait_for_held(jobs, timeout=30)
    other = chaos.worker()
    _ends(chaos, worker)
    chaos.sandbox.release()
    chaos.drain()
    chaos.require(other.process.poll() is None, "the other worker ended, too")
    repeated = [key for key, record in chaos.records().items() if record.attempt > 2]
    chaos.require(not repeated, f"ran more than twice: {repeated[:3]}")


@scenario("no beat, two beats, the one that has the lock killed")
def beats(chaos: Chaos) -> None:
    """Due jobs need none; and what beat asks for is done once."""
    chaos.start()
    worker = chaos.worker()
    seconds = chaos.size(4, 45)
    appointments = Appointments(chaos, 0.5, seconds)
    pair = [chaos.stack.celery(f"beat{n}", "beat", LOG_LEVEL="debug") for n in (1, 2)]
    # Either of them writes the schedule before that, over what is made due.
    chaos.wait_for(lambda: all("Acquiring lock" in b.output() for b in pair), 30, "both started")
    chaos.wait_for(lambda: _with_lock(pair), 30, "a beat has the lock")
    make_due(chaos, "retry_failed")
    chaos.wait_for(lambda: _rounds(worker) == 1, 20, "a round of retry_failed")
    first = _with_lock(pair)[0]
    first.kill()
    chaos.mark()
    if chaos.long:
        [other] = [beat for beat in pair if beat is not first]
        chaos.wait_for(lambda: _with_lock([other]), 60, "the other beat has the lock")
        # Rounds have ten minutes between them, whoever asks.
        make_due(chaos, "retry_failed")
        chaos.wait_for(lambda: "Sending due task" in other.output(), 20, "it sends what is due")
    chaos.drain()
    appointments.judge()
    chaos.require(_rounds(worker) == 1, f"{_rounds(worker)} rounds of retry_failed")


def make_due(chaos: Chaos, name: str) -> None:
    """Let the time of one of beat's entries have come, by any beat's clock."""
    app = Celery()
    url = SecretStr(chaos.redis.url_for("admin"))  # no process of the program may write for beat
    app.conf.update(configuration(load_settings(redis_url=url)))
    entry = RedBeatSchedulerEntry.from_key(f"webhooks:beat:{name}", app=app)
    entry.reschedule(datetime(2020, 1, 1, tzinfo=UTC))
    get_redis(app).zadd(app.redbeat_conf.schedule_key, {entry.key: 0})


def _with_lock(beats: list[Part]) -> list[Part]:
    return [beat for beat in beats if "Acquired lock" in beat.output()]


def _rounds(worker: Part) -> int:
    return worker.output().count('"event": "retry_failed"')
