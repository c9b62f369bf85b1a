"""What is wrong is said at the start: by each process, in one message, and then it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import redis

from config.settings import get_settings
from tasks import Webhook, enqueue_webhook
from tasks.errors import StoreRefused
from tasks.store import get_store
from tests.addresses import unused_port
from tests.conftest import eventually, use_environment
from tests.integration.commands import NOWHERE, REPOSITORY, Said
from worker.__main__ import findings
from worker.servers import refuse_unfit
from worker.stack import RedisServer, Stack

ORDER = Webhook(id="orders", name="Orders", webhook_url="https://x.example/orders")

#: Each kind of process, as it is started.
PROCESSES = {
    "worker": ("celery", "-A", "worker", "worker", "--without-mingle", "-c", "2"),
    "beat": ("celery", "-A", "worker", "beat"),
    "flower": ("celery", "-A", "worker", "flower", "--address=127.0.0.1", "--port=0"),
    "check": ("worker", "check"),
    "tasks": ("tasks", "gate"),
}


def start(*command: str, env: Mapping[str, str]) -> Said:
    """Runs a process that is to end by itself."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=REPOSITORY,
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def start_all(env: Mapping[str, str], *names: str) -> dict[str, Said]:
    names = names or tuple(PROCESSES)
    with ThreadPoolExecutor(2) as threads:
        said = threads.map(lambda name: start(*PROCESSES[name], env=env), names)
        return dict(zip(names, said, strict=True))


@pytest.fixture(scope="module")
def env() -> dict[str, str]:
    with Stack() as stack:
        return {**stack.env, "REDIS_URL": NOWHERE}


def test_all_that_is_wrong_is_in_one_message_of_each_process(env: dict[str, str]) -> None:
    wrong = {
        "SENTRY_DSN": "https://hunter2@sentry.example",
        "COMETCHAT_KEY": "hunter2\u200b",
        "REDIS_URL": "redis://:p@hunter2/w@host:6379/0",
        "RESULT_TTL": "99999999999999999999",
    }
    for name, said in start_all({**env, **wrong}).items():
        shown = said.out + said.err
        assert said.code == (1 if name == "check" else 2), shown
        assert [one for one in wrong if f"{one}: " in shown] == [*wrong], name
        assert "hunter2" not in shown and "Traceback" not in shown
        assert len(shown.splitlines()) <= 5


