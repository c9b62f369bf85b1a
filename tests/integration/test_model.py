"""The Lua steps are the machine in `tasks/states.py`: each step in each state, then at random."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tasks.more import VERSION
from tasks.states import ENDED, NONE, PLACES, STATES, STEPS, UNFINISHED
from tests.chaos import keyspace
from tests.chaos.model import run_model
from tests.integration.situations import (
    FAILED_TTL,
    HALF_OVER,
    JOB,
    NEW,
    PROMISES,
    RESULT_TTL,
    SITUATIONS,
    Act,
    Bench,
    in_situation,
)

#: The seed of the walk in `make test`; `make chaos` takes others.
SEED, STEPS_OF_THE_WALK = 1, 1_500

#: What is known of the job to whoever tells of it.
RECORD = NEW.record(0.0, JOB)

#: How each step is taken, with all that differs in what it may do.
TAKEN: dict[str, list[Act]] = {
    "add": [Bench.add, lambda b: b.add(later=60)],
    "claim": [Bench.claim, lambda b: b.store.claim(JOB, worker="w", token="0")],
    "renew": [lambda b: b.store.renew("w", [JOB])],
    "finish": [lambda b: b.finish("SUCCESS"), lambda b: b.finish("FAILURE")],
    "reschedule": [Bench.reschedule, lambda b: b.reschedule(delay=60)],
    "take_due": [lambda b: b.store.take_due(queued=0), lambda b: b.store.take_due(queued=3)],
    "hand_back": [lambda b: b.store.hand_back("w", [JOB])],
    "cancel": [Bench.cancel],
    "retry fresh": [lambda b: b.store.retry([JOB], how="fresh")],
    "retry last": [lambda b: b.store.retry([JOB], how="last")],
    "retry once": [lambda b: b.store.retry([JOB], how="once")],
    "take_untold": [lambda b: b.store.take_untold()],
    "alert": [lambda b: b.store.may_alert(RECORD)],
    "told": [lambda b: b.store.told([JOB], b.read().state(JOB), alerted="ApiUnavailable:")],
    "forget": [lambda b: b.store.forget([JOB])],
    "prune": [
        lambda b: b.store.prune(failed_ttl=FAILED_TTL),
        lambda b: b.store.prune(failed_ttl=0),
    ],
    "expire": [lambda b: b.forward(RESULT_TTL + 1)],
}

#: Where a step changes nothing although the state would allow it.
REFUSED = {
    ("claim", "for later"),
    ("claim", "to be retried later"),
    ("take_due", "for later"),
    ("take_due", "to be retried later"),
    ("take_due", "running"),
    ("take_due", "running, cancelled"),
    ("retry once", "failed, cancelled"),
}


def test_the_table_is_whole() -> None:
    assert set(TAKEN) == set(STEPS)
    assert UNFINISHED | ENDED == STATES == set(PLACES)
    assert {state for state, _ in SITUATIONS.values()} == STATES | {NONE}
    for step, rows in STEPS.items():
        assert set(rows) <= STATES | {NONE}, step
        assert set().union(*rows.values()) <= STATES | {NONE}, step


@pytest.mark.parametrize("step", STEPS)
def test_a_step_moves_the_job_as_the_table_says_or_changes_nothing(
    step: str, redis_server: str
) -> None:
    reached: dict[str, set[str]] = defaultdict(set)
    for name, (state, way) in SITUATIONS.items():
        for act in TAKEN[step]:
            bench = Bench(redis_server)
            before = in_situation(bench, way)
            assert before.state(JOB) == state, name
            act(bench)
            after = bench.read()
            words = f"{step} of a job that is {name} ({state})"
            assert not keyspace.broken_promises(after, **PROMISES), words
            if state in STEPS[step] and (step, name) not in REFUSED:
                reached[state].add(after.state(JOB))
            elif step != "expire":  # which leaves no time as it was
                assert after.jobs == before.jobs, words
    # An allowed step may find nothing to do; but it does what it may, and nothing else.
    for state, after_states in STEPS[step].items():
        assert after_states <= reached[state] <= after_states | {state}, (step, state)


STALE: dict[str, Act] = {
    "finish": lambda b: b.store.finish(b.stale, "SUCCESS", result={"id": "stale"}),
    "finish as it ended": lambda b: b.store.finish(b.stale, "FAILURE", error={"class": "Stale"}),
    "reschedule": lambda b: b.store.reschedule(
        b.stale, delay=9, error={}, entry={}, outcome_unknown=False, uses_attempt=False
    ),
    "claim again": lambda b: b.store.claim(JOB, worker="gone", token="stale"),
    "renew": lambda b: b.store.renew("gone", [JOB]),
    "hand back": lambda b: b.store.hand_back("gone", [JOB]),
}


@pytest.mark.parametrize("act", STALE.values(), ids=STALE)
def test_a_stale_attempt_changes_nothing_in_any_state(act: Act, redis_server: str) -> None:
    for name, (state, way) in SITUATIONS.items():
        if Bench.claim not in way:
            continue
        bench = Bench(redis_server)
        bench.add()
        bench.stale = bench.store.claim(JOB, worker="gone", token="stale")
        bench.lose_attempt()
        bench.store.take_due(queued=0)
        # Another attempt goes the rest of the way.
        before = in_situation(bench, way[1:])
        assert before.state(JOB) == state, name
        has_message = {"waiting", "published"} & before.jobs[JOB].keys()
        if has_message and act in (STALE["claim again"], STALE["hand back"]):
            continue  # then it is no attempt that asks, but a worker with this job's message
        assert not act(bench), name
        assert bench.read().jobs == before.jobs, name


class TestRareMoments:
    """What no step leads to, but a repair, another version or a full server may."""

    @pytest.fixture
    def bench(self, redis_server: str) -> Bench:
        return Bench(redis_server)

    def test_what_is_due_now_can_be_claimed_now(self, bench: Bench) -> None:
        bench.add()
        for _ in range(50):
            bench.claim()
            bench.reschedule(delay=0)
        assert bench.read().jobs[JOB]["attempt"] == "50"

    @pytest.mark.parametrize(
        ("place", "act"),
        [
            ("waiting", lambda b: b.store.claim(JOB, worker="w", token="t")),
            ("published", lambda b: b.store.claim(JOB, worker="w", token="t")),
            ("running", lambda b: b.store.take_due(queued=0).hints),
            ("untold", lambda b: b.store.told([JOB], NONE, alerted="ApiUnavailable:")),
        ],
        ids=[
            "due, claimed",
            "hinted, claimed",
            "running, taken up",
            "untold, told",
        ],
    )
    def test_an_entry_without_a_record_is_no_job(self, bench: Bench, place: str, act: Act) -> None:
        bench.redis.zadd(f"webhooks:{place}", {JOB: 1})
        assert not act(bench)
        assert bench.read().jobs == {}

    def test_a_record_of_a_later_version_is_left_alone(self, bench: Bench) -> None:
        bench.add()
        bench.redis.hset(f"webhooks:job:{JOB}", "v", VERSION + 1)
        before = bench.redis.hgetall(f"webhooks:job:{JOB}")
        assert bench.store.claim(JOB, worker="w", token="t") is None
        assert bench.redis.hgetall(f"webhooks:job:{JOB}") == before
        # Out of the pipe, where as many as it holds would be in the way of all others.
        assert bench.redis.zscore("webhooks:published", JOB) is None
        assert bench.redis.zscore("webhooks:waiting", JOB) > bench.store.clock() + 20

    @pytest.mark.parametrize(
        ("name", "act"),
        [
            ("its worker gone", lambda b: b.store.take_due(queued=0).hints),
            ("failed", lambda b: b.store.take_untold()),
            ("failed", lambda b: b.store.forget([JOB])),
            ("failed", lambda b: b.store.prune(failed_ttl=0)),
        ],
        ids=["take_due", "take_untold", "forget", "prune"],
    )
    def test_a_record_of_a_later_version_is_not_given_up_told_or_deleted(
        self, bench: Bench, name: str, act: Act
    ) -> None:
        in_situation(bench, SITUATIONS[name][1])
        bench.redis.hset(f"webhooks:job:{JOB}", "v", VERSION + 1)
        bench.forward(RESULT_TTL + 1)
        before = bench.redis.hgetall(f"webhooks:job:{JOB}")
        assert not act(bench)
        assert bench.redis.hgetall(f"webhooks:job:{JOB}") == before

    def test_leases_are_renewed_while_redis_is_full(self, bench: Bench) -> None:
        bench.add()
        bench.claim()
        bench.forward(HALF_OVER)
        bench.redis.config_set("maxmemory", 1)
        try:
            bench.store.renew("w", [JOB])
        finally:
            bench.redis.config_set("maxmemory", 0)
        bench.forward(HALF_OVER)
        bench.store.take_due(queued=0)
        assert bench.read().state(JOB) == "STARTED"

    @pytest.mark.parametrize(("state", "way"), SITUATIONS.values(), ids=SITUATIONS)
    def test_what_is_confirmed_anew_stays_as_it_is(
        self, bench: Bench, state: str, way: list[Act]
    ) -> None:
        bench.redis.config_set("appendonly", "yes")
        bench.redis.config_set("appendfsync", "always")
        try:
            before = in_situation(bench, way)
            if state != NONE:
                assert bench.store.add([NEW], durability="fsync")[1]
            if state in ENDED:
                assert bench.store.cancel(JOB, durability="fsync")[0] == state
            assert bench.read().jobs == before.jobs
        finally:
            bench.redis.config_set("appendonly", "no")


def test_thousands_of_random_steps_break_no_promise(redis_server: str) -> None:
    assert run_model(STEPS_OF_THE_WALK, SEED, url=redis_server) >= STEPS_OF_THE_WALK
