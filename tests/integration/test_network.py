"""Producers on a network that is slow, silent or forgetful: an answer or an error, in time."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from config.broker import KEEPALIVE
from tasks import StoreUnavailable, Webhook, enqueue_webhook, get_job
from tasks.broker import get_pool
from tests.addresses import listening
from tests.chaos.proxy import Proxy
from tests.conftest import use_environment
from worker.stack import HOST, RedisServer

ORDERS = Webhook(id="orders", name="Orders", webhook_url="https://shop.example.com/hook")

#: The promise, and what a busy machine adds to it.
ERROR_SECONDS = 5.0 + 1.0


@pytest.fixture
def proxy(bare_redis: RedisServer, redis_server: str) -> Iterator[Proxy]:
    """The way to an empty Redis."""
    with Proxy(bare_redis.port) as proxy:
        yield proxy


def behind(proxy: Proxy) -> str:
    return f"redis://{HOST}:{proxy.port}/0"


@contextmanager
def ended_within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


@pytest.mark.parametrize("is_connected", [False, True])
def test_answers_that_drip_are_an_error_in_time(proxy: Proxy, is_connected: bool) -> None:
    use_environment({"REDIS_URL": behind(proxy)})
    if is_connected:
        enqueue_webhook("warm", ORDERS)
    proxy.drip(0.02)
    with ended_within(ERROR_SECONDS), pytest.raises(StoreUnavailable, match="then repeat"):
        enqueue_webhook("shop", ORDERS)
    proxy.heal()
    assert enqueue_webhook("shop", ORDERS).state == "PENDING"


def test_waiting_for_a_job_ends_with_the_network(proxy: Proxy) -> None:
    use_environment({"REDIS_URL": behind(proxy)})
    job = enqueue_webhook("shop", ORDERS)
    proxy.half_open()
    with ended_within(ERROR_SECONDS), pytest.raises(StoreUnavailable):
        job.wait(60)


def test_idle_connections_that_a_nat_forgot_are_replaced(proxy: Proxy) -> None:
    use_environment({"REDIS_URL": behind(proxy)})
    job = enqueue_webhook("warm", ORDERS)
    proxy.forget()
    with ended_within(ERROR_SECONDS):
        assert get_job(job.id).state == "PENDING"


def test_the_broker_is_none_of_a_producers_business(redis_server: str) -> None:
    with listening() as port:
        broker = f"redis://{HOST}:{port}/0"
        use_environment({"REDIS_URL": redis_server, "CELERY_BROKER_URL": broker})
        with ended_within(2):
            assert enqueue_webhook("shop", ORDERS).state == "PENDING"
    use_environment({"CELERY_BROKER_URL": ""})


def test_idle_connections_to_the_broker_are_probed(redis_server: str) -> None:
    with get_pool().connection(1) as connection:
        pool = connection.default_channel.pool
        one = pool.get_connection()
        assert one._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        for option, number in KEEPALIVE.items():
            assert one._sock.getsockopt(socket.IPPROTO_TCP, option) == number
        pool.release(one)


def test_a_server_that_does_not_answer_the_tls_handshake_is_an_error_in_time(
    redis_server: str,
) -> None:
    with listening() as port:
        use_environment({"REDIS_URL": f"rediss://{HOST}:{port}/0"})
        with (
            ended_within(ERROR_SECONDS - 0.5),
            pytest.raises(StoreUnavailable, match="the TLS handshake"),
        ):
            enqueue_webhook("shop", ORDERS)
