"""Importing and using the producer changes nothing of a process that has its own Celery app."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tests.integration.commands import REPOSITORY

DJANGO = {
    "__init__.py": "VERSION = (5, 2)",
    "conf.py": "settings = object()",
    "db.py": "transaction = None",
}


@pytest.fixture
def django(tmp_path: Path) -> dict[str, str]:
    """What Celery looks at of Django: a variable and a package."""
    package = tmp_path / "django"
    package.mkdir()
    for name, text in DJANGO.items():
        (package / name).write_text(text)
    return {"DJANGO_SETTINGS_MODULE": "shop.settings", "PYTHONPATH": str(tmp_path)}


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("framework", ["none", "Django"])
def test_a_host_notices_nothing_of_the_producer(
    redis_server: str, django: dict[str, str], order: str, framework: str
) -> None:
    own_broker = redis_server.removesuffix("/0") + "/5"
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.host", order, own_broker],
        cwd=REPOSITORY,
        env={**os.environ, "REDIS_URL": redis_server, **(django if framework == "Django" else {})},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"changed": [], "current app": "shop", "its hints": []}
    with redis.Redis.from_url(own_broker) as own, redis.Redis.from_url(redis_server) as ours:
        [message] = own.lrange("celery", 0, -1)
        assert json.loads(message)["headers"]["task"] == "shop.send_welcome"
        assert ours.keys("[^w]*") == [], "a producer is no business of Celery's"


def test_a_host_without_hiredis_enqueues(redis_server: str) -> None:
    script = "import sys; sys.modules['hiredis'] = None; from tests.integration import host"
    done = subprocess.run(
        [sys.executable, "-c", f"{script}; host.use_producer(); print(len(host.published))"],
        cwd=REPOSITORY,
        env={**os.environ, "REDIS_URL": redis_server},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr
    with redis.Redis.from_url(redis_server) as ours:
        assert ours.zcard("webhooks:waiting") == 2
