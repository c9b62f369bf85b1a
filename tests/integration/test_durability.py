"""What enqueueing waits for, against servers that can give it, cannot, or do not in time."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from config.settings import get_settings
from tasks import (
    DurabilityUnavailable,
    Enqueued,
    NotConfirmed,
    StoreUnavailable,
    Webhook,
    enqueue_webhook,
    enqueue_webhooks,
    get_job,
    producer,
)
from tasks.actions import cancel_job
from tasks.durability import CONFIRM_SECONDS
from tasks.record import job_id
from tasks.store import get_store
from tests.conftest import eventually, use_environment
from tests.integration.commands import ENQUEUE, ORDERS, Run, run_fixture
from worker.__main__ import findings
from worker.stack import HOST, RedisServer, Stack

ORDER = Webhook(id="orders", name="Orders", webhook_url="https://x.example/orders")
ID = job_id("default", "shop", "orders")
__all__ = ["run_fixture"]
EVERYSEC, ALWAYS = ("--appendfsync", "everysec"), ("--appendfsync", "always")
NEVER, NO_FILE = ("--appendfsync", "no"), ("--appendonly", "no")

#: The server of the tests without the command, and Debian's, which has none, where there is one.
WITHOUT_WAITAOF = [("", ("--rename-command", "WAITAOF", ""))]
if Path("/usr/bin/redis-server").exists():
    WITHOUT_WAITAOF.append(("/usr/bin/redis-server", ()))

Serve = Callable[..., RedisServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers with these options; this process is a producer of the latest primary."""
    servers = []
    with Stack() as stack:

        def start(*options: str) -> RedisServer:
            # A replica is in step at once, and not after the 5 s that others may take to come.
            at_once = "--repl-diskless-sync-delay", "0"
            server = RedisServer(stack.folder, options=(*at_once, *options))
            servers.append(server)
            if "--replicaof" not in options:
                use_environment({"REDIS_URL": server.url, "ENQUEUE_DURABILITY": ""})
            return server

        yield start
        for server in servers:
            server.kill()
    os.environ.pop("ENQUEUE_DURABILITY")
    get_settings.cache_clear()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A confirmation that does not come is given up sooner."""
    monkeypatch.setattr("tasks.durability.CONFIRM_SECONDS", 0.5)


@pytest.fixture
def patient(impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes a second, as it does with everysec, comes in time."""
    monkeypatch.setattr("tasks.durability.CONFIRM_SECONDS", CONFIRM_SECONDS)


def client_of(server: RedisServer) -> Any:
    return redis.Redis.from_url(server.url, decode_responses=True)


def replica_of(server: RedisServer, serve: Serve) -> RedisServer:
    replica = serve("--replicaof", f"{HOST} {server.port}")
    with client_of(server).client() as primary:
        eventually(lambda: primary.info("replication").get("slave0", {}).get("state") == "online")
        primary.set("first", "")
        assert primary.wait(1, 10_000) == 1  # its first answer takes a second
    return replica


def calls(server: RedisServer, command: str) -> int:
    told = client_of(server).info("commandstats").get(f"cmdstat_{command}", {})
    return int(told.get("calls", 0)) - int(told.get("rejected_calls", 0))


def many(count: int) -> list[tuple[str, Webhook]]:
    url = "https://x.example/hook"
    return [
        (f"shop-{n // 20}", Webhook(id=f"w{n % 20}", name="W", webhook_url=url))
        for n in range(count)
    ]


def refused(durability: Any) -> str:
    """The words of a refusal that leaves nothing behind."""
    with pytest.raises(DurabilityUnavailable) as error:
        enqueue_webhook("shop", ORDER, durability=durability)
    with pytest.raises(DurabilityUnavailable):
        enqueue_webhooks([("shop", ORDER)], durability=durability)
    with redis.Redis.from_url(get_settings().redis_url.get_secret_value()) as client:
        assert client.dbsize() == 0
    return str(error.value)


