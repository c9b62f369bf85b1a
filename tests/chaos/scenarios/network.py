"""Networks that break: between worker and Redis, producer and Redis, worker and API."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.chaos.back import require_back
from tests.chaos.harness import Chaos
from tests.chaos.proxy import Fault, Proxy
from tests.chaos.registry import scenario
from tests.conftest import use_environment
from worker.stack import HOST

#: Each for half a minute. The delay is 2 s there and back; a message of Celery's drips for 15 s.
FAULTS = (
    Fault("cut"),
    Fault("delay", 1.0),
    Fault("drip", 0.02),
    Fault("half-open"),
    Fault("lost answers"),
    Fault("stall"),
)

#: Seconds after a fault until a new job has run: by then a connection that is dead without a sign
#: has been given up, and a message that was lost with it has been sent again. Half of it is for a
#: busy machine.
BACK_SECONDS = 20.0
#: Seconds after a fault until all jobs have ended.
DRAINED_SECONDS = 60.0
#: Seconds in which one call of a producer is done or refused, and in which a worker stops.
CALL_SECONDS, STOP_SECONDS = 8.0, 30.0

#: An attempt takes as long: some are under way whenever a fault comes.
LATENCY = 0.3


def _faults(chaos: Chaos, *short: Fault) -> list[Fault]:
    """All of them in some order, or the meanest."""
    faults = list(FAULTS if chaos.long else short)
    chaos.random.shuffle(faults)
    return faults


@contextmanager
def _load(chaos: Chaos, threads: int = 1) -> Iterator[None]:
    """Jobs come in one by one while the block runs, each enqueued again until it is accepted."""
    over = threading.Event()

    def feed() -> None:
        while not over.wait(0.15 * threads):
            chaos.feed(1)

    feeding = [threading.Thread(target=feed, daemon=True) for _ in range(threads)]
    for one in feeding:
        one.start()
    try:
        yield
    finally:
        over.set()
        for one in feeding:
            one.join(STOP_SECONDS)
        chaos.require(not any(one.is_alive() for one in feeding), "a producer hangs")


def _break(chaos: Chaos, proxies: Sequence[Proxy], fault: Fault, seconds: float) -> None:
    """Let the network have this fault for so long; a new job runs soon after it."""
    for proxy in proxies:
        proxy.use(fault)
    time.sleep(seconds)
    for proxy in proxies:
        proxy.heal()
    _require_back(chaos, str(fault))


def _require_back(chaos: Chaos, fault: str) -> None:
    took = require_back(chaos, time.monotonic(), BACK_SECONDS)
    chaos.say(f"{fault}: a new job had run after {took:.1f} s")
    chaos.report.notes.append(f"{fault} {took:.1f} s")


def _in_turn(
    chaos: Chaos, proxies: Sequence[Proxy], faults: Sequence[Fault], threads: int = 1
) -> None:
    """Each fault under load, with the same connections before and after it."""
    seconds = chaos.size(1, 30)
    for fault in faults:
        with _load(chaos, threads):
            chaos.wait_for_created(chaos.created() + 5)
            _break(chaos, proxies, fault, seconds)
        chaos.drain(DRAINED_SECONDS)


def _stop_during(chaos: Chaos, proxies: Sequence[Proxy], fault: Fault) -> None:
    """Workers that are told to stop on a broken network are gone in time all the same."""
    with _load(chaos):
        chaos.wait_for_created(chaos.created() + 5)
        for proxy in proxies:
            proxy.use(fault)
        began = time.monotonic()
        chaos.stop_workers()
        took = time.monotonic() - began
        chaos.require(took <= STOP_SECONDS, f"{fault}: the workers took {took:.1f} s to stop")
        chaos.report.notes.append(f"stopped during {fault} in {took:.1f} s")
    chaos.worker()
    chaos.drain(DRAINED_SECONDS)


@contextmanager
def _behind_proxies(
    chaos: Chaos, port: int, start: Callable[[int], object]
) -> Iterator[list[Proxy]]:
    """Two workers, each with a network of its own to this port; they are stopped at the end."""
    proxies = [Proxy(port) for _ in range(chaos.size(1, 2))]
    try:
        for proxy in proxies:
            start(proxy.port)
        yield proxies
        chaos.stop_workers()
    finally:
        for proxy in proxies:
            proxy.close()


@scenario("the network between worker and Redis cut, slow, dripping, half-open, 30 s each")
def network_worker_redis(chaos: Chaos) -> None:
    """On both workers, on one alone, and on the connections alone that a NAT has forgotten."""
    chaos.start(latency=LATENCY)

    def start(port: int) -> None:
        chaos.worker(REDIS_URL=chaos.redis.url_for("worker", port))

    with _behind_proxies(chaos, chaos.redis.public_port, start) as proxies:
        _in_turn(chaos, proxies, _faults(chaos, Fault("lost answers")))
        if chaos.long:
            alone = [chaos.random.choice(proxies)]
            _in_turn(chaos, alone, [Fault("lost answers"), Fault("stall")])
            is_clear = chaos.redis.public_port == chaos.redis.port
            for asked in (b"BRPOP", b"FCALL", b"")[0 if is_clear else 2 :]:
                with _load(chaos):
                    chaos.wait_for_created(chaos.created() + 5)
                    forgotten = sum(proxy.forget(asked) for proxy in proxies)
                    chaos.require(forgotten, f"no connection asked {asked!r}")
                    _require_back(chaos, f"forgotten after {asked.decode() or 'anything'}")
                chaos.drain(DRAINED_SECONDS)
            _stop_during(chaos, proxies, chaos.random.choice(FAULTS))


@scenario("the same between producer and Redis")
def network_producer_redis(chaos: Chaos) -> None:
    """Each call is done or refused in time, and what was refused is enqueued again."""
    chaos.start(latency=LATENCY)
    chaos.worker()
    with Proxy(chaos.redis.public_port) as proxy:
        use_environment(
            {**chaos.stack.env, "REDIS_URL": chaos.redis.url_for("operator", proxy.port)}
        )
        _in_turn(chaos, [proxy], _faults(chaos, Fault("half-open")), threads=4)
        slowest = chaos.producer.slowest
        chaos.require(slowest <= CALL_SECONDS, f"one call of a producer took {slowest:.1f} s")
        chaos.report.notes.append(f"slowest call {slowest:.1f} s")
        use_environment(chaos.stack.env)


@scenario("the same between worker and API")
def network_worker_api(chaos: Chaos) -> None:
    """What was called and not answered is read back."""
    chaos.start(latency=LATENCY, COMETCHAT_READ_TIMEOUT=str(chaos.size(1, 5)))
    port = urlsplit(chaos.stack.env["COMETCHAT_BASE_URL"]).port
    assert port

    def start(port: int) -> None:
        chaos.worker(COMETCHAT_BASE_URL=f"http://{HOST}:{port}")

    with _behind_proxies(chaos, port, start) as proxies:
        _in_turn(chaos, proxies, _faults(chaos, Fault("lost answers"), Fault("half-open")))
        if chaos.long:
            _stop_during(chaos, proxies, chaos.random.choice(FAULTS))
