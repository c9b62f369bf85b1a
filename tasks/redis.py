"""The connection to Redis: commands and steps, run with patience and, if asked, confirmed.

Used where something is kept in Redis (`tasks/jobs.py`, `tasks/gate.py`, `tasks/audit.py`), and to
try servers out (`worker/servers.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Final

import redis
from pydantic import SecretStr
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from config.redis_tls import DEFAULT_TLS, RedisTls
from config.redis_url import read_sentinels, read_server
from config.settings import Durability
from tasks.bounded import bound, seconds_left, within
from tasks.durability import check_fsync, is_confirmed
from tasks.errors import DurabilityUnavailable, StoreRefused, StoreUnavailable
from tasks.refusals import understand
from tasks.server import RECORDS, examining
from tasks.slots import OTHERS, Slots
from tasks.steps import StepsMissing, get_steps
from tasks.together import NoAnswer, Together

#: Seconds for a connection, and for an answer.
CONNECT_SECONDS, ANSWER_SECONDS = 1.5, 3.0
#: With less time than this left, nothing is tried again after a time-out.
AGAIN_SECONDS: Final = 1.0
#: Entries that are looked at in one step of a scan, more or less.
SCAN_COUNT: Final = 250
#: The steps that a worker's attempts take: those of several threads go together.
TOGETHER: Final = frozenset({"claim", "finish", "reschedule"})
#: A worker notices within so many seconds that the server has lost the steps, and loads them.
STEPS_SECONDS: Final = 3.0


def _client(url: str, tls: RedisTls, needs: Collection[str]) -> redis.Redis:
    """A pool of connections to the server, or to whichever server is the primary just now."""
    client = bound(_unbound_client(url, tls))
    pool = client.connection_pool
    pool.connection_class = examining(pool.connection_class, needs)
    return client


def _unbound_client(url: str, tls: RedisTls) -> redis.Redis:
    options: dict[str, Any] = {
        "decode_responses": True,
        # One damaged record must not make all that are read with it unreadable.
        "encoding_errors": "surrogateescape",
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": ANSWER_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": 15,
        # What fails is tried again in one place, `run`.
        "retry": Retry(NoBackoff(), 0),
    }
    sentinels = read_sentinels(url)
    if sentinels is None:
        url = read_server(url).url()
        return redis.Redis.from_url(url, **options, **tls.options(url))
    asked: Any = Sentinel(sentinels.hosts, sentinel_kwargs=sentinels.asking())  # type: ignore[no-untyped-call]
    for sentinel in asked.sentinels:
        bound(sentinel)
    login = sentinels.login.options()
    found: redis.Redis = asked.master_for(sentinels.service, db=sentinels.db, **login, **options)
    return found


class _Grouped:
    """What steps need of a client of Redis; those of several threads go together.

    Args:
        ask: what returns the answers to several calls of functions.
        load: what loads a library.
    """

    def __init__(
        self, ask: Callable[[Sequence[tuple[Any, ...]]], list[Any]], load: Callable[..., None]
    ) -> None:
        self._together = Together(ask)
        self.function_load = load

    def fcall(self, *call: Any) -> Any:
        """The function's answer. Raises what redis-py raises."""
        try:
            return self._together.run(call)
        except NoAnswer:
            raise redis.TimeoutError("no answer in time") from None


