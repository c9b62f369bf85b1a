"""Who sees to what is due: dispatchers that die or hang, and beats that die, are two, or none."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import redis
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

#: Each step in which a dispatcher may end or be held up.
STEPS = ("take_due", "renew", "messages_in_queue", "publish", "take_untold")


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

    def judge(self, *, once: bool = True) -> None:
        """Whether each ran at its time, and none a second time."""
        chaos, records = self._chaos, self._chaos.records()
        late = {key: records[key].history[0]["at"] - due for key, due in self._due.items()}
        most = max(late.values())
        chaos.report.notes.append(f"at most {most:.1f} s late")
        early = [key for key, seconds in late.items() if seconds < -0.01]
        chaos.require(not early, f"{early[:3]} ran before their time")
        chaos.require(most <= DUE_SECONDS, f"a job ran {most:.1f} s after its time")
        repeated = [key for key in self._due if records[key].attempt != 1]
        chaos.require(not (once and repeated), f"ran more than once: {repeated[:3]}")


def _sabotages(chaos: Chaos, worker: Part, count: int, pause: float) -> Iterator[int]:
    """Sabotage the worker so often; it pauses after each, while what hangs still does."""
    for number in range(1, count + 1):
        worker.signal(signal.SIGUSR2)
        worker.wait_for(lambda: worker.output().count("sabotage: ") >= number)  # noqa: B023
        chaos.mark()
        time.sleep(pause)
        yield number


def _sabotaged(chaos: Chaos, how: str, *options: str, **env: str) -> Part:
    loading = ("-I", "tests.chaos.saboteur")
    return chaos.worker(*loading, *options, SABOTAGE=how, **env)


@scenario("the dispatcher of the only worker dies")
def dispatcher_dies(chaos: Chaos) -> None:
    """In each of its steps."""
    chaos.start()
    steps = STEPS[: chaos.size(2, len(STEPS))]
    worker = _sabotaged(chaos, f"die:{','.join(steps)}")
    deaths, pause = chaos.size(2, 20), chaos.size(1, 2)
    # Some of the steps come every few seconds only; until the last one there are jobs to publish.
    appointments = Appointments(chaos, 0.5, deaths * (pause + 1.5))
    for _ in _sabotages(chaos, worker, deaths, pause):
        pass
    chaos.drain()
    appointments.judge()
    said = worker.output().count("its thread died")
    chaos.require(said == deaths, f"{said} lines about {deaths} threads that died")


@scenario("the dispatcher of the only worker hangs, and wakes up again")
def dispatcher_hangs(chaos: Chaos) -> None:
    """In each of its steps; what a thread does after it woke up changes nothing."""
    chaos.start()
    hangs, pause = chaos.size(1, 8), 6.0
    steps = chaos.random.sample(STEPS[:-1], chaos.size(1, 4))  # the last one holds up no job
    worker = _sabotaged(chaos, f"hang:{','.join(steps)}")
    appointments = Appointments(chaos, 0.5, hangs * (pause + 1) - 1)
    for number in _sabotages(chaos, worker, hangs, pause):
        said = worker.output().count("its thread hangs")
        chaos.require(said >= number, f"{said} lines about {number} threads that hang")
        worker.signal(signal.SIGURG)
    chaos.drain()
    appointments.judge()


@scenario("the thread that renews the leases hangs, calls take their time")
def leases_hang(chaos: Chaos) -> None:
    """The attempts keep their jobs, although any dispatcher would hand out what has lapsed."""
    chaos.start(COMETCHAT_READ_TIMEOUT="60")
    jobs, seconds = chaos.size(10, 50), chaos.size(4, 16)
    worker = _sabotaged(chaos, "hang:renew")
    chaos.sandbox.faults({"kind": "hold", "when": "before", "operation": "create"})
    chaos.feed(jobs)
    chaos.sandbox.wait_for_held(jobs, timeout=30)
    if chaos.long:
        chaos.worker()
    leases = min(_leases(chaos))
    for _ in _sabotages(chaos, worker, 1, seconds):
        chaos.require(
            len(_leases(chaos)) == jobs, f"{len(_leases(chaos))} of {jobs} leases are left"
        )
        chaos.require(min(_leases(chaos)) > leases, "no lease was renewed by another thread")
    chaos.sandbox.release()
    chaos.sandbox.faults()
    chaos.drain()
    repeated = [key for key, record in chaos.records().items() if record.attempt != 1]
    chaos.require(not repeated, f"ran more than once: {repeated[:3]}")


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


def _leases(chaos: Chaos) -> list[float]:
    with redis.Redis.from_url(chaos.redis.url) as client:
        return [end for _, end in client.zrange("webhooks:running", 0, -1, withscores=True)]