def unconfirmed(durability: Any) -> str:
    """The words of what is recorded and not confirmed."""
    with pytest.raises(NotConfirmed) as error:
        enqueue_webhook("shop", ORDER, durability=durability)
    assert isinstance(error.value, StoreUnavailable)
    assert error.value.job.id == ID
    assert get_job(ID).state == "PENDING"
    assert ID in str(error.value) and str(error.value).startswith("Recorded, not confirmed")
    return str(error.value)


class TestMemory:
    def test_waits_for_nothing(self, serve: Serve) -> None:
        server = serve(*NO_FILE)
        enqueue_webhook("shop", ORDER)
        enqueue_webhook("shop", ORDER, durability="memory")
        assert calls(server, "wait") == calls(server, "waitaof") == 0


class TestFsync:
    def test_is_what_a_server_does_that_always_syncs(self, serve: Serve) -> None:
        server = serve(*ALWAYS)
        job = enqueue_webhook("shop", ORDER, durability="fsync")
        assert enqueue_webhook("shop", ORDER, durability="fsync").id == job.id
        # It may be told otherwise at any time.
        client_of(server).config_set("appendfsync", "no")
        unconfirmed("fsync")

    @pytest.mark.usefixtures("patient")
    def test_with_everysec_waits_for_the_sync_or_is_refused(self, serve: Serve) -> None:
        serve(*EVERYSEC)
        try:
            enqueue_webhook("shop", ORDER, durability="fsync")
        except DurabilityUnavailable:
            # Not all servers that have WAITAOF tell the truth with it.
            assert "answers before: set appendfsync always" in refused("fsync")
            return
        began = time.monotonic()
        enqueue_webhook("shop", ORDER, durability="fsync")
        assert time.monotonic() - began > 0.5

    def test_needs_the_file(self, serve: Serve) -> None:
        serve(*NO_FILE)
        assert "set appendonly yes" in refused("fsync")

    @pytest.mark.usefixtures("patient")
    def test_is_not_believed_untested_once_the_setting_is_another(self, serve: Serve) -> None:
        server = serve(*ALWAYS)
        enqueue_webhook("shop", ORDER, durability="fsync")
        client_of(server).config_set("appendfsync", "everysec")
        unconfirmed("fsync")
        # From then on it is tested: refused, or worth its time.
        began = time.monotonic()
        try:
            enqueue_webhook("shop", ORDER, durability="fsync")
        except DurabilityUnavailable:
            return
        assert time.monotonic() - began > 0.5

    @pytest.mark.usefixtures("patient")
    def test_of_many_is_told_of_each_although_the_server_changes_meanwhile(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = client_of(serve(*ALWAYS))
        monkeypatch.setattr(producer, "CONFIRMED_TOGETHER", 2)
        enqueue_step = producer._enqueue_step

        def then_other_settings(*args: Any) -> list[Enqueued]:
            outcomes = enqueue_step(*args)
            client.config_set("appendfsync", "everysec")
            return outcomes

        monkeypatch.setattr(producer, "_enqueue_step", then_other_settings)
        items = [(f"shop-{number}", ORDER) for number in range(6)]
        outcomes = enqueue_webhooks(items, durability="fsync")
        assert [one.error for one in outcomes[:2]] == [None, None]
        # Recorded, and confirmed only by a server that tells the truth; the rest is refused then.
        assert all(one.job for one in outcomes[2:4])
        for one in outcomes[4:]:
            assert one.job or isinstance(one.error, DurabilityUnavailable)

    @pytest.mark.usefixtures("patient")
    def test_that_is_tested_first_leaves_time_to_say_that_it_is_recorded(
        self, serve: Serve
    ) -> None:
        client = client_of(serve(*NEVER))
        client.execute_command("ACL", "SETUSER", "default", "-config")  # so that it is tested
        began = time.monotonic()
        unconfirmed("fsync")
        assert time.monotonic() - began < 5

    def test_of_a_file_that_nobody_syncs_is_not_confirmed(self, serve: Serve) -> None:
        server = serve(*NEVER)
        assert "append-only file did not confirm" in unconfirmed("fsync")
        # A job that exists is confirmed by what this very connection writes.
        unconfirmed("fsync")
        client_of(server).config_set("appendfsync", "always")
        assert enqueue_webhook("shop", ORDER, durability="fsync").id == ID

    def test_is_not_confirmed_once_the_file_is_gone(self, serve: Serve) -> None:
        server = serve(*ALWAYS)
        enqueue_webhook("shop", ORDER, durability="fsync")
        client_of(server).config_set("appendonly", "no")
        unconfirmed("fsync")


class TestFsyncWithoutWaitaof:
    @pytest.fixture(params=WITHOUT_WAITAOF, ids=["renamed", "7.0"][: len(WITHOUT_WAITAOF)])
    def old(self, request: Any, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Serve:
        """Starts servers that do not have the command."""
        binary, options = request.param
        if binary:
            monkeypatch.setenv("REDIS_SERVER", binary)
        return lambda *more: serve(*more, *options)

    def test_needs_a_server_that_always_syncs(self, old: Serve) -> None:
        old(*EVERYSEC)
        assert refused("fsync").endswith("with this server set appendfsync always.")

    def test_is_what_such_a_server_does(self, old: Serve) -> None:
        server = old(*ALWAYS)
        assert enqueue_webhook("shop", ORDER, durability="fsync").id == ID
        client_of(server).config_set("appendfsync", "everysec")
        unconfirmed("fsync")

    def test_is_not_there_while_the_file_is_rewritten_without_a_sync(self, old: Serve) -> None:
        old(*ALWAYS, "--no-appendfsync-on-rewrite", "yes")
        assert "set appendfsync always" in refused("fsync")

    def test_is_refused_where_the_server_does_not_tell(self, serve: Serve) -> None:
        client = client_of(serve(*ALWAYS))
        client.execute_command("ACL", "SETUSER", "default", "-waitaof", "-config")
        assert "set appendfsync always" in refused("fsync")


class TestReplicas:
    def test_is_not_confirmed_until_there_is_one(self, serve: Serve) -> None:
        server = serve()
        assert "a replica did not confirm" in unconfirmed("replicas")
        replica = replica_of(server, serve)
        assert enqueue_webhook("shop", ORDER, durability="replicas").id == ID
        assert client_of(replica).exists(f"webhooks:job:{ID}")

    def test_a_job_that_exists_is_confirmed_anew(self, serve: Serve) -> None:
        server = serve()
        replica = replica_of(server, serve)
        enqueue_webhook("shop", ORDER, durability="replicas")
        replica.part.signal(signal.SIGSTOP)
        unconfirmed("replicas")
        replica.part.signal(signal.SIGCONT)
        assert enqueue_webhook("shop", ORDER, durability="replicas").id == ID

    def test_many_share_a_wait(self, serve: Serve) -> None:
        server = serve()
        replica_of(server, serve)
        before = calls(server, "wait")
        outcomes = enqueue_webhooks(many(4_100), durability="replicas")
        assert [one.error for one in outcomes if one.error] == []
        assert calls(server, "wait") == before + 3

    def test_many_that_are_not_confirmed_have_job_and_error(self, serve: Serve) -> None:
        serve()
        outcomes = enqueue_webhooks([*many(3), ("", ORDER)], durability="replicas")
        for outcome in outcomes[:3]:
            assert isinstance(outcome.error, NotConfirmed) and outcome.is_new
            assert outcome.job is not None and outcome.job.refresh().state == "PENDING"
        assert outcomes[3].job is None and not isinstance(outcomes[3].error, NotConfirmed)

    def test_one_that_expires_meanwhile_is_confirmed_too(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = client_of(serve())
        enqueue_webhook("shop", ORDER)
        read, expiries, confirmations = get_store().get_many, iter([ID]), iter([True, False])

        def read_late(ids: list[str]) -> Any:
            for job in expiries:
                client.delete(f"webhooks:job:{job}")
            return read(ids)

        monkeypatch.setattr(get_store(), "get_many", read_late)
        monkeypatch.setattr("tasks.redis.is_confirmed", lambda *_: next(confirmations))
        unconfirmed("replicas")


class TestCancelling:
    def test_is_as_durable_as_enqueueing(self, serve: Serve) -> None:
        replica = replica_of(serve(), serve)
        enqueue_webhook("shop", ORDER)
        use_environment({"ENQUEUE_DURABILITY": "replicas"})
        for _ in range(2):
            assert cancel_job(ID).state == "REVOKED"
        replica.part.signal(signal.SIGSTOP)
        with pytest.raises(NotConfirmed) as error:
            cancel_job(ID)
        assert error.value.job.state == "REVOKED"
        replica.part.signal(signal.SIGCONT)
        assert cancel_job(ID).state == "REVOKED"


class TestTheCommandLine:
    def test_takes_it_as_an_option_and_from_the_environment(self, serve: Serve, run: Run) -> None:
        server = serve(*ALWAYS)
        assert run(*ENQUEUE, "--durability", "fsync").code == 0
        client_of(server).config_set("appendfsync", "no")
        use_environment({"ENQUEUE_DURABILITY": "fsync"})
        assert run(*ENQUEUE).code == 3
        assert run(*ENQUEUE, "--durability", "memory").code == 0
        assert run(*ENQUEUE, "--durability", "disk").code == 2

    def test_says_what_is_not_confirmed(self, serve: Serve, run: Run) -> None:
        serve()
        said = run(*ENQUEUE, "--durability", "replicas", "--json")
        assert said.code == 3
        assert said.error.startswith(f"Recorded, not confirmed: job {ID}")
        assert get_job(ID).state == "PENDING"

    def test_says_what_cannot_be(self, serve: Serve, run: Run) -> None:
        serve(*NO_FILE)
        said = run(*ENQUEUE, "--durability", "fsync")
        assert said.code == 2 and "set appendonly yes" in said.err

    def test_counts_what_an_import_recorded(self, serve: Serve, run: Run, tmp_path: Path) -> None:
        server = serve()
        path = tmp_path / "hooks.jsonl"
        lines = ({**ORDERS, "app_id": "shop", "id": f"w{number}"} for number in range(5))
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        said = run("import", path, "--durability", "replicas", "--json")
        assert (said.code, said.json["new"]) == (3, 5)
        assert "Recorded, not confirmed" in said.error and "5 jobs are new" in said.error
        replica_of(server, serve)
        said = run("import", path, "--durability", "replicas", "--json")
        assert (said.code, said.json["existing"]) == (0, 5)


FSYNC = {"ENQUEUE_DURABILITY": "fsync", "COMETCHAT_BASE_URL": "http://127.0.0.1:1"}


class TestAtStart:
    def check(self, durability: str) -> str:
        use_environment({"ENQUEUE_DURABILITY": durability})
        [found] = [one for one in findings() if one.about == "ENQUEUE_DURABILITY"]
        return f"{found.level} {found.words}"

    def test_a_worker_refuses_what_cannot_be(self) -> None:
        with Stack(**FSYNC) as stack:
            stack.start_redis(*NO_FILE)
            worker = stack.start_worker()
            assert worker.process.wait(30) == 2
            assert "set appendonly yes" in worker.output()
            assert "Traceback" not in worker.output()

    def test_a_worker_waits_for_a_server_that_is_away(self) -> None:
        with Stack(**FSYNC) as stack:
            server = stack.start_redis()
            server.kill()
            worker = stack.start_worker()
            worker.wait_for_line("Cannot connect")
            server.start()
            worker.wait_for_line(" ready.")

    def test_the_check_says_so(self, serve: Serve) -> None:
        serve(*NO_FILE)
        assert self.check("fsync").startswith("error ENQUEUE_DURABILITY=fsync needs")
        assert self.check("replicas").startswith("error replicas: none follows")
        server = serve(*ALWAYS)
        assert self.check("fsync").startswith("ok ")
        replica_of(server, serve)
        assert self.check("replicas") == "ok replicas: 1 follow this server"
