"""The sandbox's control calls, its command, and its end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from worker.sandbox import RunningSandbox, running_sandbox

HEADERS = {"key": "sandbox-key", "secret": "sandbox-secret", "X-Webhook-Version": "2"}
BODY = {"id": "hook1", "name": "A webhook", "webhookURL": "https://example.com/hook"}


@pytest.fixture(scope="module")
def process() -> Iterator[RunningSandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture
def sandbox(process: RunningSandbox) -> RunningSandbox:
    process.control.reset()
    return process


def create(sandbox: RunningSandbox, **fields: Any) -> requests.Response:
    url = f"{sandbox.base_url}/apps/app1/webhooks"
    return requests.post(url, json={**BODY, **fields}, headers=HEADERS, timeout=5)


def test_the_state_and_the_log_tell_what_happened(sandbox: RunningSandbox) -> None:
    create(sandbox)
    create(sandbox)
    create(sandbox, id="a b")
    state = sandbox.control.state()
    assert state["calls"] == 3
    assert state["calls_by_operation"] == {"create": 3}
    assert state["effects"] == {"create": 1}
    assert [each["created_by_calls"] for each in state["webhooks"]] == [1]
    log = sandbox.control.calls(limit=2)
    assert [(each["webhook_id"], each["status"]) for each in log] == [("hook1", 400), ("a b", 400)]
    assert log[0]["user_agent"].startswith("python-requests/")
    assert (log[0]["app_id"], log[0]["version"], log[0]["fault"]) == ("app1", 2, None)
    assert abs(log[0]["time"] - time.time()) < 60


def test_somebody_else_makes_and_deletes_webhooks(sandbox: RunningSandbox) -> None:
    put, delete = sandbox.control.put_webhook, sandbox.control.delete_webhook
    put("app1", "hook1", name="Theirs", url="https://theirs.example/", triggers=["message_sent"])
    put("app1", "hook1", name="Old", url="https://theirs.example/", version="legacy")
    assert create(sandbox).status_code == 400
    theirs, old = sandbox.control.webhooks()
    assert (theirs["name"], theirs["triggers"], theirs["created_by_calls"]) == (
        "Theirs",
        ["message_sent"],
        0,
    )
    assert old["version"] == "legacy"
    delete("app1", "hook1")
    assert create(sandbox).status_code == 200
    with pytest.raises(ValueError, match="hook9"):
        delete("app1", "hook9", version="legacy")


def test_waiting_ends_when_the_calls_have_arrived(sandbox: RunningSandbox) -> None:
    reached: list[int] = []
    waiting = threading.Thread(
        target=lambda: reached.append(sandbox.control.wait_for_calls(2, "create", timeout=5))
    )
    waiting.start()
    create(sandbox)
    create(sandbox)
    waiting.join(5)
    assert reached == [2]


def test_waiting_ends_when_the_time_is_over(sandbox: RunningSandbox) -> None:
    create(sandbox)
    with pytest.raises(TimeoutError, match="only 1 so far"):
        sandbox.control.wait_for_calls(2, timeout=0.05)
    with pytest.raises(TimeoutError):
        sandbox.control.wait_for_calls(1, "get", timeout=0.05)
    assert sandbox.control.wait_for_calls(1) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "faults", [{"kind": "explode"}], 400),
        ("POST", "settings", {"key": "other"}, 400),
        ("POST", "webhooks", {"id": "hook1"}, 400),
        ("POST", "webhooks", {**BODY, "app_id": "app1", "webhookURL": "ftp://x"}, 400),
        ("POST", "apps", ["app1"], 400),
        ("GET", "wait?calls=1&held=1", None, 400),
        ("GET", "wait?calls=1&operation=dance", None, 400),
        ("GET", "wait?calls=many", None, 400),
        ("DELETE", "webhooks/app1", None, 400),
        ("GET", "nothing", None, 404),
    ],
)
def test_a_bad_control_call_is_told(
    sandbox: RunningSandbox, method: str, path: str, body: Any, status: int
) -> None:
    url = f"{sandbox.base_url}/_sandbox/{path}"
    answer = requests.request(method, url, json=body, timeout=5)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_options_hold_from_the_start_and_a_reset_clears_the_faults_alone() -> None:
    faults = '[{"kind": "status", "status": 503}]'
    with running_sandbox(
        "--apps", "app1,app2", "--duplicate", "409", environment={"SANDBOX_FAULTS": faults}
    ) as other:
        assert create(other).status_code == 503
        other.control.faults({"kind": "empty"}, add=True)
        assert create(other).status_code == 503
        other.control.add_apps("app3")
        other.control.settings(duplicate=422)
        other.control.reset()
        assert create(other).status_code == 200
        assert create(other).status_code == 409
        url = f"{other.base_url}/apps/app3/webhooks"
        assert requests.get(url, headers=HEADERS, timeout=5).status_code == 404


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_whatever_it_does(number: signal.Signals) -> None:
    with running_sandbox() as other:
        url = urlsplit(other.base_url)
        other.control.faults(
            {"kind": "hold", "times": 1}, {"kind": "drip"}, {"kind": "latency", "seconds": 60}
        )
        idle, *busy = (
            socket.create_connection((url.hostname, url.port), timeout=5) for _ in range(3)
        )
        for connection in busy:
            connection.sendall(b"GET /apps/app1/webhooks HTTP/1.1\r\nHost: sandbox\r\n\r\n")
        other.control.wait_for_calls(2)
        other.process.send_signal(number)
        assert other.process.wait(10) == 0  # what is held is held for a minute
        for connection in (idle, *busy):
            connection.close()


def test_a_taken_port_is_told_without_a_traceback(sandbox: RunningSandbox) -> None:
    port = str(urlsplit(sandbox.base_url).port)
    ended = subprocess.run(
        [sys.executable, "-m", "worker.sandbox", "--port", port],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert ended.returncode == 1
    assert "Cannot listen" in ended.stderr
    assert "Traceback" not in ended.stderr
