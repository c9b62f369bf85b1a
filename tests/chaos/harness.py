"""What every chaos run stands on: a stack of its own, a producer with a ledger, and the verdict."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

from tasks import Webhook, repair
from tasks.record import JobRecord
from tasks.store import get_store
from tests.chaos import verdict
from tests.chaos.producer import BATCH, Key, Ledger, Producer, pending, webhook_of
from tests.chaos.receipts import FOLDER, RECEIPTS, run_again_after
from tests.chaos.report import Report
from tests.chaos.watch import Watch
from tests.conftest import eventually, use_environment
from worker.sandbox import SandboxControl
from worker.stack import GUARDED, Part, RedisServer, Stack

__all__ = ["BATCH", "RECEIPTS", "SETTINGS", "TENTH", "Chaos", "Key", "Ledger"]

#: The production formulas with shorter waits; no job runs out of attempts by bad luck.
SETTINGS = {
    "RETRY_BASE_SECONDS": "0.2",
    "RETRY_MAX_DELAY_SECONDS": "2",
    "RETRY_MAX_ATTEMPTS": "100",
    "RETRY_MAX_AGE": "3600",
    "COMETCHAT_CONNECT_TIMEOUT": "2",
    "COMETCHAT_READ_TIMEOUT": "5",
    "WORKER_SHUTDOWN_SECONDS": "20",
    "LOG_LEVEL": "info",
}

#: A tenth of the calls fails, before their effect or after it.
TENTH = (
    {"kind": "cut", "rate": 0.025, "operation": "create"},
    {"kind": "cut", "when": "after", "rate": 0.026, "operation": "create"},
    {"kind": "status", "status": 500, "code": "ERR_EXCEPTION", "rate": 0.027},
    {"kind": "status", "status": 503, "when": "after", "rate": 0.028},
)

#: Seconds in which a worker that was told to stop has ended.
STOPS = 30.0

#: What a worker prints when it was told to stop, and what it logs of a fault of the program.
TOLD_TO_STOP = ("Warm shutdown", "Cold shutdown")
BUG = '"event": "bug"'


class Chaos:
    """One run of one scenario.

    Args:
        seed: decides what is random in it.
        long: the long form, or the short one of `make test`.
    """

    def __init__(self, name: str, seed: int, *, long: bool) -> None:
        self.random = random.Random(f"{name}-{seed}")
        self.long = long
        self.report = Report(name, seed)
        self.ledger = Ledger()
        self.stack = Stack(**SETTINGS)
        self.stack.env[FOLDER] = str(self.stack.folder)
        self.sandbox: SandboxControl
        self._over = threading.Event()
        self.producer = Producer(self.ledger, self.require, self._over)
        self._watch = Watch(self._over)
        self._workers: list[Part] = []
        #: The Redis that forgets nothing, as long as it is the same.
        self._remembers: Part | None = None
        self._killed: dict[str, list[float]] = {}
        self._ended: set[Part] = set()

    def size(self, short: int, long: int) -> int:
        """A number that depends on the form."""
        return long if self.long else short

    def say(self, words: str) -> None:
        """Tell who watches what goes on."""
        print(f"{self.report.seconds():6.1f} s  {words}", file=sys.stderr, flush=True)

    def require(self, is_so: object, words: str) -> None:
        """Note a broken promise, and go on to see the rest."""
        if not is_so:
            self.say(f"BROKEN: {words}")
            self.report.problems.append(words)

    # --- the parts ---

    def unguarded(self) -> None:
        """Redis has no users and no TLS in this run, whatever the variable says."""
        if self.stack.env.pop(GUARDED, None):
            self.report.notes.append("without Redis users and TLS")

    @property
    def redis(self) -> RedisServer:
        """The stack's Redis; its `url` may do all."""
        assert self.stack.redis is not None
        return self.stack.redis

    def start(self, *redis_options: str, latency: float = 0.005, **settings: str) -> None:
        """Start Redis and the sandbox; this process is their producer."""
        self.stack.env.update(settings)
        self._remembers = self.stack.start_redis(*redis_options).part
        self.start_sandbox(latency)

    def start_sandbox(self, latency: float = 0.005) -> None:
        """Start the sandbox alone, where a Redis of another kind is there already."""
        self.stack.start_sandbox()
        self.sandbox = SandboxControl(self.stack.env["COMETCHAT_BASE_URL"])
        self.sandbox.settings(latency=latency)
        use_environment(self.stack.env)
        self._watch.start(self.sandbox)

    def worker(self, *options: str, wait: bool = True, **env: str) -> Part:
        """Start one more worker, under a name that no other had."""
        part = self.stack.start_worker(f"w{len(self._workers) + 1}", *options, **env)
        self._workers.append(part)
        if wait:
            part.wait_for_line(" ready.")
        return part

    def ends(self, part: Part) -> None:
        """Wait until a worker has ended itself, as it must, with exit code 1."""
        part.process.wait(20)
        self._ended.add(part)
        self.require(part.process.returncode == 1, f"{part.name} ended{_code(part)}")

    def kill(self, part: Part) -> None:
        """SIGKILL a worker, and remember when."""
        self.require(part.process.poll() is None, f"{part.name} had ended before it was killed")
        part.kill()
        self._killed.setdefault(f"{part.name}@stack", []).append(time.time())

    # --- the producer ---

    def webhook(self, number: int) -> tuple[str, Webhook]:
        """The webhook of this number: twenty to an app."""
        return webhook_of(number)

    def feed(self, count: int, *, insist: bool = True, **options: Any) -> int:
        """Enqueue so many new webhooks, see `Producer.feed`; how many were accepted."""
        return self.producer.feed(count, insist=insist, **options)

    def feeding(
        self, count: int, *, backlog: int = 4_000, **options: Any
    ) -> AbstractContextManager[None]:
        """Enqueue so many while the block runs, some thousands ahead; all are in at its end."""
        return self.producer.feeding(count, backlog=backlog, **options)

    def cancel(self, key: Key) -> None:
        """Cancel a job, and note what was said."""
        self.producer.cancel(key)

    # --- what goes on ---

    def pending(self) -> int:
        """How many jobs have not ended; many while Redis is away."""
        return pending()

    def mark(self) -> None:
        """A fault begins or ends now: how long until the next job is done?"""
        self._watch.marks.append(time.monotonic())

    def wait_for(self, is_so: Callable[[], Any], seconds: float, what: str) -> None:
        """Wait until it is so; a broken promise if it takes longer."""
        try:
            eventually(is_so, seconds)
        except AssertionError:
            self.require(False, f"{what}: not within {seconds:g} s")

    def wait_for_created(self, count: int, seconds: float = 120.0) -> None:
        """Wait until so many webhooks have been created."""
        self.wait_for(lambda: self.created() >= count, seconds, f"{count} webhooks created")

    def created(self) -> int:
        """How many creates have had their effect."""
        return self._watch.created()

    def drain(self, seconds: float = 120.0) -> None:
        """Wait until all jobs have ended."""
        began = time.monotonic()
        self.wait_for(lambda: self.pending() == 0, seconds, "all jobs ended")
        marks = self._watch.marks
        self.report.last_ended = time.monotonic() - (marks[-1] if marks else began)

    # --- the verdict ---

    def stop_workers(self) -> None:
        """Stop every worker that runs: what has not come by now does not come any more.

        Says which of them stopped by themselves, do not stop, or met a fault of the program.
        """
        alive = [part for part in self._workers if part.process.poll() is None]
        for part in self._workers:
            if part not in alive:
                is_right = part in self._ended or _was_ended(part)
                self.require(is_right, f"{part.name} ended by itself{_code(part)}")
        for part in alive:
            part.process.terminate()  # once: a second time ends it at once
        for part in alive:
            with suppress(subprocess.TimeoutExpired):
                part.process.wait(STOPS)
            code = part.process.poll()
            self.require(code in _clean(part), f"{part.name} did not stop{_code(part)}")
        bugs = [part.name for part in self._workers if BUG in part.output()]
        self.require(not bugs, f"faults of the program, see the logs of {bugs}")

    def judge(self) -> None:
        """Compare the sandbox's store with the ledger, and look whether Redis is in order."""
        report = self.report
        records = self.records()
        waiting = self._waiting() if self.ledger.may_wait else frozenset()
        found = verdict.judge(self.ledger, self.sandbox.state()["webhooks"], records, waiting)
        report.jobs = len(self.ledger.accepted)
        report.lost, report.doubled = len(found.lost), len(found.doubled)
        report.repeated = found.repeated
        if report.first_after is None:
            report.first_after = self._watch.first_after()
        for words, keys in (("lost", found.lost), ("doubled", found.doubled)):
            for key in keys[:3]:
                self.say(f"{words}: {key} {records.get(key)}")
        for problem in found.problems:
            self.require(False, problem)
        keeps = self.stack.redis is not None and self.stack.redis.part is self._remembers
        if keeps and not self.ledger.may_expire:
            self._require_one_call_an_attempt()
        # The workers were stopped: what a killed one left to tell, the next one would tell.
        amiss = [one for one in repair.find_problems(repair=False) if one.kind != "untold"]
        self.require(not amiss, f"{len(amiss)} things to repair, such as {amiss[:2]}")

    def _require_one_call_an_attempt(self) -> None:
        """Nothing creates without an attempt, and none twice.

        The API refuses an id that it has, so that a needless call leaves no trace in its store.
        """
        calls = self.sandbox.state()["calls_by_operation"].get("create", 0)
        attempts = sum(record.attempt for record in self.records().values())
        self.require(calls <= attempts, f"{calls} creates in {attempts} attempts")

    def records(self) -> dict[Key, JobRecord]:
        """The records of all that the producer knows of."""
        keys = sorted(self.ledger.accepted | self.ledger.unsure)
        found = get_store().get_many([self.ledger.job_id(key) for key in keys])
        return {(record.app_id, record.webhook_id): record for record in found}

    def _waiting(self) -> frozenset[str]:
        store = get_store()
        return frozenset(
            job_id
            for place in ("waiting", "published")
            for ids in store.scan(place)
            for job_id in ids
        )

    def run_again_after(self) -> list[float]:
        """For each attempt that died with its worker: seconds until the job ran again.

        Workers must have been started with `*RECEIPTS`.
        """
        return sorted(run_again_after(self.records().values(), self._killed, self.stack.folder))

    def show_logs(self) -> None:
        """The ends of what the parts printed, to find out why a promise did not hold."""
        for part in self.stack.parts:
            print(f"--- {part.name}\n{part.output()[-2_000:]}", file=sys.stderr)

    def close(self) -> None:
        """End everything."""
        self._over.set()
        self.stack.close()


def _was_ended(part: Part) -> bool:
    """Whether a worker that is gone was killed or told to stop, and did not end by itself."""
    if part.process.returncode == 0:
        return any(words in part.output() for words in TOLD_TO_STOP)
    return part.process.returncode in {-signal.SIGKILL, *_clean(part)}


def _clean(part: Part) -> set[int]:
    """The exit codes of a worker that was told to stop: before it is ready it just ends."""
    return {0} if " ready." in part.output() else {0, -signal.SIGTERM}


def _code(part: Part) -> str:
    return f", exit code {part.process.returncode}: {part.output()[-300:]!r}"
