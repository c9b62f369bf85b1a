"""One Redis that is killed, loses its power, refuses to write, or is another one by now."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import redis

from tasks import StoreUnavailable, enqueue_webhook
from tasks.record import job_id
from tasks.store import get_store
from tests.chaos.back import require_back
from tests.chaos.disk import ONE_FILE, UNSYNCED_SECONDS, Disk, let_servers_see_full_disks
from tests.chaos.harness import Chaos, Key
from tests.chaos.proxy import Proxy
from tests.chaos.registry import scenario
from worker.stack import HOST, RedisServer, free_port

#: Seconds from Redis's return until a new job has run.
BACK_SECONDS = 10.0
#: Jobs that wait at most, so that enqueueing goes on when the fault comes.
BACKLOG = 50
#: Jobs that are accepted right before a kill, to run so many seconds later: Redis alone has them.
LAST, LATER = 20, 1.5
#: A power cut takes what was enqueued within so many seconds, and nothing older.
AT_RISK_SECONDS = UNSYNCED_SECONDS + 0.9


def _server(chaos: Chaos) -> RedisServer:
    assert chaos.stack.redis is not None
    return chaos.stack.redis


@scenario("Redis SIGKILLed and restarted, appendfsync always, ENQUEUE_DURABILITY=fsync")
def redis_always(chaos: Chaos) -> None:
    """What Redis has answered is on its disk."""
    chaos.start("--appendfsync", "always", ENQUEUE_DURABILITY="fsync", REDIS_APPENDFSYNC="always")
    _kill_and_restart(chaos)


@scenario("Redis SIGKILLed or its power cut, appendfsync everysec, ENQUEUE_DURABILITY=memory")
def redis_everysec(chaos: Chaos) -> None:
    """The enqueues of the last second may be lost, and those alone: a note has how many were."""
    chaos.start("--appendfsync", "everysec", *ONE_FILE, ENQUEUE_DURABILITY="memory")
    times, disk = _Times(chaos), Disk(_server(chaos))
    cuts = _kill_and_restart(chaos, disk)
    chaos.report.notes.append(f"power cuts took {disk.lost_bytes:,} bytes")
    chaos.require(disk.lost_bytes, "the power cuts took nothing: nothing was shown")
    chaos.report.notes.append(_forget_the_lost(chaos, times, cuts))


def _kill_and_restart(chaos: Chaos, disk: Disk | None = None) -> list[float]:
    """Kill Redis under load, with a disk every other time by a power cut; their instants."""
    jobs, kills = chaos.size(60, 5_000), chaos.size(1, 5)
    workers = [chaos.worker() for _ in range(chaos.size(1, 2))]
    cuts, slowest = [], 0.0
    with chaos.feeding(jobs, backlog=BACKLOG):
        for number in range(kills):
            is_cut = disk is not None and number % 2 == 0
            with disk.with_power() if disk and is_cut else nullcontext():
                # At any instant of the attempts, and right after some have been accepted.
                chaos.wait_for_created(jobs * (number + 1) // (kills + 2))
                time.sleep(chaos.random.uniform(0, chaos.size(0, 1)))
                for _ in range(chaos.size(2, 10)):
                    chaos.feed(LAST // 2, not_before=time.time() + LATER)
                    time.sleep(0.2)
                chaos.mark()
                _server(chaos).kill()
                cuts += [time.monotonic()] if is_cut else []
            time.sleep(chaos.random.uniform(0, chaos.size(1, 3)))
            _server(chaos).start()
            slowest = max(slowest, require_back(chaos, time.monotonic(), BACK_SECONDS))
    chaos.drain(60)
    chaos.report.notes.append(f"{kills} kills, a job ran {slowest:.1f} s after Redis was back")
    for worker in workers:
        chaos.require(worker.process.poll() is None, f"{worker.name} ended")
    return cuts


class _Times:
    """When each job was accepted, or up to 50 ms earlier."""

    def __init__(self, chaos: Chaos) -> None:
        self.of: dict[Key, float] = {}
        self._accepted = chaos.ledger.accepted
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            before = time.monotonic()
            time.sleep(0.05)
            self.of.update(dict.fromkeys(set(self._accepted) - self.of.keys(), before))


def _forget_the_lost(chaos: Chaos, times: _Times, cuts: list[float]) -> str:
    """The ledger without what was lost as had to be expected; how much that was."""
    there = {(one["app_id"], one["id"]) for one in chaos.sandbox.state()["webhooks"]}
    lost = chaos.ledger.accepted - chaos.records().keys() - there
    ages = {key: min(cut - times.of[key] for cut in cuts if cut > times.of[key]) for key in lost}
    expected = {key for key, age in ages.items() if age <= AT_RISK_SECONDS}
    chaos.ledger.accepted -= expected
    chaos.ledger.unsure |= expected
    oldest = max(ages.values(), default=0.0)
    return f"{len(lost)} jobs went with them, enqueued up to {oldest:.1f} s before"


@scenario("Redis refuses to write: memory full (noeviction), disk full, a read-only replica")
def redis_refuses(chaos: Chaos) -> None:
    """Enqueueing is an error that leaves nothing; workers wait, and go on when it ends."""
    let_servers_see_full_disks(chaos.stack.folder)
    chaos.start(*ONE_FILE, latency=0.05)
    workers = [chaos.worker("--concurrency", "8") for _ in range(chaos.size(1, 2))]
    client = redis.Redis.from_url(_server(chaos).url)
    faults = {
        "out ?of ?memory": _full_memory(client),
        "MISCONF.*AOF": Disk(_server(chaos)).full(),
        "read.?only replica": _replica_of_nobody(client),
    }
    for words, fault in faults.items():
        done = chaos.created()
        # Not so many that a new job would wait for them when the fault is over.
        chaos.feed(chaos.size(40, 500))
        chaos.wait_for_created(done + 10)
        with fault:
            time.sleep(0.2)  # what Redis had begun is over
            _require_refusals(chaos, words, chaos.size(1, 25))
            if chaos.long:
                workers.append(chaos.worker(wait=False))  # one that starts meanwhile waits, too
                time.sleep(5)
            chaos.mark()
        back = require_back(chaos, time.monotonic(), BACK_SECONDS)
        chaos.drain(60)
        chaos.report.notes.append(f"{words!r}: a job ran {back:.1f} s after its end")
    for worker in workers:
        chaos.require(worker.process.poll() is None, f"{worker.name} ended")


@contextmanager
def _full_memory(client: redis.Redis) -> Iterator[None]:
    client.config_set("maxmemory", 1)
    yield
    client.config_set("maxmemory", 0)


@contextmanager
def _replica_of_nobody(client: redis.Redis) -> Iterator[None]:
    client.replicaof(HOST, free_port())
    yield
    client.replicaof("NO", "ONE")


def _require_refusals(chaos: Chaos, words: str, seconds: float) -> None:
    """For so long, enqueueing says why it cannot be, within 5 s, and leaves nothing."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        [(app_id, webhook)] = chaos.producer.new_items(1)
        began = time.monotonic()
        told = ""
        try:
            enqueue_webhook(app_id, webhook)
        except StoreUnavailable as error:
            told = str(error)
        took = time.monotonic() - began
        as_said = re.search(words, told, re.IGNORECASE)
        chaos.require(as_said, f"enqueueing said {told!r}, not {words!r}")
        chaos.require(took < 5, f"enqueueing took {took:.1f} s to be refused")
        is_there = get_store().get_many([job_id("default", app_id, webhook.id)])
        chaos.require(not is_there, f"{webhook.id} of {app_id} was refused and is there")


