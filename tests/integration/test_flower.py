"""What operators see in Flower, and what strangers don't."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple, NoReturn

import flower.urls
import pytest
import requests
from flower.options import default_options
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import ErrorHandler, RequestHandler

from config.celery_app import app
from tasks import Webhook, enqueue_webhook
from tests.conftest import eventually
from worker.flower import HEADERS, INLINE_SCRIPTS, GuardedFlower, OpenToStrangers, guard
from worker.sandbox import SandboxControl
from worker.stack import HOST, Part, Stack, free_port

URL = "https://shop.example.com/hook"
LOGIN = ("alice", "correct horse battery")
#: What Flower shows to whoever asks: whether it runs, and files that it came with.
OPEN = {"/healthcheck", "/static/js/flower.js"}


class Running(NamedTuple):
    """A Flower with a login."""

    part: Part
    url: str

    def page(self, path: str) -> str:
        try:
            return requests.get(self.url + path, auth=LOGIN, timeout=5).text
        except requests.ConnectionError:
            return ""


def start_flower(stack: Stack, **env: str) -> Running:
    port = free_port()
    login = {"FLOWER_BASIC_AUTH": ":".join(LOGIN), **env}
    part = stack.celery("flower", "flower", f"--address={HOST}", f"--port={port}", **login)
    running = Running(part, f"http://{HOST}:{port}")
    eventually(lambda: "worker@stack" in running.page("/workers"), 20)
    return running


@pytest.fixture(scope="module")
def running(stack: Stack) -> Iterator[Running]:
    flower = start_flower(stack)
    yield flower
    flower.part.stop()


def orders(number: int = 0) -> Webhook:
    return Webhook(id=f"orders-{number}", name="Orders", webhook_url=URL)


def paths(method: str) -> list[str]:
    """The paths of all routes that know the method, with something in their gaps."""
    found = []
    for route in flower.urls.handlers:
        pattern, handler = (
            (route[0], route[1])
            if isinstance(route, tuple)
            else (route.regex.pattern.rstrip("$"), route.handler_class)
        )
        own = getattr(handler, method) is not getattr(RequestHandler, method)
        if own and pattern != ".*" and not pattern.startswith(("/log", "/static")):
            found.append(re.sub(r"\(.*\)", "worker@stack", pattern))
    return found


def test_it_shows_workers_and_each_job(
    running: Running, sandbox: SandboxControl, app_id: str
) -> None:
    sandbox.put_webhook(app_id, "orders-1", name="Other", url=URL)
    sandbox.faults(
        {"app_id": app_id, "webhook_id": "orders-2", "kind": "status", "status": 401},
        {"app_id": app_id, "webhook_id": "orders-3", "kind": "status", "status": 503, "times": 2},
    )
    jobs = {number: enqueue_webhook(app_id, orders(number)) for number in (0, 1, 3)}

    def shown(number: int) -> str:
        text = running.page(f"/task/{jobs[number].id}")
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))

    eventually(lambda: "Status SUCCESS" in shown(0))
    eventually(lambda: "Status FAILURE" in shown(1))
    assert "has a webhook" in shown(1) and "with another name" in shown(1)
    eventually(lambda: "Status SUCCESS" in shown(3))
    assert "Retries 2" in shown(3)
    jobs[2] = enqueue_webhook(app_id, orders(2))  # last, as the whole account waits after it
    eventually(lambda: "Status RETRY" in shown(2))


def test_who_does_not_log_in_sees_that_it_runs_and_no_more(running: Running) -> None:
    pages = [*paths("get"), *OPEN]
    assert len(pages) > 15 and "/metrics" in pages
    # "=" is empty, which is the login that Flower takes an empty FLOWER_BASIC_AUTH for.
    for authorization in ("", "Basic =", "Basic YWxpY2U6", "Bearer x"):
        headers = {"Authorization": authorization} if authorization else {}
        seen = {
            path
            for path in pages
            if requests.get(running.url + path, headers=headers, timeout=5).status_code != 401
        }
        assert seen == OPEN
    assert "flower_" in running.page("/metrics")


def test_it_is_for_looking_only(running: Running, sandbox: SandboxControl, app_id: str) -> None:
    sandbox.faults({"kind": "status", "status": 401, "app_id": app_id})
    job = enqueue_webhook(app_id, orders())
    eventually(lambda: job.refresh().state == "RETRY")
    switches = [path for path in paths("post") if path != "/tasks/datatable"]
    assert len(switches) == 14
    for path in (*switches, f"/api/task/revoke/{job.id}", f"/api/task/abort/{job.id}"):
        answer = requests.post(
            running.url + path, auth=LOGIN, timeout=5, data={"queue": "x", "n": "1"}
        )
        assert (path, answer.status_code) == (path, 403)
        assert "Read only" in answer.text
        assert requests.post(running.url + path, timeout=5).status_code == 401
    assert job.refresh().state == "RETRY"
    assert "task-revoke" not in running.page(f"/task/{job.id}")


def test_each_answer_says_what_a_browser_may_do_with_it(running: Running) -> None:
    for path in ("/workers", "/worker/worker@stack", "/tasks", "/broker", "/nowhere", *OPEN):
        answer = requests.get(running.url + path, auth=LOGIN, timeout=5)
        assert HEADERS.items() <= answer.headers.items()
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Server" not in answer.headers
        for script in re.findall(
            rb"<script(?![^>]* src=)[^>]*>(.*?)</script>", answer.content, re.S
        ):
            assert script in INLINE_SCRIPTS
    assert requests.get(running.url + "/workers", timeout=5).headers["X-Frame-Options"] == "DENY"
    assert b"autorefresh" in requests.get(running.url + "/workers", auth=LOGIN, timeout=5).content


# -- where it does not start --------------------------------------------------------------------


@pytest.mark.parametrize("login", [{}, {"FLOWER_BASIC_AUTH": ""}], ids=["none", "empty"])
def test_the_documented_command_needs_a_login(stack: Stack, login: dict[str, str]) -> None:
    part = stack.celery("open-flower", "flower", f"--port={free_port()}", **login)
    assert part.process.wait(30) == 2
    shown = part.output()
    assert "on all addresses without a login" in shown
    assert "FLOWER_BASIC_AUTH=" in shown and "FLOWER_OAUTH2_KEY" in shown
    assert "Traceback" not in shown


def asked(host: str) -> HTTPServerRequest:
    line = RequestStartLine("GET", "/workers", "HTTP/1.1")
    return HTTPServerRequest(start_line=line, headers=HTTPHeaders({"Host": host}))


def of_flower(**changes: Any) -> SimpleNamespace:
    return SimpleNamespace(**{**default_options.as_dict(), "basic_auth": [], **changes})


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_login_and_no_other_name_leads_there(address: str) -> None:
    ours = GuardedFlower(options=of_flower(address=address), capp=app)
    for host, refused in (
        (f"{address}:5555" if ":" not in address else f"[{address}]:5555", False),
        ("localhost:8080", False),
        ("rebound.example:5555", True),
        ("192.168.1.4:5555", True),
    ):
        assert (ours.find_handler(asked(host)).handler_class is ErrorHandler) == refused


STRANGE: list[tuple[dict[str, Any], str]] = [
    ({"address": ""}, "all addresses without a login"),
    ({"address": "0.0.0.0"}, "0.0.0.0 without a login"),
    ({"address": "::"}, ":: without a login"),
    ({"address": "10.0.0.4"}, "without a login"),
    ({"address": "localhost.example"}, "without a login"),
    ({"address": HOST, "unix_socket": "/tmp/flower"}, "/tmp/flower without a login"),
    ({"basic_auth": ["", ""]}, "without a login"),
    ({"basic_auth": ["alice"]}, "must be user:password"),
    ({"basic_auth": [":correct horse battery"]}, "must be user:password"),
    ({"basic_auth": ["alice:short"]}, "at least 12 characters"),
    ({"basic_auth": ["alice:correct horse battery", "bob:short"]}, "at least 12 characters"),
    ({"basic_auth": ["alice:correct hörse battery"]}, "in ASCII"),
    ({"auth": "a@example.com"}, "FLOWER_AUTH_PROVIDER"),
    ({"auth_provider": "flower.views.auth.GithubLoginHandler"}, "without a login"),
]


@pytest.mark.parametrize(("options", "words"), STRANGE, ids=map(str, range(len(STRANGE))))
def test_what_would_be_open_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OpenToStrangers, match=words) as refused:
        GuardedFlower(options=of_flower(**options), capp=app)
    assert "horse" not in str(refused.value) and "short" not in str(refused.value)


def test_an_api_without_a_login_is_refused_on_loopback_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWER_UNAUTHENTICATED_API", "true")
    with pytest.raises(OpenToStrangers, match="every page in a browser"):
        GuardedFlower(options=of_flower(address=HOST), capp=app)
    GuardedFlower(options=of_flower(address=HOST, basic_auth=[":".join(LOGIN)]), capp=app)


@pytest.mark.parametrize(
    "options",
    [
        {"basic_auth": [":".join(LOGIN)]},
        {"auth": "a@example.com", "auth_provider": "flower.views.auth.GithubLoginHandler"},
    ],
)
def test_with_a_login_it_listens_anywhere(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Flower prints its settings at its debug level.
    monkeypatch.setitem(flower.urls.settings, "cookie_secret", "drawn at random")
    ours = GuardedFlower(options=of_flower(**options), capp=app, **flower.urls.settings)
    assert ours.find_handler(asked("flower.example.com")).handler_class is not ErrorHandler
    assert ours.settings["cookie_secret"] == "drawn at random"
    assert "drawn at random" not in str(flower.urls.settings)


@pytest.mark.parametrize("name", ["--basic_auth", "--basic-auth", "-oauth2_secret"])
def test_a_secret_on_the_command_line_is_refused(name: str) -> None:
    def refuse(error: Exception) -> NoReturn:
        raise error

    with pytest.raises(OpenToStrangers, match="list of processes") as refused:
        guard(["celery", "-A", "worker", "flower", f"{name}=alice:Hunter2"], refuse)
    assert "FLOWER_" in str(refused.value) and "Hunter2" not in str(refused.value)
