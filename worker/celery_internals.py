"""The one place that looks into Celery, kombu and billiard where they document no way.

`tests/integration/test_celery_internals.py` fails when these change.
"""

from __future__ import annotations

import logging
import ssl
import warnings
from collections.abc import Callable
from functools import partial
from itertools import repeat
from queue import Empty
from typing import Any

import kombu.connection
import kombu.transport
from billiard import einfo
from celery.exceptions import CPendingDeprecationWarning
from celery.utils.log import get_logger
from celery.worker import state
from celery.worker.consumer import Consumer
from kombu.transport import redis, virtual
from kombu.utils import json
from redbeat.schedulers import LUA_EXTEND_TO_SCRIPT
from redis import asyncio
from redis.connection import ConnectionPool
from redis.exceptions import NoPermissionError
from redis.lock import Lock

from tasks import broker
from tasks.bounded import TooLarge, bounded, no_more_than
from tasks.happy_eyeballs import HEAD_START
from tasks.refusals import understand
from tasks.steps import OTHERS
from worker.messages import (
    COMPRESSED,
    foreign_task,
    log_dropped,
    log_foreign,
    problem_with,
    strip,
)

#: Seconds between attempts to reach a broker that is away. Celery's own grow to 30.
RECONNECT_FIRST, RECONNECT_MOST = 0.5, 2.0

#: Bytes of a message as it stands in Redis. What is larger is not read to its end: the connection
#: is made anew, and the message is gone.
LARGEST = 1_000_000

_log = get_logger(__name__)


def _but_key_error(errors: tuple[type[Exception], ...]) -> tuple[type[Exception], ...]:
    """A broker's errors but for the one that is what a message raises which lacks something."""
    return tuple(kind for kind in errors if kind is not KeyError)


_READING_ERRORS = _but_key_error(
    (Empty, *redis.Transport.connection_errors, *redis.Transport.channel_errors)
)


class QuickConsumer(Consumer):
    """Celery's consumer (`worker_consumer`), back at work within seconds of its broker.

    A message that is broken, or for nobody here, is dropped with one line that has nothing of
    what is in it. Celery's own lines have all of it, and most of its errors end the worker.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        # Celery announces a new default at every reconnection, also to those who have set it, and
        # its log set-up, which is over by now, sees to it that it is heard.
        warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
        super().__init__(*args, **options)

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, trying again for ever; no setting has the pauses in between."""
        conn.ensure_connection = partial(
            conn.ensure_connection,
            interval_start=RECONNECT_FIRST,
            interval_step=RECONNECT_FIRST,
            interval_max=RECONNECT_MOST,
        )
        return super().ensure_connected(conn)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Say which right is missing, if that is why; Celery would say that the broker is lost."""
        if isinstance(exc, NoPermissionError):
            _log.error("%s", understand(exc).words)
        super().on_connection_error_after_connected(exc)

    def create_task_handler(self, *args: Any, **options: Any) -> Any:
        """Let through to Celery what has a message's form."""
        handle = super().create_task_handler(*args, **options)

        def on_task_received(message: Any) -> None:
            if self._is_fit(message):
                try:
                    handle(message)
                except Exception as error:
                    if self._is_brokers(error):
                        raise
                    # By now nothing of the sender's is left in it.
                    _log.exception(
                        "a fault of this worker, not of the message; the job is taken again"
                    )
                    self._reject(message)

        return on_task_received

    def _is_fit(self, message: Any) -> bool:
        """Whether it is a hint, then without all that a hint has not; else it is dropped."""
        try:
            if foreign := foreign_task(message, self.app.tasks):
                log_foreign(foreign, message)
                self._reject(message)
                return False
            problem = problem_with(message)
            if problem is None:
                strip(message)
                return True
        except Exception as error:
            if self._is_brokers(error):
                raise
            self._drop(message, "cannot be read", error)
        else:
            self._drop(message, problem)
        return False

    def _is_brokers(self, error: Exception) -> bool:
        return isinstance(error, _but_key_error(self.connection_errors + self.channel_errors))

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Celery found no task in it."""
        self._drop(message, "names no task")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """This version has no such task.

        Celery would store a failure under the message's id, which may be that of a job.
        """
        log_foreign("is for a task that is not known here", message)
        self._reject(message)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Celery cannot make a request of it."""
        self._drop(message, "is not valid", exc)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Its body cannot be decoded."""
        self._drop(message, "cannot be decoded", exc)

    def _drop(self, message: Any, problem: str, error: Exception | None = None) -> None:
        log_dropped(problem, error, message)
        self._reject(message)

    def _reject(self, message: Any) -> None:
        if not message.acknowledged:
            message.reject_log_error(_log, self.connection_errors)


class _PlainMessage(virtual.Message):
    """A message that is as large as it was in the queue: some kilobytes could become gigabytes."""

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        if payload["headers"].pop("compression", None):
            payload["content-encoding"] = COMPRESSED
        super().__init__(payload, channel=channel, **options)  # type: ignore[no-untyped-call]


class _Sturdy:
    """A Redis channel that survives whatever is put into the queue's list or published to all."""

    Message = _PlainMessage
    _in_listen: Any

    def _brpop_read(self, **options: Any) -> Any:
        return _or_drop(partial(super()._brpop_read, **options))  # type: ignore[misc]

    def _receive_one(self, client: Any) -> Any:
        def read() -> Any:
            try:
                return super(_Sturdy, self)._receive_one(client)  # type: ignore[misc]
            except TooLarge:
                # redis-py keeps a subscriber's connection, whatever it raises: the rest would come.
                client.connection.disconnect()
                self._in_listen = None
                raise

        return _or_drop(read)

    def _handle_message(self, client: Any, response: Any) -> Any:
        told = super()._handle_message(client, response)  # type: ignore[misc]
        if isinstance(told["data"], bytes):
            # kombu would log what it cannot read.
            json.loads(told["data"])  # type: ignore[no-untyped-call]
        return told


