"""Whatever is in the queue, the worker drops it or looks at a job, and goes on."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import redis

from config.broker import QUEUE
from tests.chaos.foreign import EMBED, broken, message, strange
from tests.fuzz.harness import (
    MOST_MEMORY,
    MOST_SECONDS,
    REPORT,
    SEED,
    Report,
    begin_anew,
    kept,
    memory,
    share,
)
from tests.fuzz.mutation import LARGEST, mutations
from worker.sandbox import SandboxControl
from worker.stack import Part, Stack

SECRET: Final = "hunter2hunter2"
#: Messages between two looks at the worker: it is told where they end by one for no known task.
TOGETHER: Final = 50
#: What a worker must not say because of a message.
UNSEEMLY: Final = ("Traceback", '"level": "error"', '"level": "critical"', "broker lost", SECRET)
FOREIGN: Final = '"likely_cause": "another program'
TICKS: Final = os.sysconf("SC_CLK_TCK")


def cases(count: int) -> Iterator[bytes]:
    """Whole messages that are spoiled, and messages whose body is."""
    chance = random.Random(SEED)
    known = {**broken(SECRET), **strange(SECRET)}
    whole = mutations([raw for raw in known.values() if len(raw) < LARGEST], SEED, count)
    hints = [[["job"], {}, EMBED], [["job", 1], {"a": {}}, None], [[], {}, {"chain": [{}]}]]
    bodies = mutations([json.dumps(hint).encode() for hint in hints], SEED, count)
    tasks = ("tasks.create_webhook", "tasks.create_webhook", "tasks.prune", "tasks.unknown")
    for _ in range(count):
        if chance.random() < 0.6:
            yield next(whole)
        else:
            yield message({"task": chance.choice(tasks)}, content=next(bodies))


class Watch:
    """A worker, as somebody sees it who puts messages into its queue."""

    def __init__(self, worker: Part, broker: redis.Redis) -> None:
        self.worker, self.broker = worker, broker
        self._log = worker.log.open("rb")
        self._log.seek(0, os.SEEK_END)
        self._ends = 0

    def seconds(self) -> float:
        """Of the processor's time, all threads."""
        with open(f"/proc/{self.worker.process.pid}/stat") as stat:  # noqa: PTH123  it is no file
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def meet(self, messages: Sequence[bytes]) -> tuple[str, float, int]:
        """What the worker said of them; the seconds and KiB that they took."""
        self._log.read()
        begin_anew(self.worker.process.pid)
        before, seconds = memory(self.worker.process.pid)[0], self.seconds()
        self._ends += 1
        end = f"the_end_{self._ends}"
        self.broker.lpush(QUEUE, *messages, message({"task": end}))
        said, give_up = b"", time.monotonic() + 20 + 0.5 * len(messages)
        while end.encode() not in said:
            assert self.worker.process.poll() is None, "the worker has ended"
            assert time.monotonic() < give_up, "the worker hangs"
            time.sleep(0.002)
            said += self._log.read()
        grown = memory(self.worker.process.pid)[1] - before
        lines = said.decode(errors="replace").splitlines(keepends=True)
        # Tasks of others are an error, with words of their own.
        own = (line.replace('"level": "error"', "") if FOREIGN in line else line for line in lines)
        return "".join(own), self.seconds() - seconds, grown


def test_any_message_is_dropped_or_looked_at(stack: Stack, sandbox: SandboxControl) -> None:
    [worker] = [part for part in stack.parts if part.name == "worker"]
    report = REPORT.setdefault("messages", Report())
    with redis.Redis.from_url(stack.env["REDIS_URL"]) as broker:
        watch = Watch(worker, broker)
        watch.meet([])
        at_first, _ = memory(worker.process.pid)
        all_cases = cases(share(0.12))
        while some := list(islice(all_cases, TOGETHER)):
            if problem := problem_of(watch, some, report):
                # Which one it is.
                for one in some:
                    assert not problem_of(watch, [one], report), kept("messages", one)
                raise AssertionError(f"{problem}: {kept('messages', repr(some))}")
        left = memory(worker.process.pid)[0] - at_first
        assert left <= MOST_MEMORY, f"all messages together leave {left} KiB behind"
        assert not [key for key in broker.keys("*") if not key.startswith(OURS)]
    assert not sandbox.calls()


#: Keys that are there in any case: the program's, and those of Celery's queues and results.
OURS: Final = (b"webhooks", b"_kombu", b"celery-task-meta-", b"unacked", b"celery")


def problem_of(watch: Watch, messages: Sequence[bytes], report: Report) -> str | None:
    said, seconds, grown = watch.meet(messages)
    report.cases += len(messages)
    report.slowest = max(report.slowest, seconds / len(messages))
    report.largest = max(report.largest, grown)
    if words := [words for words in UNSEEMLY if words in said]:
        return f"the log has {words}"
    if seconds > MOST_SECONDS:
        return f"took {seconds:.1f} s"
    return f"needed {grown} KiB" if grown > MOST_MEMORY else None