class Connection:
    """One process's way to Redis.

    Args:
        url: where Redis is, or its sentinels (`config/redis_url.py`).
        prefix: of all keys that are named here.
        patience: seconds during which what meets no Redis, or one that refuses to write for
            now, is tried again.
        tls: whom to trust and who we are, if the URL says that there is TLS.
        appendfsync: what is known of this setting of the server, should it not tell.
        connections: how many there are at once; threads wait for them.
        needs: the commands that the server must have.

    Every method raises `StoreUnavailable` when Redis cannot be reached or refuses to write, as
    `StoreRefused` if certificates, rights or what the server lacks are why.
    """

    def __init__(
        self,
        url: SecretStr,
        *,
        prefix: str,
        patience: float,
        tls: RedisTls = DEFAULT_TLS,
        appendfsync: str | None = None,
        connections: int = OTHERS,
        needs: Collection[str] = RECORDS,
    ) -> None:
        self._slots = Slots(connections)
        self.redis = _client(url.get_secret_value(), tls, needs)
        self._prefix = prefix
        self._patience = patience
        self._appendfsync = appendfsync
        self._tested: str | None = None
        self._steps = get_steps()
        self._grouped = _Grouped(partial(self._in_slot, self._ask_all), self._load)

    def _ask_all(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        pipe: Any = self.redis.pipeline(transaction=False)
        for call in calls:
            pipe.fcall(*call)
        answers: list[Any] = pipe.execute(raise_on_error=False)
        return answers

    def _load(self, source: str, **options: Any) -> None:
        self._in_slot(self.redis.function_load, source, **options)

    def run(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """What `call` returns, tried again while there is patience.

        It takes no longer than that and the time of one answer, however slowly the bytes come.
        """
        return self._insist(partial(self._in_slot, call, *args, **options))

    def _in_slot(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        with self._slots.one():
            return call(*args, **options)

    def _insist(self, call: Callable[[], Any]) -> Any:
        with within(self._patience + ANSWER_SECONDS):
            return self._try(call)

    def _try(self, call: Callable[[], Any]) -> Any:
        began = time.monotonic()
        pause = 0.05
        while True:
            try:
                return call()
            except redis.RedisError as error:
                refusal = understand(error)
                silent = isinstance(error, redis.TimeoutError)
                patience = max(self._patience, STEPS_SECONDS * isinstance(error, StepsMissing))
            # Idle connections may have died without a sign: a new one may well work.
            again = silent and seconds_left() - pause >= AGAIN_SECONDS
            has_time = again or time.monotonic() + pause < began + patience
            if not (refusal.may_pass and has_time):
                raise (StoreRefused if refusal.is_final else StoreUnavailable)(refusal.words)
            if refusal.is_other_server or silent:
                # After a fail-over the address may belong to another server.
                self.redis.connection_pool.disconnect(inuse_connections=False)
            time.sleep(pause)
            pause = min(pause * 2, 1.0)

    def reach(self) -> None:
        """Connect, which shows whether the server can be used."""
        self.run(self.redis.ping)

    def load_steps(self) -> None:
        """Load all steps, for this process and those that may not."""
        self.run(self._steps.load, self.redis)

    def find_steps(self) -> None:
        """Make sure that the server has the steps; they are loaded if this user may."""
        self.run(self._steps.find, self.redis)

    def other_libraries(self) -> list[str]:
        """The libraries of steps of other versions that the server has, by name."""
        return self.run(self._steps.others, self.redis)  # type: ignore[no-any-return]

    def step(self, name: str, /, **arguments: Any) -> Any:
        """Run one step, which says itself what it takes: `tasks/lua/<name>.lua`."""
        if name in TOGETHER:
            return self._insist(partial(self._steps.run, self._grouped, name, arguments))
        return self.run(self._steps.run, self.redis, name, arguments)

    def steps_confirmed(
        self, name: str, calls: Sequence[Mapping[str, Any]], durability: Durability
    ) -> tuple[list[Any], bool]:
        """Run one step with each of these arguments; what each answered, and whether all
        are as durable as asked.

        Each must be harmless to repeat, and write even if it changes nothing: what is confirmed
        are the writes of this very connection.
        """
        if durability == "memory":
            return [self.step(name, **arguments) for arguments in calls], True
        tested = self.require(durability)

        def run_all(tested: str) -> tuple[list[Any], bool | None]:
            pool: Any = self.redis
            with closing(pool.client()) as one:
                answers = [self._steps.run(one, name, arguments) for arguments in calls]
                return answers, is_confirmed(one, durability, tested, self._appendfsync)

        answers, confirmed = self.run(run_all, tested)
        if confirmed is None:  # the server has other settings by now, or is another one
            try:
                if tested := self._test_again(tested):
                    _, confirmed = self.run(run_all, tested)
            except (DurabilityUnavailable, StoreUnavailable):
                pass  # it is recorded all the same
        return answers, bool(confirmed)

    def require(self, durability: Durability) -> str:
        """Find out, once, whether the server can confirm this at all; what `check_fsync` found.

        Whether there is a replica shows when one is waited for. Raises `DurabilityUnavailable`.
        """
        if durability != "fsync":
            return ""
        if self._tested is None:
            probe = self._prefix + "probe"
            self._tested = self.run(check_fsync, self.redis, probe, self._appendfsync)
        return self._tested

    def _test_again(self, tested: str) -> str:
        """Unless another thread has done so meanwhile."""
        if self._tested == tested:
            self._tested = None
        return self.require("fsync")

    def pipelined(self, command: str, keys: Sequence[str]) -> list[Any]:
        """One command for each key, in one round trip; nothing of a key of another type."""

        def read() -> Any:
            pipe: Any = self.redis.pipeline(transaction=False)
            for key in keys:
                pipe.execute_command(command, self._prefix + key)
            answers = pipe.execute(raise_on_error=False)
            for answer in answers:
                if isinstance(answer, redis.RedisError) and "WRONGTYPE" not in str(answer):
                    raise answer
            return [None if isinstance(one, redis.RedisError) else one for one in answers]

        return self.run(read)  # type: ignore[no-any-return]

    def pages(
        self, key: str, lowest: float, highest: float, *, ascending: bool
    ) -> Iterator[list[str]]:
        """The members of a sorted set in order of their scores, some hundreds at a time.

        Those that leave meanwhile make no others be left out, and none comes twice.
        """
        seen: set[str] = set()  # of those with the score that was reached
        while page := self.run(
            self.redis.zrange,
            self._prefix + key,
            *((lowest, highest) if ascending else (highest, lowest)),
            byscore=True,
            desc=not ascending,
            offset=0,
            num=SCAN_COUNT + len(seen),
            withscores=True,
        ):
            members = [member for member, _ in page if member not in seen]
            if not members:
                return
            yield members
            reached = page[-1][1]
            seen = {member for member, score in page if score == reached}
            lowest, highest = (reached, highest) if ascending else (lowest, reached)

    def scan_keys(self, start: str) -> Iterator[list[str]]:
        """What follows `start` in the keys that begin with it, in slices of some hundreds."""
        start = self._prefix + start
        for keys in self._scan("scan", match=start + "*"):
            yield [key[len(start) :] for key in keys]

    def scan(self, key: str) -> Iterator[list[str]]:
        """The members of a sorted set, in slices of some hundreds."""
        for members in self._scan("zscan", self._prefix + key):
            yield [member for member, _ in members]

    def _scan(self, command: str, *args: str, **options: str) -> Iterator[list[Any]]:
        """What is there from beginning to end comes at least once, the rest perhaps."""
        cursor, first = 0, True
        while cursor or first:
            call = getattr(self.redis, command)
            cursor, found = self.run(call, *args, cursor=cursor, count=SCAN_COUNT, **options)
            first = False
            if found:
                yield found

    def server_facts(self) -> dict[str, str]:
        """What `python -m worker check` looks at: version, maxmemory-policy, append-only file,
        its role, how many replicas and clients there are and may be and, if sentinels were asked,
        where the primary is. What the server does not tell is empty."""
        facts = self.run(self.redis.info)
        primary = getattr(self.redis.connection_pool, "master_address", None)
        return {
            "version": str(facts.get("valkey_version") or facts.get("redis_version")),
            "maxmemory_policy": str(facts.get("maxmemory_policy")),
            "appendonly": "on" if facts.get("aof_enabled") else "off",
            "replicas": str(facts.get("connected_slaves")),
            "role": str(facts.get("role", "")),
            "primary": "{}:{}".format(*primary) if primary else "",
            "clients": str(facts.get("connected_clients", "")),
            "maxclients": str(facts.get("maxclients", "")),
        }
