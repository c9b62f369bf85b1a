"""What is repeated, as its answer was lost, or decided a moment before it is done, does no harm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tasks.audit import Who
from tasks.jobs import JobStore
from tasks.record import JobRecord
from tests.integration.steps import ERROR, add, claim, client_fixture, expire

client = client_fixture

WHO = Who("ada", "here")


@pytest.fixture(name="lost")
def lost_fixture(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The answer to the next command of each of these kinds is lost on its way."""
    kinds: list[str] = []
    execute = redis.Redis.execute_command

    def losing(self: Any, *args: Any, **options: Any) -> Any:
        answer = execute(self, *args, **options)
        if args[0] in kinds:
            kinds.remove(args[0])
            raise redis.ConnectionError("lost")
        return answer

    monkeypatch.setattr(redis.Redis, "execute_command", losing)
    store.audit.begin("before", WHO, {})  # the steps are there
    yield kinds
    assert kinds == []


class TestRounds:
    def test_one_whose_answer_was_lost_has_begun(self, store: JobStore, lost: list[str]) -> None:
        lost.append("SET")
        assert store.begin_round("prune", 60)
        assert not store.begin_round("prune", 60)

    def test_another_has_begun_it_all_the_same(self, store: JobStore, lost: list[str]) -> None:
        assert store.begin_round("prune", 60)
        lost.append("SET")
        assert not store.begin_round("prune", 60)


class TestAudit:
    def test_an_action_is_noted_once(self, store: JobStore, lost: list[str]) -> None:
        lost.append("FCALL")
        entry, is_new = store.audit.begin("forget", WHO, {"job": "one"})
        assert is_new
        lost.append("FCALL")
        store.audit.end(entry, "done", {"jobs": 1})
        done = [(one.action, one.outcome) for one in store.audit.actions()]
        assert done == [("forget", "done"), ("before", None)]
        assert store._redis.xlen("webhooks:audit") == 3

    def test_of_several_processes_one_notes_it_and_that_one_notes_its_end(
        self, store: JobStore, lost: list[str]
    ) -> None:
        lost.append("FCALL")
        entry, is_new = store.audit.begin("cancel", WHO, {}, once="revoke:one", seconds=5)
        again, is_new_again = store.audit.begin("cancel", WHO, {}, once="revoke:one", seconds=5)
        assert (again, is_new, is_new_again) == (entry, True, False)

    def test_the_same_action_twice_is_two(self, store: JobStore) -> None:
        for _ in range(2):
            assert store.audit.begin("prune", WHO, {})[1]
        assert len(list(store.audit.actions())) == 2


class TestPrune:
    """It deletes by a list that is some milliseconds old."""

    @pytest.fixture
    def meanwhile(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        """What happens between the list and the deleting."""
        forget = JobStore.forget
        happens: list[Any] = []

        def late(self: JobStore, *args: Any, **options: Any) -> int:
            while happens:
                happens.pop()()
            return forget(self, *args, **options)

        monkeypatch.setattr(JobStore, "forget", late)
        return happens.append

    def failed(self, store: JobStore, job: str, token: str) -> JobRecord:
        store._redis.zadd("webhooks:waiting", {job: 1}, xx=True)
        record = claim(store, job, token=token)
        assert store.finish(record, "FAILURE", error=ERROR)
        return record

    def test_one_that_was_taken_up_and_failed_anew_stays(
        self, store: JobStore, client: redis.Redis, meanwhile: Any
    ) -> None:
        old, other = add(store, "old"), add(store, "other")
        for job in (old, other):
            self.failed(store, job, "t1")
            expire(client, "failed", job)

        def again() -> None:
            store.retry([old], how="fresh")
            self.failed(store, old, "t2")

        meanwhile(again)
        assert store.prune(failed_ttl=60) == 1
        assert store.get(old).state == "FAILURE"
        assert not client.exists(f"webhooks:job:{other}")

    @pytest.mark.parametrize("state", ["SUCCESS", "FAILURE"])
    def test_one_whose_record_was_gone_and_that_was_enqueued_anew_stays(
        self, store: JobStore, client: redis.Redis, meanwhile: Any, state: Any
    ) -> None:
        job = add(store)
        client.delete(f"webhooks:job:{job}")
        client.zrem("webhooks:published", job)
        expire(client, "index", job)

        def anew() -> None:
            add(store)
            store.finish(claim(store, job), state, result={"id": "orders"}, error=ERROR)

        meanwhile(anew)
        assert store.prune(failed_ttl=60) == 0
        assert store.get(job).state == state
        assert client.zscore("webhooks:index", job) > 1
