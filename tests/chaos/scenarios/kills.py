"""Workers that are killed, told to stop, and frozen."""

from __future__ import annotations

import signal
import time

from tests.chaos.harness import RECEIPTS, TENTH, Chaos
from tests.chaos.registry import scenario
from worker.stack import Part

#: Seconds within which a killed worker's jobs run again, 99 of 100.
AGAIN_SECONDS = 15.0


@scenario("SIGKILL of random workers, a tenth of the calls failing", heavy=True)
def kill(chaos: Chaos) -> None:
    """Two workers."""
    jobs, kills = chaos.size(300, 20_000), chaos.size(2, 20)
    chaos.start()
    chaos.sandbox.faults(*TENTH)
    workers = [chaos.worker(*RECEIPTS, wait=False) for _ in range(2)]
    for worker in workers:
        worker.wait_for_line(" ready.")
    with chaos.feeding(jobs):
        for number in range(kills):
            # Spread over the load, at any instant of an attempt.
            chaos.wait_for_created(jobs * number // (kills + 1) + 1)
            time.sleep(chaos.random.uniform(0, 0.5))
            victim = chaos.random.randrange(2)
            chaos.kill(workers[victim])
            chaos.mark()
            for key in chaos.random.sample(sorted(chaos.ledger.accepted), 2):
                chaos.cancel(key)
            workers[victim] = chaos.worker(*RECEIPTS)
    chaos.drain(300)
    again = chaos.run_again_after()
    if again:
        half, p99 = again[len(again) // 2], again[int(len(again) * 0.99)]
        chaos.report.notes.append(
            f"{len(again)} attempts died, ran again after {half:.1f} s (p50), {p99:.1f} s (p99)"
        )
        chaos.require(p99 <= AGAIN_SECONDS, f"a killed worker's jobs ran again after {p99:.1f} s")


@scenario("SIGTERM one after the other, as on a deploy")
def terminate(chaos: Chaos) -> None:
    """No attempt is repeated, and each worker is gone within 30 s."""
    jobs, restarts = chaos.size(100, 5_000), chaos.size(1, 10)
    pause = chaos.size(1, 10)
    chaos.start(latency=0.1)
    workers: list[Part] = [chaos.worker(), chaos.worker()]
    slowest = 0.0
    with chaos.feeding(jobs // 2):
        for number in range(restarts):
            chaos.feed(jobs // 2 // restarts)
            due = time.monotonic() + pause
            old = workers.pop(0)
            chaos.mark()
            began = time.monotonic()
            code = old.stop()
            slowest = max(slowest, time.monotonic() - began)
            chaos.require(code == 0, f"restart {number}: exit code {code}")
            workers.append(chaos.worker())
            time.sleep(max(0.0, due - time.monotonic()))
    chaos.drain(120)
    chaos.report.notes.append(f"slowest exit {slowest:.1f} s")
    chaos.require(slowest <= 30, f"a worker took {slowest:.1f} s to exit")
    repeated = [r for r in chaos.records().values() if r.attempt > 1]
    chaos.require(not repeated, f"{len(repeated)} attempts repeated, such as {repeated[:1]}")


@scenario("SIGSTOP for a minute, then SIGCONT: a frozen machine")
def freeze(chaos: Chaos) -> None:
    """What the frozen worker had begun was run by others meanwhile."""
    jobs = chaos.size(60, 500)
    # In the short form the leases have ended after 10 s and a bit.
    frozen_seconds = chaos.size(13, 60)
    chaos.start(latency=0.2)
    frozen = chaos.worker("--concurrency", "32")
    chaos.feed(jobs)
    chaos.wait_for_created(10)
    frozen.signal(signal.SIGSTOP)
    thaw = time.monotonic() + frozen_seconds
    chaos.mark()
    other = chaos.worker("--concurrency", "32")
    for key in chaos.random.sample(sorted(chaos.ledger.accepted), jobs // 10):
        chaos.cancel(key)
    chaos.drain(frozen_seconds + 30)
    before = {key: (r.state, r.result, r.attempt) for key, r in chaos.records().items()}
    time.sleep(max(0.0, thaw - time.monotonic()))
    frozen.signal(signal.SIGCONT)
    # Its threads report, or it would not stop.
    chaos.require(frozen.stop() == 0, "the thawed worker did not stop cleanly")
    after = {key: (r.state, r.result, r.attempt) for key, r in chaos.records().items()}
    changed = [key for key in before if before[key] != after[key]]
    chaos.require(not changed, f"stale attempts changed {changed[:3]}")
    chaos.require(other.process.poll() is None, "the other worker ended")
