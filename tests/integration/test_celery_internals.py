"""What `worker.celery_internals` leans on: these fail when a new Celery changes it."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import kombu
import pytest
import redis
from celery.app import backends
from celery.backends.base import Backend, BaseKeyValueStoreBackend
from celery.exceptions import InvalidTaskError
from celery.result import AsyncResult
from celery.worker import state
from celery.worker.consumer import Consumer
from celery.worker.control import Panel
from kombu.asynchronous import Hub
from kombu.exceptions import DecodeError
from kombu.transport import virtual
from kombu.transport.redis import Channel
from kombu.transport.redis import SentinelTransport as KombusSentinelTransport
from kombu.transport.redis import Transport as KombusTransport
from structlog.testing import capture_logs

from config.broker import QUEUE
from config.celery_app import app
from tasks.bounded import bounded
from tasks.happy_eyeballs import HEAD_START
from tasks.pipe import TASK
from tasks.together import NoAnswer, Together
from tests.chaos.foreign import message, no_json, no_message
from worker import celery_internals, control
from worker.celery_internals import RECONNECT_MOST, QuickConsumer, received_ids
from worker.celery_internals.consumer import EVENTS_MOST, EVENTS_SECONDS, PREFETCH
from worker.celery_internals.patches import store_results_together
from worker.celery_internals.results import RedisResults, SentinelResults
from worker.celery_internals.transport import Sturdy
from worker.messages import problem_with, strip

celery_internals.install()


def test_the_workers_requests_have_the_ids_of_their_tasks() -> None:
    class Request:
        id = "some-job"

    request = Request()
    state.reserved_requests.add(request)
    try:
        assert received_ids() == ["some-job"]
    finally:
        state.reserved_requests.discard(request)
    assert received_ids() == []


def test_the_consumer_connects_through_ensure_connection(monkeypatch: Any) -> None:
    seen: dict[str, Any] = {}

    class Connection:
        def ensure_connection(self, *args: Any, **options: Any) -> Any:
            seen.update(options)
            return self

    consumer = SimpleNamespace(
        app=app,
        first_connection_attempt=True,
        broker_connection_retry_attempt=0,
        ensure_connected=None,
        event_dispatcher=None,
    )
    monkeypatch.setattr(Consumer, "__init__", lambda self: None)
    quick = QuickConsumer()
    quick.__dict__.update(vars(consumer))
    del quick.__dict__["ensure_connected"]
    quick.ensure_connected(Connection())
    assert seen["interval_max"] == RECONNECT_MOST
    assert app.conf.worker_consumer == "worker.celery_internals:QuickConsumer"


@pytest.mark.parametrize(
    "error",
    [NotImplementedError("no grow"), KeyError("pool"), InvalidTaskError("x"), DecodeError("x")],
    ids=lambda error: type(error).__name__,
)
def test_what_fails_in_the_worker_is_not_told_as_a_bad_message(
    monkeypatch: Any, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def strategy(*_: Any) -> None:
        raise error

    monkeypatch.setattr(Consumer, "__init__", lambda self: None)
    quick = QuickConsumer()
    quick.__dict__.update(
        app=app,
        strategies={TASK: strategy},
        on_task_message=set(),
        _maximum_prefetch_restored=True,
        connection_errors=(KeyError, redis.ConnectionError),
        channel_errors=(),
    )
    channel = Mock(decode_body=lambda body, _: base64.b64decode(body))
    one = virtual.Message(json.loads(message(content=[[], {}, {}])), channel=channel)
    with capture_logs() as logs:
        quick.create_task_handler()(one)
    [line] = caplog.records
    assert line.levelname == "ERROR" and "a fault of this worker" in line.message
    assert line.exc_info is not None and line.exc_info[1] is error
    assert logs == [] and one.acknowledged


@pytest.mark.parametrize(
    ("url", "transport"),
    [
        ("redis://host/0", celery_internals.RedisTransport),
        ("rediss://host/0?ssl_cert_reqs=required", celery_internals.RedisTransport),
        ("sentinel://one:26379;sentinel://two:26379", celery_internals.SentinelTransport),
    ],
)
def test_a_brokers_url_leads_to_our_transport(
    url: str, transport: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This process may have connected before the worker's modules were loaded.
    monkeypatch.setattr("kombu.transport._transport_cache", {})
    options = {"master_name": "main"}
    connection = kombu.Connection(url, transport_options=options)
    assert connection.get_transport_cls() is transport
    assert issubclass(transport, (KombusTransport, KombusSentinelTransport))
    assert issubclass(transport.Channel, Sturdy)


def test_kombu_and_celery_have_the_methods_that_are_put_around() -> None:
    for name in ("_brpop_read", "_receive_one", "_handle_message"):
        assert name in vars(Channel)
    for name in ("task", "message", "invalid_task", "decode_error"):
        name = f"on_unknown_{name}" if name in {"task", "message"} else f"on_{name}"
        assert name in vars(Consumer) and name in vars(QuickConsumer)
    assert "create_task_handler" in vars(Consumer)


def test_the_next_message_comes_after_any_that_cannot_be_read(redis_server: str) -> None:
    bad = {**no_json("hunter2hunter2"), **no_message("hunter2hunter2")}
    del bad["without headers"], bad["without body"], bad["body of null"]  # kombu takes them
    seen: list[str] = []
    connection = kombu.Connection(redis_server, transport=celery_internals.RedisTransport)
    with redis.Redis.from_url(redis_server) as client, connection:
        consumer = kombu.Consumer(connection, queues=[kombu.Queue(QUEUE)], accept=["json"])
        consumer.on_message = lambda one: seen.append(one.headers["id"]) or one.ack()
        with consumer, capture_logs() as logs:
            for name, raw in bad.items():
                client.lpush(QUEUE, raw, message({"id": name}))
                while name not in seen:
                    connection.drain_events(timeout=5)
    assert seen == list(bad)
    assert [line["event"] for line in logs] == ["message dropped"] * len(bad)
    assert "hunter2" not in str(logs)


@pytest.mark.parametrize("name", ["ours", "a stranger's"])
def test_what_a_closed_channel_puts_back_can_be_read(redis_server: str, name: str) -> None:
    """A hint that had no thread yet: the next worker reads it, and nobody else gets it."""
    elsewhere = {"delivery_info": {"exchange": "", "routing_key": "stolen"}, "body_encoding": None}
    raw = message()
    if name != "ours":
        raw = message({"id": "x"}, elsewhere, body='[["x"], {}, {}]')
    seen: list[Any] = []

    def meet(one: Any) -> None:
        assert problem_with(one) is None
        strip(one)
        seen.append((one.headers["id"], one.payload))

    with redis.Redis.from_url(redis_server) as client:
        client.lpush(QUEUE, raw)
        for times in (1, 2, 3):
            connection = kombu.Connection(
                redis_server,
                transport=celery_internals.RedisTransport,
                transport_options={"ack_emulation": False},
            )
            with connection, kombu.Consumer(connection, [kombu.Queue(QUEUE)], on_message=meet):
                connection.drain_events(timeout=5)
            assert len(seen) == times and seen[0] == seen[-1]
            assert client.llen(QUEUE) == 1 and not client.exists("stolen")


def test_events_wait_for_others_and_are_sent_several_times_a_second(monkeypatch: Any) -> None:
    assert {"on_send_event_buffered", "_flush_events", "register_with_event_loop"} <= vars(
        Consumer
    ).keys()
    monkeypatch.setattr(Consumer, "__init__", lambda self: None)
    monkeypatch.setattr(Consumer, "register_with_event_loop", lambda self, hub: None)
    monkeypatch.setattr(Consumer, "shutdown", lambda self: None)
    quick, hub = QuickConsumer(), Mock()
    quick.event_dispatcher = Mock(buffer_limit=24)
    quick.register_with_event_loop(hub)
    hub.call_repeatedly.assert_called_once_with(EVENTS_SECONDS, quick._flush_events)
    assert quick.event_dispatcher.buffer_limit == EVENTS_MOST
    quick.on_send_event_buffered()
    quick.event_dispatcher.flush.assert_not_called()
    quick.shutdown()  # the last ones are not lost
    quick.event_dispatcher.flush.assert_called_once_with()


def test_as_many_messages_are_held_after_a_reconnection(monkeypatch: Any) -> None:
    """Celery would count them anew, by its own multiplier."""
    monkeypatch.setattr(Consumer, "__init__", lambda self: None)
    quick = QuickConsumer()
    quick.__dict__.update(
        app=app, connection=Mock(), pool=Mock(num_processes=64), prefetch_multiplier=4
    )
    quick.qos_global = True
    quick.on_connection_error_after_connected(ConnectionError("gone"))
    assert quick.initial_prefetch_count == PREFETCH


def test_events_that_could_not_be_sent_are_kept_for_the_next_connection(monkeypatch: Any) -> None:
    """Celery takes over what a dispatcher could not send, not what waits for others."""
    monkeypatch.setattr(Consumer, "__init__", lambda self: None)
    monkeypatch.setattr(Consumer, "ensure_connected", lambda self, conn: conn)
    quick = QuickConsumer()
    with kombu.Connection("memory://") as connection:
        old = app.events.Dispatcher(connection, buffer_group=["task"], on_send_buffered=Mock())
        old.send("task-started", uuid="a-job")
        monkeypatch.setattr(old.producer, "publish", Mock(side_effect=ConnectionError("gone")))
        quick.event_dispatcher = old
        quick.ensure_connected(Mock())
        [(events, key)] = old._outbound_buffer
        assert [event["uuid"] for event in events] == ["a-job"] and key == "task.multi"


def test_the_loop_wakes_for_what_another_thread_has_taken(monkeypatch: Any) -> None:
    """kombu's loop may sleep, and this is what it asks before the next message."""
    monkeypatch.setattr(Consumer, "__init__", lambda self: None)
    quick, hub = QuickConsumer(), Hub(timer=None)
    quick.hub, quick.connection_errors = hub, ()
    passes: list[float] = []
    hub.on_tick.add(lambda: passes.append(time.monotonic()))
    running = hub.create_loop()
    taken = threading.Timer(0.2, lambda: quick._is_taken(Mock(acknowledged=False)))
    taken.start()
    began = time.monotonic()
    while time.monotonic() - began < 0.19 or len(passes) < 2:
        next(running)
    assert time.monotonic() - began < 0.9
    hub.close()


