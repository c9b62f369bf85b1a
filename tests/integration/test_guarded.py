"""The whole program with least rights and over TLS: each process as its own Redis user."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import requests

from config.celery_app import app
from tasks import Webhook, enqueue_webhook, update_webhook
from tasks.actions import cancel_job, forget_job, list_jobs, retry_job
from tasks.audited import audited
from tasks.errors import StepRefused, StoreRefused
from tasks.repair import find_problems
from tasks.resealing import Resealing
from tasks.store import get_store
from tests.conftest import FAST, environment_kept, eventually, use_environment
from tests.integration.commands import REPOSITORY
from tests.integration.test_beat import make_due
from worker.__main__ import findings
from worker.guarded import GuardedRedis
from worker.sandbox import SandboxControl
from worker.stack import GUARDED, HOST, Part, Stack, free_port

#: A signup flow, with all that its rights are for.
SIGNUP = """
import sys
from celery.result import AsyncResult
from config.celery_app import app
from config.celery_app import app
from tasks import Webhook, delete_webhook, enqueue_webhook, get_job, set_triggers, update_webhook

name, url = sys.argv[1], "https://shop.example.com/chat"
webhook = Webhook(id="orders", name="Orders", webhook_url=url, triggers=["message_sent"],
                  username="shop", password="Hunter2Hunter2")
