"""Each kind of fault as a client meets it on the wire, before and after the effect."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from worker.sandbox import RunningSandbox, mixed_faults, running_sandbox

HEADERS = {"key": "sandbox-key", "secret": "sandbox-secret", "X-Webhook-Version": "2"}
BODY = {"id": "hook1", "name": "A webhook", "webhookURL": "https://example.com/hook"}


@pytest.fixture(scope="module")
def process() -> Iterator[RunningSandbox]:
    with running_sandbox("--seed", "1") as running:
        yield running


@pytest.fixture
def sandbox(process: RunningSandbox) -> RunningSandbox:
    process.control.reset()
    return process


def create(sandbox: RunningSandbox, webhook_id: str = "hook1", **options: Any) -> requests.Response:
    return requests.post(
        f"{sandbox.base_url}/apps/app1/webhooks",
        json={**BODY, "id": webhook_id},
        headers=HEADERS,
        allow_redirects=False,
        **{"timeout": 5, **options},
    )


def connect(sandbox: RunningSandbox) -> socket.socket:
    """Send a create over a bare connection and return that."""
    url = urlsplit(sandbox.base_url)
    body = json.dumps(BODY)
    headers = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    connection = socket.create_connection((url.hostname, url.port), timeout=5)
    connection.sendall(
        f"POST /apps/app1/webhooks HTTP/1.1\r\nHost: sandbox\r\n{headers}"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    return connection


def received(connection: socket.socket) -> bytes:
    """Return all that comes until the other side closes."""
    parts = []
    while part := connection.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def created(sandbox: RunningSandbox) -> int:
    return len(sandbox.control.webhooks())


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("rule", "status"),
    [
        ({"kind": "status", "status": 503, "code": "ERR_MISSION_FAILED"}, 503),
        ({"kind": "garbage"}, 200),
        ({"kind": "html", "status": 502}, 502),
        ({"kind": "empty"}, 200),
        ({"kind": "redirect", "location": "https://elsewhere.example/"}, 302),
        ({"kind": "rate_limit", "seconds": 2}, 429),
        ({"kind": "echo"}, 401),
    ],
)
def test_an_answer_is_forged(
    sandbox: RunningSandbox, rule: dict[str, Any], status: int, when: str
) -> None:
    sandbox.control.faults({**rule, "when": when, "times": 1})
    assert create(sandbox).status_code == status
    assert created(sandbox) == (1 if when == "after" else 0)
    (label,) = sandbox.control.state()["faults_served"]
    assert label.startswith(rule["kind"])
    (entry,) = sandbox.control.calls()
    assert (entry["status"], entry["fault"]) == (status, label)
    assert create(sandbox).status_code == (400 if when == "after" else 200)


def test_a_status_may_have_any_body_and_headers(sandbox: RunningSandbox) -> None:
    headers = {"content-type": "text/plain", "X-Other": "1"}
    sandbox.control.faults({"kind": "status", "status": 418, "body": "tea", "headers": headers})
    answer = create(sandbox)
    assert (answer.status_code, answer.text) == (418, "tea")
    assert (answer.headers["Content-Type"], answer.headers["X-Other"]) == ("text/plain", "1")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_cut_resets_the_connection(sandbox: RunningSandbox, when: str) -> None:
    sandbox.control.faults({"kind": "cut", "when": when, "times": 1})
    with connect(sandbox) as connection, pytest.raises(ConnectionResetError):
        received(connection)
    assert created(sandbox) == (1 if when == "after" else 0)
    (entry,) = sandbox.control.calls()
    assert (entry["status"], entry["fault"]) == (None, f"cut:{when}")


def test_a_cut_may_be_an_orderly_close(sandbox: RunningSandbox) -> None:
    sandbox.control.faults({"kind": "cut", "reset": False})
    with connect(sandbox) as connection:
        assert received(connection) == b""


def test_a_truncated_answer_ends_early(sandbox: RunningSandbox) -> None:
    sandbox.control.faults({"kind": "truncated", "when": "after"})
    with connect(sandbox) as connection:
        head, body = received(connection).split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert 0 < len(body) < length
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        create(sandbox)


@pytest.mark.parametrize("kind", ["drip", "drip_headers"])
def test_a_dripped_answer_comes_byte_by_byte(sandbox: RunningSandbox, kind: str) -> None:
    sandbox.control.faults(
        {"kind": kind, "when": "after", "seconds_per_byte": 0.0005, "app_id": "app1"}
    )
    with connect(sandbox) as connection:
        first = connection.recv(1000)
        assert first.startswith(b"HTTP/1.1 200 OK\r\n") if kind == "drip" else len(first) < 50
        answer = first + received(connection)
    assert json.loads(answer.split(b"\r\n\r\n")[1])["data"]["id"] == "hook1"


@pytest.mark.parametrize("kind", ["drip", "drip_headers", "hold", "latency", "huge"])
def test_a_client_may_vanish(sandbox: RunningSandbox, kind: str) -> None:
    rule = {"kind": kind, "seconds_per_byte": 0.01, "seconds": 0.1, "bytes": 50_000_000}
    sandbox.control.faults({**rule, "when": "after", "times": 1})
    with connect(sandbox):
        sandbox.control.wait_for_effects(1)
    assert create(sandbox, "hook2").status_code == 200


def test_a_request_may_break_off(sandbox: RunningSandbox) -> None:
    url = urlsplit(sandbox.base_url)
    with socket.create_connection((url.hostname, url.port), timeout=5) as connection:
        head = b"POST /apps/app1/webhooks HTTP/1.1\r\nHost: sandbox\r\nContent-Length: 99\r\n\r\n"
        connection.sendall(head + b"{")
    assert create(sandbox).status_code == 200
    assert sandbox.control.state()["calls"] == 1


def test_a_huge_answer_has_no_length(sandbox: RunningSandbox) -> None:
    sandbox.control.faults({"kind": "huge", "bytes": 200_000})
    answer = create(sandbox)
    assert len(answer.content) == 200_000
    assert "Content-Length" not in answer.headers


def test_latency_delays_the_true_answer(sandbox: RunningSandbox) -> None:
    sandbox.control.faults({"kind": "latency", "seconds": 0.2, "operation": "create"})
    started = time.monotonic()
    assert create(sandbox).json()["data"]["id"] == "hook1"
    assert time.monotonic() - started >= 0.2


def test_all_calls_can_be_slow(sandbox: RunningSandbox) -> None:
    sandbox.control.settings(latency=0.2)
    with pytest.raises(requests.ReadTimeout):
        create(sandbox, timeout=0.05)
    sandbox.control.wait_for_effects(1, "create")


def test_a_call_under_way_has_no_effect_past_a_reset(sandbox: RunningSandbox) -> None:
    sandbox.control.faults({"kind": "latency", "seconds": 0.1})
    with connect(sandbox) as connection:
        sandbox.control.wait_for_calls(1)
        sandbox.control.reset()
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 OK")
    assert created(sandbox) == 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_held_call_waits_for_its_release(sandbox: RunningSandbox, when: str) -> None:
    sandbox.control.faults({"kind": "hold", "when": when, "times": 1})
    with connect(sandbox) as connection:
        sandbox.control.wait_for_held()
        assert created(sandbox) == (1 if when == "after" else 0)
        (held,) = sandbox.control.held()
        assert (held["operation"], held["app_id"], held["webhook_id"], held["when"]) == (
            "create",
            "app1",
            "hook1",
            when,
        )
        assert sandbox.control.release() == 1
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 OK")
    assert created(sandbox) == 1
    assert sandbox.control.held() == []


def test_a_held_call_goes_on_although_its_client_is_gone(sandbox: RunningSandbox) -> None:
    sandbox.control.faults({"kind": "hold", "times": 1})
    with connect(sandbox):
        sandbox.control.wait_for_held()
    assert created(sandbox) == 0
    sandbox.control.release()
    sandbox.control.wait_for_effects(1, "create")


def test_a_hold_ends_by_itself_and_a_reset_drops_it(sandbox: RunningSandbox) -> None:
    sandbox.control.faults({"kind": "hold", "seconds": 0.05})
    assert create(sandbox).status_code == 200
    sandbox.control.faults({"kind": "hold"})
    with connect(sandbox) as connection:
        sandbox.control.wait_for_held()
        sandbox.control.reset()
        with pytest.raises(ConnectionResetError):
            received(connection)
    assert created(sandbox) == 0


def test_one_call_can_have_another_shape(sandbox: RunningSandbox) -> None:
    sandbox.control.faults({"kind": "shape", "shape": "list", "times": 1})
    assert isinstance(create(sandbox).json(), list)
    assert isinstance(create(sandbox, "hook2").json(), dict)


def test_the_mixed_faults_leave_the_truth_in_the_state(sandbox: RunningSandbox) -> None:
    sandbox.control.faults(*mixed_faults(0.5))
    succeeded = 0
    for number in range(60):
        try:
            answer = requests.post(
                f"{sandbox.base_url}/apps/app{number}/webhooks",
                json=BODY,
                headers=HEADERS,
                timeout=5,
            )
            succeeded += answer.json()["data"]["id"] == "hook1"
        except (requests.RequestException, KeyError):
            continue
    state = sandbox.control.state()
    assert state["calls"] == 60
    assert len(state["webhooks"]) == state["effects"]["create"] >= succeeded > 0
    assert 15 <= sum(state["faults_served"].values()) <= 45