#: A fault of ours in what Celery calls when a worker starts; it would go on without the rest.
FAULTS = {
    "the log": "import config.logging as at; name = 'configure_logging'",
    "memory": "import worker.memory as at; name = 'bound_arenas'",
    "sentry": "import worker.sentry as at; name = 'start_sentry'",
}
RUN = """
import sys
{fault}

def fails(*_, **__):
    raise RuntimeError("hunter2hunter2")

setattr(at, name, fails)
from celery.__main__ import main
sys.argv = ["celery", "-A", "worker", "worker", "--without-mingle", "-c", "2"]
main()
"""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_what_celery_calls_at_the_start_ends_it(env: dict[str, str], fault: str) -> None:
    secret = {"COMETCHAT_KEY": "hunter2hunter2", "SENTRY_DSN": "http://public@127.0.0.1:1/1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(fault=FAULTS[fault])],
        cwd=REPOSITORY,
        env={**env, **secret, "PYTHONPATH": os.fspath(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "The start failed in " in done.stderr and ": RuntimeError" in done.stderr
    assert " ready." not in done.stderr
    assert "hunter2" not in done.stderr
    if fault != "the log":
        assert '"level": "critical"' in done.stderr


# -- servers that lack what is needed ----------------------------------------------------------

CLUSTER = "Redis runs in cluster mode"
PRODUCE = """
import sys
from tasks import StoreUnavailable, Webhook, enqueue_webhook
try:
    enqueue_webhook("shop", Webhook(id="o", name="O", webhook_url="https://x.example/"))
except StoreUnavailable as error:
    sys.exit(str(error))
"""
#: Of servers that are no cluster: how to make one, and what is said of it.
LACKING = {
    "no functions": (("--rename-command", "FCALL", ""), "Redis does not have FCALL"),
    "no scripts by hash": (("--rename-command", "EVALSHA", ""), "Redis does not have EVALSHA"),
    "a command of the steps": (("--rename-command", "ZPOPMIN", ""), "Redis does not have ZPOPMIN"),
    "commands of the broker": (
        ("--rename-command", "BRPOP", "", "--rename-command", "PUBLISH", "hidden"),
        "Redis does not have BRPOP and PUBLISH",
    ),
    "no HELLO": (("--rename-command", "HELLO", ""), "Redis does not have HELLO"),
    "no Lua": (("--enable-module-command", "local"), "Redis runs no functions in Lua"),
}


@contextmanager
def server_with(*options: str) -> Iterator[str]:
    """The URL of a server with these options."""
    if "--cluster-enabled" in options:  # its usual port is another's, perhaps
        options = (*options, "--cluster-port", str(unused_port()))
    with Stack() as stack:
        server = RedisServer(stack.folder, options=options)
        try:
            yield server.url
        finally:
            server.end()


def test_a_cluster_is_told_by_each_process(env: dict[str, str]) -> None:
    with server_with("--cluster-enabled", "yes") as url:
        with redis.Redis.from_url(url, decode_responses=True) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            eventually(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        env = {**env, "REDIS_URL": url}
        produced = subprocess.run(
            [sys.executable, "-c", PRODUCE],
            cwd=REPOSITORY,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
        )
        said = start_all(env)
        with redis.Redis.from_url(url) as client:
            assert client.dbsize() == 0
    assert CLUSTER in produced.stderr and len(produced.stderr.splitlines()) == 1
    codes = {"worker": 2, "beat": 2, "flower": 2, "check": 1, "tasks": 3}
    assert {name: one.code for name, one in said.items()} == codes
    for name, one in said.items():
        assert CLUSTER in one.out + one.err, name
        assert "Traceback" not in one.err and len(one.err.splitlines()) <= 1, one.err


@pytest.mark.parametrize("setting", ["CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"])
def test_a_cluster_for_celery_alone_is_told_with_its_setting(
    redis_server: str, setting: str
) -> None:
    with server_with("--cluster-enabled", "yes") as url:
        use_environment({setting: url})
        with pytest.raises(StoreRefused, match=f"^{setting}: {CLUSTER}"):
            refuse_unfit(get_settings())
        told = {one.about: one for one in findings()}
        assert told[setting].level == "error" and CLUSTER in told[setting].words
        assert told["Redis"].level == "ok"


@pytest.mark.parametrize("kind", LACKING)
def test_a_server_that_lacks_what_is_needed_is_told_in_a_sentence(
    kind: str, redis_server: str
) -> None:
    options, words = LACKING[kind]
    with server_with(*options) as url:
        use_environment({"REDIS_URL": url})
        if kind == "no Lua":
            with redis.Redis.from_url(url) as client:
                client.execute_command("MODULE", "UNLOAD", "lua")
        else:  # a worker, beat and Flower
            with pytest.raises(StoreRefused, match=words):
                refuse_unfit(get_settings())
        with pytest.raises(StoreRefused, match=words):  # a worker
            refuse_unfit(get_settings())
            get_store().prepare()
        if kind != "commands of the broker":  # a producer, which sends hints there and no more
            with pytest.raises(StoreRefused, match=words):
                enqueue_webhook("shop", ORDER)
        assert [one for one in findings() if one.level == "error" and words in one.words]


def test_one_that_lacks_what_is_seldom_used_can_be_used(redis_server: str) -> None:
    with server_with("--rename-command", "WAITAOF", "", "--rename-command", "CONFIG", "") as url:
        use_environment({"REDIS_URL": url})
        refuse_unfit(get_settings())
        get_store().prepare()
        assert enqueue_webhook("shop", ORDER).state == "PENDING"


def test_a_user_without_the_rights_is_told_as_before_and_may_ask_for_no_commands(
    redis_server: str,
) -> None:
    """As an older file of users has them."""
    with server_with() as url, redis.Redis.from_url(url) as client:
        client.execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all", "-command")
        client.execute_command("ACL", "SETUSER", "v", "on", ">p", "~*", "&*", "+@all", "-fcall")
        use_environment({"REDIS_URL": url.replace("://", "://u:p@")})
        refuse_unfit(get_settings())
        get_store().prepare()
        use_environment({"REDIS_URL": url.replace("://", "://v:p@")})
        with pytest.raises(StoreRefused, match=r"no permissions.*'fcall'.*config/redis\.acl"):
            get_store().prepare()
        told = {one.about: one for one in findings()}
        assert told["steps"].level == "error" and "fcall" in told["steps"].words
