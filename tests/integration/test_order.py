"""Which of the jobs that are due goes first, step by step on a real Redis."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import accumulate, combinations, permutations
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from config.settings import get_settings
from tasks.gate import Limits
from tasks.jobs import WAITING, JobStore
from tasks.more import More
from tasks.record import JobRecord, NewJob, job_id

Asked = tuple[str, dict[str, Any]]


def new_job(app: str, name: str, *, not_before: float = 0, **more: Any) -> NewJob:
    wire = {"id": name, "name": name, "webhookURL": "https://a.example/", "enabled": True}
    its_id = job_id("default", app, name)
    return NewJob(its_id, not_before, "default", app, wire, None, 2, More(**more))


class Line:
    """A store whose pipe holds one job, so that nothing but the order decides."""

    def __init__(self, **options: Any) -> None:
        url = get_settings().redis_url
        self.store = JobStore(url, **{"pipe_size": 1, "result_ttl": 60, "patience": 1, **options})
        self.names: dict[str, str] = {}

    def add(self, app: str, *names: str, **more: Any) -> None:
        """Jobs that are named app/name here."""
        jobs = [new_job(app, name, **more) for name in names]
        self.names |= {job.id: f"{app}/{name}" for job, name in zip(jobs, names, strict=True)}
        self.store.add(jobs)

    def take(self) -> str | None:
        """The one that is next, which is done then; nothing if none is."""
        if (record := self.claim()) is None:
            return None
        self.store.finish(record, "SUCCESS", result={"id": record.webhook_id})
        return self.names[record.id]

    def claim(self) -> JobRecord | None:
        """Likewise, as its attempt."""
        hinted: Any = self.store._redis.zrange("webhooks:published", 0, 0)
        hinted = hinted or self.store.take_due(queued=0).hints
        return self.store.claim(hinted[0], worker="w", token="t") if hinted else None

    def all(self) -> list[str]:
        """All of them, in their order."""
        return list(iter(self.take, None))


@pytest.fixture
def line(redis_server: str) -> Line:
    return Line()


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def test_bulk_waits_for_those_for_whom_a_person_waits(line: Line) -> None:
    line.add("shop", *names("bulk-", 4), priority="bulk")
    line.add("shop", *names("soon-", 3))
    assert line.all() == [
        *("shop/soon-0", "shop/soon-1", "shop/soon-2"),
        *("shop/bulk-0", "shop/bulk-1", "shop/bulk-2", "shop/bulk-3"),
    ]


def test_bulk_keeps_a_tenth(line: Line) -> None:
    line.add("shop", *names("bulk-", 5), priority="bulk")
    line.add("shop", *names("soon-", 40))
    taken = [name.split("-")[0].removeprefix("shop/") for name in line.all()]
    assert taken == [*(["soon"] * 9 + ["bulk"]) * 4, *["soon"] * 4, "bulk"]


def test_tenants_take_turns(line: Line) -> None:
    line.add("large", *names("a", 100), priority="bulk")
    for _ in range(10):
        line.take()
    line.add("small", *names("b", 3), priority="bulk")
    line.add("other", *names("c", 2), priority="bulk")
    assert line.all()[:8] == [
        *("small/b0", "other/c0", "small/b1", "other/c1", "small/b2"),
        *("large/a10", "large/a11", "large/a12"),
    ]


def test_who_comes_anew_has_a_few_turns_before_others(line: Line) -> None:
    line.add("large", *names("a", 150), priority="bulk")
    for _ in range(60):
        line.take()
    line.add("small", *names("b", 40), priority="bulk")
    tenants = [name.split("/")[0] for name in line.all()]
    assert tenants[:20] == ["small"] * 20
    assert tenants[22:50:2] in (["small"] * 14, ["large"] * 14)
    assert tenants[23:50:2] in (["small"] * 14, ["large"] * 14)
    assert tenants[22:50].count("small") == 14


def test_a_group_is_a_tenant_whatever_its_apps(line: Line) -> None:
    line.add("one", *names("a", 4), priority="bulk", group="wholesale")
    line.add("two", *names("b", 4), priority="bulk", group="wholesale")
    line.add("three", *names("c", 4), priority="bulk")
    tenants = [name.split("/")[0] for name in line.all()]
    assert tenants[1:8:2] == ["three"] * 4


@settings(
    max_examples=20,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 30), min_size=1), st.integers())
def test_no_tenant_is_ever_more_than_a_round_ahead(
    redis_server: str, sizes: dict[str, int], seed: int
) -> None:
    """Of any two that both wait, neither is served two more than the other."""
    line = Line()
    redis.Redis.from_url(redis_server).flushall()
    asked = [(app, f"{n}") for app, size in sizes.items() for n in range(size)]
    random.Random(seed).shuffle(asked)
    for app, name in asked:
        line.add(app, name, priority="bulk")
    taken = [name.split("/")[0] for name in line.all()][1:]
    assert len(taken) == len(asked) - 1
    sizes = {app: size for app, size in sizes.items() if app in taken}
    for one, other in permutations(sizes, 2):
        both_wait = taken[: min(len(taken) - taken[::-1].index(app) for app in (one, other))]
        ahead = [(app == one) - (app == other) for app in both_wait]
        sums = list(accumulate(ahead, initial=0))
        assert max(later - before for before, later in combinations(sums, 2)) <= 2


def test_a_retry_does_not_queue_again_behind_its_tenants_others(line: Line) -> None:
    line.add("shop", *names("a", 50), priority="bulk")
    record = line.claim()
    assert record is not None
    line.store.reschedule(
        record, delay=0, error=None, entry={}, outcome_unknown=False, uses_attempt=True
    )
    assert line.all()[:2] == ["shop/a0", "shop/a1"]


def test_what_becomes_due_takes_its_place(line: Line, redis_server: str) -> None:
    soon = line.store.clock() + 3_600
    line.add("shop", *names("a", 3), priority="bulk")
    line.add("later", "b0", not_before=soon)
    client: Any = redis.Redis.from_url(redis_server, decode_responses=True)
    [later] = [job for job, name in line.names.items() if name == "later/b0"]
    assert line.take() == "shop/a0"
    client.zadd("webhooks:waiting", {later: line.store.clock()})
    assert line.all() == ["later/b0", "shop/a1", "shop/a2"]


def test_of_what_dead_workers_ran_the_oldest_goes_first(line: Line, redis_server: str) -> None:
    client: Any = redis.Redis.from_url(redis_server, decode_responses=True)
    line.add("shop", *names("a", 4))
    for age in (10, 20, 30):
        record = line.claim()
        assert record is not None
        client.hset(f"webhooks:job:{record.id}", "created_at", f"{line.store.clock() - age:.3f}")
    client.zadd("webhooks:running", dict.fromkeys(client.zrange("webhooks:running", 0, -1), 1))
    assert line.all() == ["shop/a2", "shop/a1", "shop/a0", "shop/a3"]


def test_the_order_is_found_anew_if_it_is_lost(line: Line, redis_server: str) -> None:
    line.add("shop", *names("a", 30), priority="bulk")
    line.add("shop", *names("b", 3))
    client: Any = redis.Redis.from_url(redis_server, decode_responses=True)
    client.delete(*client.keys("webhooks:ready:*"))
    taken = [line.take()]
    while len(taken) < 33 and (taken[-1] or client.zcard("webhooks:waiting")):
        taken.append(line.take())
    assert len({name for name in taken if name}) == 33
    # Nothing is left of the lines themselves.
    line.take()
    assert client.keys("webhooks:ready:*") == []


def test_what_was_cancelled_is_passed_over(line: Line, redis_server: str) -> None:
    line.add("shop", *names("a", 30), priority="bulk")
    gone = [job for job, name in line.names.items() if name not in ("shop/a0", "shop/a29")]
    for job in gone:
        line.store.cancel(job)
    taken: Iterable[str | None] = [line.take() for _ in range(20)]
    assert [name for name in taken if name] == ["shop/a0", "shop/a29"]


@pytest.fixture
def roomy(redis_server: str) -> Callable[..., Line]:
    def make(rate: float = 0.0) -> Line:
        return Line(pipe_size=512, limits=Limits(rate=rate))

    return make


def test_bulk_leaves_room_in_the_pipe(roomy: Callable[..., Line]) -> None:
    line = roomy()
    line.add("shop", *names("a", 600), priority="bulk")
    assert len(line.store.take_due(queued=0).hints) == 32
    assert line.store.take_due(queued=32).hints == []
    line.add("shop", *names("b", 300))
    taken = [job for _ in range(2) for job in line.store.take_due(queued=32).hints]
    assert len([job for job in taken if "/b" in line.names[job]]) == 300
    assert len(taken) == 300 + 33, "a tenth of them is bulk"


def test_bulk_fills_more_of_it_where_more_is_done(roomy: Callable[..., Line]) -> None:
    line = roomy()
    gate: Any = line.store._redis
    seconds, _ = gate.time()
    gate.hset("webhooks:gate:default", mapping={"second": seconds, "last": 800, "count": 10})
    line.add("shop", *names("a", 600), priority="bulk")
    taken = [len(line.store.take_due(queued=0, batch=512).hints) for _ in range(2)]
    assert taken == [250, 70]
    assert line.store.counts()[WAITING] == 280


def test_what_is_in_line_and_does_not_wait_is_passed_over(line: Line, redis_server: str) -> None:
    """Lines are derived: the set of those that wait decides."""
    client: Any = redis.Redis.from_url(redis_server, decode_responses=True)
    line.add("shop", "done", "later", "due")
    done, later, due = line.names
    assert line.take() == "shop/done"
    soon = line.store.clock() + 3_600
    client.zadd("webhooks:waiting", {later: soon, due: 1})
    client.zadd("webhooks:ready:default:interactive", {done: -9, later: -8, due: -7})
    client.delete("webhooks:published")
    assert line.store.take_due(queued=0).hints == [due]
    assert client.zscore("webhooks:waiting", later) == pytest.approx(soon)


def test_a_step_does_not_read_each_job_of_a_full_pipe(
    roomy: Callable[..., Line], redis_server: str
) -> None:
    line, client = roomy(), redis.Redis.from_url(redis_server)
    line.add("shop", *names("a", 600), priority="bulk")
    line.store.take_due(queued=32)
    before: Any = client.info("commandstats")
    for _ in range(20):
        line.store.take_due(queued=32)
    after: Any = client.info("commandstats")
    read = after["cmdstat_hget"]["calls"] - before["cmdstat_hget"]["calls"]
    assert read < 20 * 10 + 32  # once at most


def test_others_in_the_pipe_leave_an_account_its_part_of_it(
    roomy: Callable[..., Line], redis_server: str
) -> None:
    """Though all that was there a second ago was its own."""
    line, client = roomy(), redis.Redis.from_url(redis_server)
    line.add("shop", *names("a", 600), priority="bulk")
    own = [job for _ in range(2) for job in line.store.take_due(queued=32).hints]
    assert client.hget("webhooks:order", "sole") == b"default"
    foreign = [replace(new_job("shop", f"b{n}"), account="other") for n in range(200)]
    line.store.add(foreign)
    client.zrem("webhooks:waiting", *(job.id for job in foreign))
    client.zrem("webhooks:published", *own)
    client.zadd("webhooks:published", {job.id: line.store.clock() + 60 for job in foreign})
    client.hset("webhooks:order", "sole_until", line.store.clock() - 0.001)
    assert len(line.store.take_due(queued=200).hints) == 32
