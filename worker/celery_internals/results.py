"""Celery's result backends for Redis, which store the successes of several threads together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from celery import states
from celery.backends.redis import RedisBackend, SentinelBackend

from tasks.bounded import within
from tasks.outcome import WAIT_SECONDS, slots
from tasks.together import Together


class _StoresTogether:
    #: For `tasks.outcome`: a success takes no connection of its own.
    shares: Final = True
    ensure: Any
    client: Any
    expires: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._together = Together(self._store_all)

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **options: Any,
    ) -> Any:
        """Store it; a success without Celery's look at what is there, which could be no truer."""
        backend: Any = super()
        if state != states.SUCCESS:
            return backend._store_result(task_id, result, state, traceback, request, **options)
        meta = backend._get_result_meta(
            result=result, state=state, traceback=traceback, request=request
        )
        meta["task_id"] = task_id
        with within(WAIT_SECONDS):  # a backend that hangs stops no attempt
            self._together.run((backend.get_key_for_task(task_id), backend.encode(meta)))
        return result

    def _store_all(self, pairs: Sequence[tuple[Any, Any]]) -> Sequence[None]:
        with slots.one(WAIT_SECONDS):
            self.ensure(self._set_all, (pairs,))
        return [None] * len(pairs)

    def _set_all(self, pairs: Sequence[tuple[Any, Any]]) -> None:
        pipe = self.client.pipeline(transaction=False)
        for key, value in pairs:
            pipe.set(key, value, ex=self.expires)
            pipe.publish(key, value)
        pipe.execute()


class RedisResults(_StoresTogether, RedisBackend):
    """For redis:// and rediss://."""


class SentinelResults(_StoresTogether, SentinelBackend):
    """For sentinel://."""
