"""Beat's scheduler: redbeat's, which stays when Redis is away and goes on when it is back."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import redis
import structlog
from celery.beat import SchedulingError
from kombu.exceptions import OperationalError
from redbeat.schedulers import RedBeatScheduler, acquire_distributed_beat_lock, get_redis

from tasks.refusals import understand

log = structlog.get_logger("beat")

#: Seconds between attempts while Redis is away.
PAUSE_SECONDS = 1.0
_AWAY = (redis.RedisError, OperationalError)


class PatientScheduler(RedBeatScheduler):
    """redbeat's scheduler ends the process at the first error that Redis gives; this one waits.

    The lock may be lost meanwhile: it expired, another beat took it, or the server that took
    over from a failed one had not heard of it. Then this beat waits until it has the lock again.
    """

    lock: Any = None
    _in_trouble = False
    _is_set_up = True

    def setup_schedule(self) -> None:
        """Write the schedule to Redis, as soon as there is one."""
        if not PatientScheduler._is_set_up:
            # Told to stop meanwhile: Celery's handler wants a scheduler, to save what it knows.
            raise SystemExit
        PatientScheduler._is_set_up = False
        while True:
            try:
                super().setup_schedule()
                break
            except _AWAY as error:
                self._wait_after(error)
                time.sleep(PAUSE_SECONDS)
        PatientScheduler._is_set_up = True

    def tick(self, **options: Any) -> float:
        """Send what is due; the seconds until the next look."""
        try:
            if self.lock_key and self.lock is None:
                acquire_distributed_beat_lock(SimpleNamespace(scheduler=self))
            pause = float(super().tick(**options))
        except _AWAY as error:
            if isinstance(error, redis.exceptions.LockError):
                self.lock = None
            self._wait_after(error)
            return PAUSE_SECONDS
        if self._in_trouble:
            log.info("beat goes on")
        self._in_trouble = False
        return pause

    def apply_async(self, entry: Any, *args: Any, **options: Any) -> Any:
        """Send one task, and note that after it: what could not be sent stays due.

        Celery notes it first, and what it could not send is sent when it is due again, which may
        be tomorrow. What cannot be noted is sent twice, which does no harm.
        """
        try:
            sent = super().apply_async(entry, *args, **{**options, "advance": False})
        except SchedulingError as error:
            # Celery's error is about kombu's, which is about Redis's.
            reason = error.__context__ or error
            problem = _words(reason.__cause__ or reason)
            log.warning("not sent, it stays due", task=entry.name, problem=problem)
            # After a fail-over it may lead to a server that is a replica now: connect anew.
            self.connection.collect()
            for cached in ("connection", "producer", "_maybe_due_kwargs"):
                self.__dict__.pop(cached, None)
            return None
        self.reserve(entry)
        return sent

    def close(self) -> None:
        """Give the lock back; it expires by itself if Redis is away."""
        try:
            super().close()
        except redis.RedisError:
            log.warning("lock not given back: it ends by itself")

    def _wait_after(self, error: Exception) -> None:
        if not self._in_trouble:
            log.warning("beat waits", problem=_words(error))
        self._in_trouble = True
        # After a fail-over the address may belong to another server.
        get_redis(self.app).connection_pool.disconnect(inuse_connections=False)


def _words(error: BaseException) -> str:
    """What is wrong, without what an error might quote."""
    return understand(error).words if isinstance(error, redis.RedisError) else type(error).__name__
