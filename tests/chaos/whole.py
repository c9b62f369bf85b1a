"""Whether the records of new jobs are whole: all fields, one place, in the index, no more."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

import redis

from config.broker import QUEUE
from tasks import Webhook
from tasks.jobs import PREFIX
from tasks.record import JobRecord, job_id

#: Where a new job can be, and where it must be and must not.
WAITS = ("waiting", "published")
SETS = (*WAITS, "index", "running", "failed", "untold")


class NewJobs:
    """All jobs of a Redis on which no worker has been yet.

    Args:
        fields: those of a record that nothing interrupted, without a password.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self.fields: frozenset[str] = frozenset()
        #: How many there are.
        self.count = 0

    def learn(self, app_id: str, webhook: Webhook) -> None:
        """Take this record as the one that shows which fields there are."""
        found: Any = self._client.hkeys(f"{PREFIX}job:{job_id('default', app_id, webhook.id)}")
        self.fields = frozenset(found) - {"mark"}

    def look(self, items: Sequence[tuple[str, Webhook]]) -> tuple[set[int], list[str]]:
        """Which of these have a job, by number; and what is wrong with it."""
        pipe: Any = self._client.pipeline(transaction=False)
        for app_id, webhook in items:
            job = job_id("default", app_id, webhook.id)
            pipe.hgetall(f"{PREFIX}job:{job}")
            pipe.ttl(f"{PREFIX}job:{job}")
            pipe.exists(f"{PREFIX}sealed:{job}")
            for name in SETS:
                pipe.zscore(PREFIX + name, job)
        answers = iter(pipe.execute())
        there, wrong = set[int](), list[str]()
        for number, (app_id, webhook) in enumerate(items):
            record, ttl, sealed = next(answers), next(answers), next(answers)
            held = {name for name, score in zip(SETS, answers, strict=False) if score is not None}
            if record:
                there.add(number)
            if bool(sealed) != bool(record and webhook.password):
                wrong.append(f"its password is half-written: {app_id} {webhook.id}")
            problems = self._problems(record, ttl, held, app_id, webhook)
            wrong += [f"{words}: {app_id} {webhook.id} {record} {held}" for words in problems]
        return there, wrong

    def _problems(
        self, record: Mapping[str, str], ttl: int, held: set[str], app_id: str, webhook: Webhook
    ) -> list[str]:
        if not record:
            return ["in a set without a record"] if held else []
        wanted = self.fields | ({"mark"} if webhook.password else set())
        wanted |= {"priority"} & set(record)  # of bulk jobs alone
        if set(record) != wanted:
            return [f"half-written, {sorted(wanted ^ set(record))}"]
        job = JobRecord.read("", record)
        checks = {
            "not as asked": (job.app_id, job.webhook) != (app_id, webhook.wire()),
            "not as new": (job.state, job.attempt, job.attempts) != ("PENDING", 0, 0),
            "would expire": ttl != -1,
            "in a wrong place": held not in [{place, "index"} for place in WAITS],
        }
        return [words for words, is_so in checks.items() if is_so]

    def add_up(self) -> bool:
        """Whether the sets hold as many jobs as there are."""
        pipe: Any = self._client.pipeline()
        for name in SETS:
            pipe.zcard(PREFIX + name)
        waiting, published, index, *others = pipe.execute()
        return waiting + published == index == self.count and not any(others)

    def whole_keyspace(self) -> list[str]:
        """What else is wrong in all of Redis: foreign keys, messages that nobody needs."""
        names = {str(key) for key in self._client.scan_iter(f"{PREFIX}*", count=1_000)}
        records = {name for name in names if name.startswith(f"{PREFIX}job:")}
        lines = {name for name in names if name.startswith(f"{PREFIX}ready:")}  # an order of these
        sealed = {name for name in names if name.startswith(f"{PREFIX}sealed:")}
        known = {PREFIX + name for name in (*SETS, "audit", "wake")}
        known |= {name for name in names if name.startswith(f"{PREFIX}round:audit:")}
        strange = names - records - lines - sealed - known
        queue: Any = self._client.lrange(QUEUE, 0, -1)
        bodies = [json.loads(b64decode(json.loads(message)["body"])) for message in queue]
        sent = [job_id for [[ids], *_] in bodies for job_id in ids]
        published: Any = self._client.zrange(f"{PREFIX}published", 0, -1)
        checks = {
            f"{len(records)} records for {self.count} jobs": len(records) != self.count,
            f"keys that nobody knows: {sorted(strange)[:3]}": strange,
            "two messages for a job": len(sent) != len(set(sent)),
            "a message for a job that is not in the pipe": set(sent) - set(published),
        }
        return [words for words, is_so in checks.items() if is_so]


def clients_of(client: redis.Redis) -> int:
    """How many connections Redis has. It closes a dead one when it has read all that came."""
    facts: Any = client.info("clients")
    return int(facts["connected_clients"])