@scenario("Redis's address moves to its replica, connections to the old primary stay")
def redis_moved(chaos: Chaos) -> None:
    """A fail-over as managed services do it, behind one name; the old primary is a replica then."""
    chaos.unguarded()  # each would have users and certificates of its own
    old = chaos.stack.start_redis()
    new = RedisServer(chaos.stack.folder, options=("--replicaof", f"{HOST} {old.port}"))
    primary, replica = (redis.Redis.from_url(server.url) for server in (old, new))
    address = _Address(old.port)
    chaos.stack.env["REDIS_URL"] = f"redis://{HOST}:{address.port}/0"
    chaos.start_sandbox(latency=0.05)
    workers = [chaos.worker("--concurrency", "8") for _ in range(chaos.size(1, 2))]
    with chaos.feeding(chaos.size(60, 2_000), backlog=BACKLOG):
        chaos.wait_for_created(chaos.size(10, 500))
        primary.client_pause(10_000, all=False)  # no write is lost on the way
        chaos.wait_for(lambda: _is_in_step(primary), 5, "the replica is in step")
        replica.replicaof("NO", "ONE")
        address.move(new.port)
        primary.replicaof(HOST, new.port)
        primary.client_unpause()
        chaos.mark()
        back = require_back(chaos, time.monotonic(), BACK_SECONDS)
    chaos.drain(60)
    chaos.report.notes.append(f"a job ran {back:.1f} s after the move")
    # What ends from now on is told to the result backend at once; what ended meanwhile, later.
    untold = int(replica.zcard("webhooks:untold"))
    chaos.feed(20)
    chaos.drain(60)
    chaos.wait_for(lambda: replica.zcard("webhooks:untold") <= untold, 5, "results are told")
    for worker in workers:
        chaos.require(worker.process.poll() is None, f"{worker.name} ended")


class _Address(Proxy):
    """Where clients find Redis; it may lead elsewhere, for connections to come."""

    def move(self, port: int) -> None:
        """Lead to another server from now on."""
        self._target = (HOST, port)


def _is_in_step(primary: redis.Redis) -> bool:
    facts = primary.info("replication")
    return facts["slave0"]["offset"] == facts["master_repl_offset"]
