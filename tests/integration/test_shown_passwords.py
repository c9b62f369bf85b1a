"""Redis's password, as the programs that connect with it show their URLs: all without it."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
import redis
from celery import Celery

from config.celery_app import configuration
from config.settings import SettingsError, load_settings
from tests.conftest import FAST, eventually
from tests.integration.commands import REPOSITORY
from tests.integration.test_flower import start_flower
from worker.stack import Part, Stack

#: With all that an URL must encode, so that encoded and other forms differ.
PASSWORD = f"{secrets.token_hex(6)}/+#%?@:{secrets.token_hex(6)}"
COOKIES = secrets.token_hex(12)
#: Parts without special characters, which are the same in each form.
HALVES = (PASSWORD[:12], PASSWORD[-12:])


def shows(text: str) -> bool:
    """Whether a text has any half of the password, or Flower's secret."""
    return any(part in text for part in (*HALVES, COOKIES))


@pytest.fixture(scope="module")
def locked() -> Iterator[tuple[Stack, Part]]:
    """A stack whose Redis has a password, all at debug level, and its worker."""
    talkative = {"LOG_LEVEL": "debug", "KOMBU_LOG_CONNECTION": "1", "KOMBU_LOG_CHANNEL": "1"}
    with Stack(**{**FAST, **talkative}, FLOWER_COOKIE_SECRET=COOKIES) as stack:
        server = stack.start_redis()
        with redis.Redis.from_url(server.url) as client:
            client.config_set("requirepass", PASSWORD)
        stack.env["REDIS_URL"] = server.url.replace("://", f"://:{quote(PASSWORD, safe='')}@")
        stack.start_sandbox()
        worker = stack.start_worker("worker", "--loglevel", "debug")
        worker.wait_for_line(" ready.")
        yield stack, worker


def output(stack: Stack, *command: str, **env: str) -> str:
    """What a command prints, to whichever stream."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=REPOSITORY,
        env={**stack.env, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
    )
    return done.stdout.decode()


def test_the_banner_the_settings_and_the_check_show_none(locked: tuple[Stack, Part]) -> None:
    stack, worker = locked
    commands = [("celery", "-A", "worker", "inspect", "conf"), ("worker", "check")]
    with ThreadPoolExecutor(2) as threads:
        conf, check = threads.map(lambda command: output(stack, *command), commands)
    banner = worker.output()
    assert re.search(r"transport: +redis://:\*\*@", banner)
    assert re.search(r"results: +redis://:\*\*@", banner)
    assert "broker_url" in conf and "redis://:********@" in conf
    assert "reachable" in check
    assert [shows(text) for text in (banner, conf, check)] == [False] * 3


def test_a_wrong_password_is_an_error_that_does_not_show_it(locked: tuple[Stack, Part]) -> None:
    stack, _ = locked
    wrong = stack.env["REDIS_URL"].replace(HALVES[0], HALVES[0][::-1] + "x")
    worker = stack.start_worker("refused", REDIS_URL=wrong)
    check = output(stack, "worker", "check", REDIS_URL=wrong)
    worker.wait_for_line("consumer: Cannot connect to redis://:**@")
    worker.stop()
    for text in (check, worker.output()):
        assert "invalid username-password pair" in text
        assert not shows(text) and HALVES[0][::-1] not in text


def test_flower_shows_none_in_its_pages_and_its_log(locked: tuple[Stack, Part]) -> None:
    stack, _ = locked
    stack.env["FLOWER_DEBUG"] = "true"
    stack.env["FLOWER_UNAUTHENTICATED_API"] = "true"
    flower = start_flower(stack)
    pages = ("/workers", "/worker/worker@stack", "/broker", "/api/workers?refresh=1")
    shown = {path: flower.page(path) for path in pages}
    worker = eventually(
        lambda: re.search("broker_url.*", flower.page("/worker/worker@stack"), re.S)
    )
    flower.part.stop()
    assert "redis://:" in worker[0] and not shows(worker[0])
    assert [path for path, text in shown.items() if shows(text) or not text] == []
    told = flower.part.output()
    assert "redis://:**@" in told and "cookie_secret" in told  # at debug level, all it was told
    assert not shows(told)


@pytest.mark.parametrize(
    "settings",
    [
        {"redis_url": "redis://user:{}@host:1/0"},
        {"redis_url": "redis+sentinel://user:{}@a:1,b:2,c:3/service/0?sentinel_password={}"},
        {
            "celery_broker_url": "redis://:{}@host:1/0",
            "celery_result_backend": "redis+sentinel://:{}@a,b/service?sentinel_password={}",
        },
        {"celery_broker_url": "redis://:{}@a:1/0;redis://:{}@b:1/0"},
    ],
)
def test_so_with_each_form_of_url(settings: dict[str, str]) -> None:
    encoded = quote(PASSWORD, safe="")
    filled = {name: url.replace("{}", encoded) for name, url in settings.items()}
    app = Celery(set_as_current=False)
    app.conf.update(configuration(load_settings(_env_file=None, **filled)))
    shown = [
        *(app.conf.humanize(censored=True), str(app.conf.table(censored=True)), app.bugreport()),
        *(repr(app.connection()), app.connection().as_uri(), app.backend.as_uri()),
    ]
    assert [text for text in shown if shows(text)] == []


@pytest.mark.parametrize("name", ["REDIS_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"])
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://host/0?password={}", "must have its password before the host"),
        ("redis://host/0?db=1&PASSWORD={}", "must have its password before the host"),
        ("redis://:a;{}@host/0", "percent-encode the password"),
    ],
)
def test_a_url_that_celery_would_show_is_refused(
    name: str, url: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, url.replace("{}", HALVES[0]))
    with pytest.raises(SettingsError, match=f"{name}: .*{words}") as caught:
        load_settings(_env_file=None)
    assert not shows(str(caught.value))
    assert os.environ[name]
