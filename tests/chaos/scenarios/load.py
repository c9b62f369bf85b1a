"""Many jobs: they come in while the API is away, and they wait for workers that start cold."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from config.settings import get_settings
from tasks.store import get_store
from tests.chaos.gauges import Gauges, processor_seconds
from tests.chaos.harness import BATCH, Chaos
from tests.chaos.proxy import Proxy
from tests.chaos.registry import scenario

#: An outage and the settings that production has for it, in seconds; all of them are scaled.
OUTAGE = 600.0
PRODUCTION = {
    "RETRY_BASE_SECONDS": 2.0,
    "RETRY_MAX_DELAY_SECONDS": 600.0,
    "RETRY_MAX_AGE": 86_400.0,
    "COMETCHAT_CONNECT_TIMEOUT": 5.0,
    "COMETCHAT_READ_TIMEOUT": 15.0,
}
ATTEMPTS = "12"
#: A busy machine needs so many seconds for any call.
LEAST_TIMEOUT = 0.5

#: The API's ways to be away, one after the other.
KINDS = ("refused", "503", "no answer")

#: By so many MiB a worker may grow while the API is away.
FLAT = 10.0

#: Seconds until the first job of a worker that starts, and messages sent for each job.
FIRST_SECONDS, MESSAGES = 5, 1.05


@contextmanager
def _away(chaos: Chaos, proxy: Proxy, kind: str) -> Iterator[None]:
    """The API is away in one of these ways while the block runs."""
    match kind:
        case "refused":
            proxy.cut()
        case "503":
            chaos.sandbox.faults({"kind": "status", "status": 503})
        case "no answer":
            proxy.stall()
    yield
    proxy.heal()
    chaos.sandbox.faults()


def _fail(chaos: Chaos, proxy: Proxy, jobs: int, seconds: float) -> None:
    """The API is away in each of its ways in turn, while so many jobs come in."""
    for kind in KINDS:
        began, wanted = time.monotonic(), -(-jobs // len(KINDS))
        with _away(chaos, proxy, kind):
            for fed in range(0, wanted, BATCH):
                chaos.feed(min(BATCH, wanted - fed))
                due = began + seconds / len(KINDS) * min(1.0, (fed + BATCH) / wanted)
                time.sleep(max(0.0, due - time.monotonic()))


@scenario("outage of the API for 10 minutes (scaled), 50,000 jobs come in", heavy=True, seeds=1)
def outage(chaos: Chaos) -> None:
    """Connections refused, 503, then no answers: few calls, and the workers do not grow."""
    jobs, scale = chaos.size(300, 50_000), chaos.size(150, 10)
    scaled = {name: str(max(0.5, value / scale)) for name, value in PRODUCTION.items()}
    scaled["RETRY_BASE_SECONDS"] = str(PRODUCTION["RETRY_BASE_SECONDS"] / scale)
    chaos.start(latency=0.002, RETRY_MAX_ATTEMPTS=ATTEMPTS, **scaled)
    port = urlsplit(chaos.stack.env["COMETCHAT_BASE_URL"]).port
    assert port and chaos.stack.redis
    with Proxy(port) as proxy:
        chaos.stack.env["COMETCHAT_BASE_URL"] = f"http://127.0.0.1:{proxy.port}"
        threads = chaos.size(8, 64)
        workers = [chaos.worker("--concurrency", str(threads), wait=False) for _ in range(2)]
        for worker in workers:
            worker.wait_for_line(" ready.")
        with Gauges(chaos.redis.url, workers) as gauges:
            chaos.feed(chaos.size(2, 32) * threads)  # so that all threads are there
            chaos.drain()
            chaos.mark()
            sent = gauges.messages()
            used = sum(map(processor_seconds, workers))
            began, since = time.monotonic(), get_store().clock()
            _fail(chaos, proxy, jobs, OUTAGE / scale)
            ended, until = time.monotonic(), get_store().clock()
            used = sum(map(processor_seconds, workers)) - used
            sent = gauges.messages() - sent
            chaos.say(f"the API is back, {chaos.pending()} jobs wait")
            chaos.mark()
            chaos.drain(900)
        grown = max(gauges.growth(part.name, began, ended) for part in workers)
    histories = (record.history for record in chaos.records().values())
    attempts = sum(since <= entry["at"] < until for history in histories for entry in history)
    seconds = ended - began
    chaos.report.notes += [
        f"memory grew by {grown:.1f} MiB",
        f"{attempts:,} attempts in an outage of {seconds:.0f} s, {used / seconds:.1%} of a core",
    ]
    # The short form has no time to get its size.
    chaos.require(grown <= FLAT or not chaos.long, f"a worker's memory grew by {grown:.1f} MiB")
    # Those that were under way when it began, then one a second.
    most = 2 * threads * len(KINDS) + seconds + 1
    chaos.require(attempts <= most, f"{attempts} attempts in {seconds:.0f} s")
    most = MESSAGES * attempts + get_settings().pipe_size
    chaos.require(sent <= most, f"{sent} messages for {attempts} attempts")


@scenario("200,000 jobs wait, workers start cold", heavy=True, seeds=1)
def cold_start(chaos: Chaos) -> None:
    """The first job runs at once, and no more messages are sent than there are jobs to run."""
    jobs, enough = chaos.size(1_500, 200_000), chaos.size(300, 20_000)
    chaos.start(latency=0.002)
    assert chaos.stack.redis
    chaos.feed(jobs)
    chaos.say(f"{chaos.pending()} jobs wait")
    with Gauges(chaos.redis.url) as gauges:
        chaos.mark()
        began = time.monotonic()
        chaos.worker(wait=False)
        chaos.sandbox.wait_for_calls(1, "create", timeout=60)
        first = time.monotonic() - began
        chaos.worker()
        chaos.wait_for_created(enough, 600)
        created = chaos.sandbox.wait_for_effects(0, "create")
        sent, counts = gauges.messages(), get_store().counts()
        wanted = created + counts["running"] + counts["published"]
    chaos.stop_workers()
    chaos.ledger.may_wait = True
    counts = get_store().counts()
    created = chaos.sandbox.state()["effects"]["create"]
    chaos.report.notes += [
        f"first job after {first:.1f} s, {_start_of_python():.1f} s of it Python's",
        f"{sent / wanted:.3f} messages a job",
        f"at most {gauges.longest_queue} in the queue",
    ]
    # Where all the tests run at once, Python takes its time to start.
    most = chaos.size(20, FIRST_SECONDS)
    chaos.require(first <= most, f"the first job ran after {first:.1f} s")
    chaos.require(sent <= MESSAGES * wanted, f"{sent} messages for {wanted} jobs")
    # Two dispatchers may repeat the same few hints in the same moment.
    chaos.require(
        gauges.longest_queue <= MESSAGES * get_settings().pipe_size,
        f"{gauges.longest_queue} messages in the queue at once",
    )
    waiting = counts["waiting"] + counts["published"]
    chaos.require(
        created + waiting == jobs and not counts["running"],
        f"{created} created and {waiting} waiting are not {jobs}, {counts['running']} running",
    )


def _start_of_python() -> float:
    """Seconds until a process has imported the worker, with nothing else going on."""
    began = time.monotonic()
    code = "import worker; worker.app.loader.import_default_modules()"
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.monotonic() - began
