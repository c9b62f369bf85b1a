"""Any number of jobs that are due at the very same instant: each step lines up a few of them."""

from __future__ import annotations

import pytest
import redis

from tasks.jobs import STEP_LIMIT, JobStore
from tests.integration.steps import client_fixture

client = client_fixture

#: As `import --not-before` leaves them.
FILL = """
for number = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local id = string.format('%08d-0000-5000-8000-%012d', (number * 7919) % 100000, number)
  redis.call('HSET', KEYS[1] .. 'job:' .. id, 'v', '1', 'state', 'PENDING', 'account', 'default',
    'app_id', 'app' .. number % 50, 'webhook', '{"id":"w"}', 'webhook_version', '2', 'created_at',
    ARGV[3], 'due_at', ARGV[3], 'attempt', '0', 'attempts', '0', 'priority', 'bulk')
  redis.call('ZADD', KEYS[1] .. 'waiting', ARGV[3], id)
end
"""
LINE = "webhooks:ready:default:bulk"


def fill(client: redis.Redis, number: int, instant: float) -> None:
    client.eval(FILL, 1, "webhooks:", 1, number, f"{instant:.3f}")


def lined_up(store: JobStore, client: redis.Redis) -> tuple[int, list[str]]:
    """How many one step has lined up, those included that it has taken; and these."""
    before = client.zcard(LINE)
    taken = store.take_due(queued=0).hints
    return client.zcard(LINE) + len(taken) - before, taken


@pytest.mark.parametrize("others", [0, 3], ids=["alone", "among others"])
def test_each_step_lines_up_a_few_until_all_have_gone(
    store: JobStore, client: redis.Redis, others: int
) -> None:
    number, now = 12 * STEP_LIMIT + 7, store.clock()
    fill(client, number, now - 5)
    for other in range(1, others + 1):
        client.eval(FILL, 1, "webhooks:", number + other, number + other, f"{now - other:.3f}")
    gone: set[str] = set()
    for _ in range(600):
        some, taken = lined_up(store, client)
        assert some <= 4 * STEP_LIMIT
        assert not gone & {*taken}
        gone |= {*taken}
        client.delete("webhooks:published")  # all are done at once
        if len(gone) == number + others:
            break
    assert len(gone) == number + others
    assert client.zcard("webhooks:waiting") == 0


@pytest.mark.parametrize("turn", range(4), ids=["gone", "there", "for later", "there, too"])
def test_it_goes_on_where_it_was_whatever_became_of_that_one(
    store: JobStore, client: redis.Redis, turn: int
) -> None:
    number, now = 6 * STEP_LIMIT, store.clock()
    fill(client, number, now - 5)
    store.gate.pause("default", reason="so that none is taken")
    for _ in range(3):
        assert 0 < lined_up(store, client)[0] <= 4 * STEP_LIMIT
    seen = sorted(client.zrange(LINE, 0, -1), reverse=True)  # the last one was reached
    gone, later = seen[turn::4], seen[(turn + 2) % 4 :: 4]
    for job in gone:
        store.cancel(job)
    for job in later:
        client.zadd("webhooks:waiting", {job: now + 600})
    for _ in range(20):
        lined_up(store, client)
    waiting = set(client.zrangebyscore("webhooks:waiting", "-inf", now))
    assert waiting <= set(client.zrange(LINE, 0, -1))
    assert len(waiting) == number - len(gone) - len(later)
    assert client.zcard("webhooks:waiting") == number - len(gone)