job = enqueue_webhook(name, webhook)
assert job.wait(20).state == "SUCCESS", job.error
assert enqueue_webhook(name, webhook).id == get_job(job.id).id == job.id
assert AsyncResult(job.id, app=app).get(timeout=10)["id"] == "orders"
changed = {"name": "New", "username": "shop", "password": "Other2Other2"}
assert update_webhook(name, "orders", changed).wait(20).state == "SUCCESS"
assert set_triggers(name, "orders", ["message_sent", "user_blocked"]).wait(20).state == "SUCCESS"
assert delete_webhook(name, "orders").wait(20).effect == "deleted"
print(job.id)
"""

OPEN = {"id": "orders", "name": "Orders", "webhook_url": "https://x.example/o"}
SHOP = Webhook(**OPEN)

SECRET = Webhook(**OPEN, username="shop", password="Hunter2Hunter2")


class Guarded:
    """The parts of the program, and who looks at their Redis as its administrator."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        server = stack.start_redis()
        assert isinstance(server, GuardedRedis)
        self.server = server
        stack.start_sandbox()
        self.worker = stack.start_worker()
        self.beat = stack.celery("beat", "beat")
        self.port = free_port()
        address = f"--address={HOST}", f"--port={self.port}"
        self.flower = stack.celery("flower", "flower", *address)
        self.worker.wait_for_line(" ready.")
        self.beat.wait_for_line("Acquired lock")
        eventually(lambda: "worker@stack" in self.page("/workers"), 20)
        self.admin: Any = redis.Redis.from_url(server.url, decode_responses=True)
        self.admin.acl_log_reset()

    def python(self, *arguments: str, user: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            env={**self.stack.env, "REDIS_URL": self.server.url_for(user)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def be(self, user: str) -> None:
        """Let this process be one of the program's, as this user."""
        use_environment({**self.stack.env, "REDIS_URL": self.server.url_for(user)})

    def page(self, path: str) -> str:
        try:
            return requests.get(f"http://{HOST}:{self.port}{path}", timeout=5).text
        except requests.ConnectionError:
            return ""

    def denied(self) -> list[tuple[str, str]]:
        """Who was denied what, since all parts were there: before, they may wait for the worker to
        have loaded the scripts."""
        return [(entry["username"], entry["object"]) for entry in self.admin.acl_log()]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    with environment_kept(), Stack(**FAST, **{GUARDED: "1"}) as stack:
        yield Guarded(stack)


def count(part: Part, words: str) -> int:
    return part.output().count(words)


def test_from_signup_to_outcome(guarded: Guarded) -> None:
    job_id = guarded.python("-c", SIGNUP, "first", user="producer").strip()
    eventually(lambda: "SUCCESS" in guarded.page(f"/task/{job_id}"))
    assert "webhooks" in guarded.page("/broker")
    guarded.be("admin")
    for name in ("retry_failed", "prune"):
        make_due(name, guarded.server.url_for("admin"))
        eventually(lambda name=name: count(guarded.worker, f'"event": "{name}"'), 20)
    assert guarded.denied() == []


def test_what_a_person_does(guarded: Guarded) -> None:
    guarded.be("operator")
    assert enqueue_webhook("desk", SHOP).wait(20).state == "SUCCESS"
    with audited("rest"):
        get_store().gate.pause("default", reason="rest")
        get_store().gate.resume("default")
    assert next(get_store().audit.actions()).outcome == "done"
    job = enqueue_webhook("later", SHOP, not_before=time.time() + 3600)
    assert cancel_job(job.id).state == "REVOKED"
    assert retry_job(job.id).state in {"PENDING", "STARTED", "SUCCESS"}
    job.wait(20)
    forget_job(job.id)
    assert {one.record.app_id for one in list_jobs()} >= {"desk"}
    assert not list(find_problems(repair=True))
    assert app.control.ping(timeout=5, limit=1)  # as `celery status` does
    assert [one for one in findings() if one.level != "ok"] == []
    assert guarded.denied() == []


def test_a_person_is_told_why_a_job_with_a_password_is_not_retried(guarded: Guarded) -> None:
    guarded.be("operator")
    erased = enqueue_webhook("erased", SECRET, not_before=time.time() + 3600)
    cancel_job(erased.id)
    with pytest.raises(StepRefused, match="its password was erased"):
        retry_job(erased.id)
    SandboxControl(guarded.stack.env["COMETCHAT_BASE_URL"]).remove_apps("followed")
    followed = enqueue_webhook("followed", SECRET)
    update_webhook("followed", "orders", {"name": "New"}).wait(20)
    with pytest.raises(StepRefused, match="was accepted after it"):
        retry_job(followed.id)
    assert guarded.denied() == []


def test_passwords_are_sealed_anew_by_who_may_read_them(guarded: Guarded) -> None:
    guarded.be("producer")
    enqueue_webhook("sealed", SECRET, not_before=time.time() + 3600)
    guarded.be("operator")
    with pytest.raises(StoreRefused):
        Resealing().run(lambda _: None)
    guarded.admin.acl_log_reset()
    guarded.be("worker")
    with audited("reseal"):
        done = Resealing()
        done.run(lambda _: None)
    assert done.problem_count == 0
    assert guarded.denied() == []


@pytest.mark.parametrize("how", ["restart", "flush"])
def test_producers_need_no_right_to_load_what_the_server_lost(guarded: Guarded, how: str) -> None:
    if how == "flush":
        guarded.admin.script_flush()
    else:
        guarded.server.kill()
        guarded.admin.connection_pool.disconnect()
        guarded.server.start()
    guarded.be("producer")
    assert enqueue_webhook(how, SHOP).wait(20).state == "SUCCESS"
    eventually(lambda: "worker@stack" in guarded.page("/workers"), 20)
    assert guarded.beat.process.poll() is guarded.flower.process.poll() is None


def test_a_worker_without_its_rights_does_not_start(guarded: Guarded) -> None:
    url = guarded.server.url_for("producer")
    worker = guarded.stack.start_worker("as-producer", REDIS_URL=url)
    assert worker.process.wait(30) == 2
    assert worker.output().startswith("Redis refuses this: ")
    assert "Traceback" not in worker.output()


def test_beat_says_which_right_it_lacks(guarded: Guarded) -> None:
    beat = guarded.stack.celery("as-flower", "beat", REDIS_URL=guarded.server.url_for("flower"))
    beat.wait_for_line("Redis refuses this: ")
    assert "config/redis.acl" in beat.output() and "Traceback" not in beat.output()
    beat.kill()


def test_no_password_of_redis_is_shown(guarded: Guarded) -> None:
    """Of any user, by any part: in its output, on its command line, in Flower's pages."""
    shown = [part.output() for part in guarded.stack.parts]
    shown += [guarded.page(path) for path in ("/workers", "/broker", "/worker/worker@stack")]
    shown += [" ".join(part.process.args) for part in guarded.stack.parts]
    for user in ("producer", "worker", "beat", "flower", "operator", "admin"):
        password = guarded.server.url_for(user).partition("@")[0].rpartition(":")[2]
        assert len(password) > 40
        assert not [text for text in shown if password in text]