def _or_drop(read: Callable[[], Any]) -> Any:
    """What `read` returns; a message that is the reason why it fails is gone by then."""
    try:
        with no_more_than(LARGEST):
            return read()
    except _READING_ERRORS:
        raise
    except TooLarge:
        log_dropped("is too large")
        return True
    except Exception as error:  # noqa: BLE001  what broken messages raise has no end
        log_dropped("is no Celery message", error)
        return True


class _Channel(_Sturdy, broker.Channel):
    pass


class _SentinelChannel(_Sturdy, broker.SentinelChannel):
    pass


class RedisTransport(redis.Transport):
    """For redis:// and rediss://."""

    Channel = _Channel


class SentinelTransport(redis.SentinelTransport):
    """For sentinel://."""

    Channel = _SentinelChannel


# The documented way to name a transport is this table; a URL must not have a class's path.
kombu.transport.TRANSPORT_ALIASES.update(
    redis=f"{__name__}:RedisTransport",
    rediss=f"{__name__}:RedisTransport",
    sentinel=f"{__name__}:SentinelTransport",
)


# A connection for which somebody has forgotten the options for TLS would verify nothing. Celery
# makes one, just to show its URL.
vars(kombu.connection)["CERT_NONE"] = ssl.CERT_REQUIRED
logging.getLogger("kombu.connection").addFilter(
    lambda line: "insecure SSL" not in line.getMessage()
)


def _bound_at_birth(make: Callable[..., None]) -> Callable[..., None]:
    def __init__(pool: Any, *args: Any, **options: Any) -> None:
        make(pool, *args, **options)
        pool.connection_class = bounded(pool.connection_class)

    return __init__


def _side_by_side(arguments: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    return lambda connection: {**arguments(connection), "happy_eyeballs_delay": HEAD_START}


# The one place that all connections to Redis pass in a worker and beat: records, broker, results,
# redbeat's and those to sentinels. Not all of them let a class be named. Flower's pages have
# redis-py's other half, on asyncio, which dials side by side if it is asked to.
ConnectionPool.__init__ = _bound_at_birth(ConnectionPool.__init__)  # type: ignore[method-assign]
asyncio.Connection._connection_arguments = _side_by_side(  # type: ignore[method-assign,assignment]
    asyncio.Connection._connection_arguments  # type: ignore[arg-type]
)


#: What Celery's transport and beat run in Redis as scripts; Flower and `celery inspect`, too.
OTHER_SCRIPTS = (
    redis.REFRESH_BINDING,
    redis.SWEEP_BINDINGS,
    LUA_EXTEND_TO_SCRIPT,
    *(Lock.LUA_RELEASE_SCRIPT, Lock.LUA_EXTEND_SCRIPT, Lock.LUA_REACQUIRE_SCRIPT),
)
OTHERS[:] = OTHER_SCRIPTS


class _WithoutPositions:
    """A code object that does not know where its instructions are in the source."""

    co_positions = tuple

    def __init__(self, code: Any) -> None:
        self._code = code

    def __getattr__(self, name: str) -> Any:
        return getattr(self._code, name)


class LeanCode(einfo._Code):
    """billiard's copy of a code object, without where each of its instructions is in the source.

    Celery copies those of its own frames for every task that raises: 300 KB for each attempt that
    failed, in as many threads at once as there are. They would tell a column, the line stays.
    """

    def __init__(self, code: Any) -> None:
        super().__init__(_WithoutPositions(code))

    def __reduce__(self) -> Any:
        return LeanCode.__new__, (LeanCode,), self.__dict__

    @property
    def co_positions(self) -> Any:
        """As traceback expects it of any code: four unknowns for each instruction."""
        return lambda: repeat((None, None, None, None))


einfo._Frame.Code = LeanCode


def received_ids() -> list[str]:
    """The ids of the tasks that this worker has received and not ended, running or not.

    Celery's `worker.state` is what its own `inspect active` and `inspect reserved` read; they
    answer over the broker, which a worker that stops may have left already.
    """
    while True:
        try:
            # What waits for the pool leaves the first with the broker, and runs all the same.
            requests = (*state.reserved_requests, *state.active_requests)
            return list({request.id for request in requests})
        except RuntimeError:  # the set changed while it was read: read it again
            continue
