"""Redis with replicas and Sentinel: a primary that is gone, and one that is frozen."""

from __future__ import annotations

import signal
import time

from tests.chaos.back import require_back
from tests.chaos.harness import Chaos
from tests.chaos.registry import scenario
from tests.chaos.replication import Group

#: Seconds from the primary's end until a job runs on another.
BACK_SECONDS = 15.0
#: Jobs that wait at most: enqueueing goes on during each fail-over.
BACKLOG = 50


def start_group(chaos: Chaos, **settings: str) -> Group:
    """A primary, two replicas and three sentinels in the place of one Redis."""
    chaos.unguarded()  # with Sentinel there is no TLS
    group = Group(chaos.stack.folder)
    chaos.stack.redis = group  # the stack ends it as it ends its own
    chaos.stack.env.update(settings, REDIS_URL=group.url)
    chaos.start_sandbox()
    return group


def fail_over(chaos: Chaos, group: Group, how: signal.Signals) -> float:
    """Let the primary fail; seconds until another has been taken and a job has run."""
    began = time.monotonic()
    chaos.mark()
    old = group.fail(how)
    chaos.wait_for(lambda: group.primary() not in {None, old}, BACK_SECONDS, "another primary")
    elected = time.monotonic()
    back = require_back(chaos, began, BACK_SECONDS)
    words = f"{how.name}: another primary after {elected - began:.1f} s, a job after {back:.1f} s"
    chaos.say(words)
    chaos.report.notes.append(words)
    if chaos.long:
        group.bring_back(old)
    return back


@scenario("fail-over with Sentinel: the primary killed or frozen", heavy=True, short=False)
def sentinel(chaos: Chaos) -> None:
    """Enqueueing waits for a replica, so that nothing accepted goes with the primary."""
    jobs, failures = chaos.size(120, 5_000), chaos.size(1, 3)
    group = start_group(chaos, ENQUEUE_DURABILITY="replicas")
    beat = chaos.stack.celery("beat", "beat")
    workers = [chaos.worker() for _ in range(chaos.size(1, 2))]
    kinds = [signal.SIGKILL, signal.SIGSTOP, signal.SIGKILL][:failures]
    chaos.random.shuffle(kinds)
    for how in kinds:
        done = chaos.created()
        with chaos.feeding(jobs // failures, backlog=BACKLOG):
            chaos.wait_for_created(done + jobs // failures // 3)
            fail_over(chaos, group, how)
        chaos.drain(60)
        if chaos.long:
            chaos.wait_for(group.is_whole, 60, "the server that failed is a replica")
    for part in (beat, *workers):
        chaos.require(part.process.poll() is None, f"{part.name} ended")
