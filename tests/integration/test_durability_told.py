"""What enqueueing waits for: a replica; and how commands, workers and cancelling tell of it."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tasks import (
    NotConfirmed,
    enqueue_webhook,
    enqueue_webhooks,
    get_job,
)
from tasks.actions import cancel_job
from tasks.store import get_store
from tests.conftest import use_environment
from tests.integration.commands import ENQUEUE, ORDERS, Run, run_fixture
from tests.integration.durable import (
    ALWAYS,
    ID,
    NO_FILE,
    ORDER,
    Serve,
    calls,
    client_of,
    impatient_fixture,
    many,
    patient_fixture,
    replica_of,
    serve_fixture,
    unconfirmed,
)
from worker.__main__ import findings
from worker.stack import Stack

serve, impatient, patient = serve_fixture, impatient_fixture, patient_fixture
run = run_fixture


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