def test_successes_of_several_threads_are_stored_in_one_round_trip(
    redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {"_get_result_meta", "store_result"} <= vars(Backend).keys()
    assert "_store_result" in vars(BaseKeyValueStoreBackend)
    monkeypatch.setattr("tasks.together.WAIT_SECONDS", 0.3)
    monkeypatch.setattr("tasks.together.LIKELY_SECONDS", 10)
    backend = RedisResults(app=app, url=redis_server)
    trips: list[int] = []
    store_all = backend._store_all
    backend._together = Together(lambda pairs: trips.append(len(pairs)) or store_all(pairs))
    ids = [f"job-{number}" for number in range(9)]
    with ThreadPoolExecutor(9) as pool:
        list(pool.map(lambda one: backend.store_result(one, {"of": one}, "SUCCESS"), ids))
    assert len(trips) <= 2 and sum(trips) == 9
    for one in ids:
        told = AsyncResult(one, app=app, backend=backend)
        assert (told.state, told.result) == ("SUCCESS", {"of": one})
        assert 0 < backend.client.ttl(backend.get_key_for_task(one)) <= backend.expires
    backend.store_result("job-1", ValueError("x"), "FAILURE")  # as Celery does
    assert AsyncResult("job-1", app=app, backend=backend).state == "SUCCESS"


def test_a_result_backend_that_hangs_holds_up_nobody_for_long(
    redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.celery_internals.results.WAIT_SECONDS", 0.3)
    monkeypatch.setattr("tasks.together.WAIT_SECONDS", 0.1)
    monkeypatch.setattr("tasks.together.LIKELY_SECONDS", 10)
    backend = RedisResults(app=app, url=redis_server)
    hanging = threading.Event()
    hanging.set()
    backend._together = Together(lambda pairs: hanging.wait(20) and [None] * len(pairs))
    backend._store_result("first", {}, "SUCCESS")
    hanging.clear()
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(backend._store_result, name, {}, "SUCCESS") for name in "ab"]
        [one] = wait(both, 5, FIRST_COMPLETED).done
        hanging.set()
        [other] = {*both} - {one}
        assert isinstance(one.exception(), NoAnswer) and other.result(10) == {}


def test_redis_urls_lead_to_our_result_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.loader, "override_backends", {})
    store_results_together()
    for url in ("redis://h/0", "rediss://h/0", "sentinel://h:1"):
        kind, _ = backends.by_url(url, app.loader)
        assert kind in (RedisResults, SentinelResults) and kind.shares


def test_the_remote_control_has_our_commands() -> None:
    assert Panel.data["revoke"] is control.revoke
    assert Panel.data["terminate"] is control.terminate
    assert "worker.control" in app.conf.include


def test_no_connection_of_celerys_goes_unverified(caplog: pytest.LogCaptureFixture) -> None:
    """Even one whose options for TLS somebody has forgotten; and nobody says that it would."""
    connection = kombu.Connection("rediss://127.0.0.1:1/0")
    assert connection.ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    assert "insecure" not in caplog.text


def test_each_pool_of_connections_to_redis_is_bounded_and_dials_side_by_side() -> None:
    for pool in (redis.ConnectionPool(), redis.BlockingConnectionPool(), redis.Redis(ssl=True)):
        kind = getattr(pool, "connection_pool", pool).connection_class
        assert bounded(kind) is kind
    of_flower = redis.asyncio.Connection(host="redis.example", port=1)
    assert of_flower._connection_arguments() == {
        "host": "redis.example",
        "port": 1,
        "happy_eyeballs_delay": HEAD_START,
    }
