"""Whatever a record holds, it runs no code, calls no other host, and is in nobody's way."""

from __future__ import annotations

import io
import json
import random
import re
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import pytest
import redis
from rich.console import Console
from structlog.testing import capture_logs

from tasks.__main__ import main
from tasks.admission import check_record
from tasks.create_webhook import create_webhook, get_policy, refuse_if_workers_die
from tasks.display import job_page, job_table
from tasks.errors import ApiUnavailable, RecordRefused, RecordUnreadable, WorkerCrashed
from tasks.job import Job
from tasks.outcome import exception_of
from tasks.record import JobRecord
from tasks.repair import find_problems
from tasks.signals import bug_found
from tasks.store import get_store
from tasks.subject import Subject
from tasks.wire import path_of
from tests.conftest import FAST, use_environment
from tests.fuzz.harness import SEED, run, share, watched
from tests.fuzz.mutation import mutations
from tests.sealed import new_keys
from worker import celery_internals  # as in a worker: Celery's copies of tracebacks are lean
from worker.sentry import report_failed_job

celery_internals.install()

WIRE: Final = {
    "id": "orders",
    "name": "Orders",
    "webhookURL": "https://shop.example.com/hook",
    "enabled": True,
}
NEW: Final[dict[str, str]] = {
    "v": "1",
    "state": "PENDING",
    "account": "default",
    "app_id": "acme",
    "webhook": json.dumps(WIRE),
    "webhook_version": "2",
    "created_at": "1700000000.123",
    "due_at": "1700000000.123",
    "attempt": "0",
    "attempts": "0",
}
ERROR: Final = {"class": "ApiUnavailable", "code": "ERR_X", "status": 503, "message": "Away."}
ENTRY: Final = {"attempt": 1, "at": 1700000001.5, "worker": "w@h", "outcome": "lost", "ms": 12}
WHOLE: Final[dict[str, str]] = {
    **NEW,
    "v": "1",
    "state": "RETRY",
    "holds": "1",
    "unknown": "1",
    "worker": "w@h",
    "token": "t",
    "first_attempt_at": "1700000001",
    "started_at": "1700000001.5",
    "error": json.dumps(ERROR),
    "history": "\n".join([json.dumps(ENTRY)] * 3),
    "priority": "bulk",
    "group": "tenant",
    "on_existing": "update",
    "triggers": '["message_sent"]',
    "expires_at": "4000000000",
}
AUTH: Final = {"webhook": json.dumps({**WIRE, "useBasicAuth": True, "username": "chat"})}
GOOD: Final[list[dict[str, str]]] = [
    NEW,
    WHOLE,
    {**WHOLE, "state": "FAILURE", "ended_at": "1700000002", "result": json.dumps(WIRE)},
    {**NEW, "action": "update", "webhook": '{"id": "orders", "name": "New"}'},
    {**NEW, "action": "delete", "webhook": '{"id": "orders"}'},
    {**WHOLE, "action": "set_triggers", "webhook": '{"id": "orders"}'},
    {**NEW, **AUTH, "mark": "1234abcd.0123456789abcdef"},
    {**WHOLE, **AUTH, "mark": "1234abcd.0123456789abcdef", "password": "1234abcd.c2VhbGVk"},
]  # fmt: skip
PATH: Final = re.compile(
    r"/apps/[A-Za-z0-9_-]{1,100}/webhooks"
    r"(\?perPage=1000|/[A-Za-z0-9_-]{1,50}(/triggers)?)?"
)


def cases(count: int) -> Iterator[dict[str, bytes]]:
    """Records of which some fields are spoiled, left out, or another's."""
    chance = random.Random(SEED)
    names = sorted({name for fields in GOOD for name in fields})
    spoiled = {
        name: mutations([one[name].encode() for one in GOOD if name in one], SEED, count * 10)
        for name in names
    }
    for _ in range(count):
        fields = {name: text.encode() for name, text in chance.choice(GOOD).items()}
        for _ in range(chance.choice((1, 1, 2, 4))):
            name = chance.choice((*names, "webhook", "webhook", "app_id", "error", "history"))
            if chance.random() < 0.05:
                fields.pop(name, None)
            else:
                fields[name] = next(spoiled[name])
        yield fields


def text(fields: Mapping[str, bytes]) -> dict[str, str]:
    """As redis-py gives them to the program."""
    return {name: raw.decode(errors="surrogateescape") for name, raw in fields.items()}


def look(fields: Mapping[str, bytes]) -> None:
    """Read it, show it, tell of it, and see where its calls would go."""
    try:
        record = JobRecord.read("00000000-0000-0000-0000-000000000001", text(fields))
    except RecordUnreadable:
        return
    shows(record)
    exception_of(record)
    report_failed_job(record)
    failure = ApiUnavailable("Away.")
    get_policy().delay(failure, attempts=record.attempts, holds=record.holds)
    try:
        refuse_if_workers_die(record)
        check_record(record, ())
    except (RecordRefused, WorkerCrashed) as error:
        assert str(error).isprintable()
        return
    assert record.webhook_version in (2, None)
    for below in ("", "/triggers"):
        path = path_of(Subject(record.app_id, record.webhook_id, below=below))
        assert PATH.fullmatch(path), path
    assert PATH.fullmatch(path_of(Subject(record.app_id, record.webhook_id, creating=True)))


def shows(record: JobRecord) -> None:
    """Nothing of it is obeyed by a terminal."""
    job: Any = Job(record, None)  # type: ignore[arg-type]
    json.dumps(job.as_json())
    out = Console(file=io.StringIO(), width=2_000, highlight=False)
    out.print(*job_page(job, now=1700000009.0), job_table([job], width=200), sep="\n")
    shown = out.file.getvalue()  # type: ignore[attr-defined]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", shown)


def test_any_record_is_read_shown_and_kept_in_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    use_environment({})
    run("records", cases(share(0.16)), look)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("v", b"9" * 5_000),
        ("v", "²".encode()),
        ("state", "RE\u2028TRY".encode()),
        ("created_at", b"1e300"),
        ("created_at", b"-1e12"),
        ("due_at", b"9" * 400),
        ("expires_at", b"1700000000000000"),
        ("app_id", b"ac\x00me"),
        ("webhook", b'{"id":' * 3_000),
        ("webhook", b'{"id": "orders", "\\ud800": "x"}'),
        ("result", b'{"id": "orders", "changed": 7, "triggers": {"a": 1}}'),
        ("error", b'{"class": "\\ud800", "code": "\\udfff"}'),
        ("error", b'{"class": "__builtins__", "message": "x"}'),
        ("error", b'{"class": "TYPE_CHECKING", "message": "x"}'),
        ("error", b'{"class": "NotConfirmed", "message": "x"}'),
        ("history", b'{"attempt": 1}\n{"outcome": ["lost"]}\n{"outcome": null}'),
        ("history", b'{"at": 1e300, "ms": "long", "attempt": "\\u001b[2J"}'),
        ("history", b'{"at": "soon", "ms": ' + b"9" * 400 + b"}"),
        ("history", b'{"outcome": "lost"}\n' * 9_000),
        ("triggers", b"[" * 3_000),
        ("after", b"\x1b]0;title\x07"),
    ],
)
def test_what_was_found_once(name: str, value: bytes) -> None:
    for fields in GOOD:
        case = {**{key: text.encode() for key, text in fields.items()}, name: value}
        with watched("records (found)", case):
            look(case)


@pytest.fixture(name="api")
def api_fixture() -> Iterator[list[tuple[str, str]]]:
    """An API that notes the paths and hosts that it is asked for, and knows no webhook."""
    asked: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            asked.append((self.path, str(self.headers["Host"])))
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b'{"error": {"code": "ERR_WEBHOOK_NOT_FOUND", "message": "None."}}'
            self.send_response(404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    asked.append(("", f"127.0.0.1:{server.server_port}"))
    yield asked
    server.shutdown()
    server.server_close()


def test_any_record_in_redis_is_in_nobodys_way(
    redis_server: str,
    api: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    host = api.pop()[1]
    use_environment(
        {
            **FAST,
            "COMETCHAT_BASE_URL": f"http://{host}",
            **new_keys(),
            "COMETCHAT_KEY": "k",
            "COMETCHAT_SECRET": "s",
        }
    )
    monkeypatch.setattr("config.logging.configure_logging", lambda _settings: None)
    store, bugs = get_store(), []

    def note(error: BaseException, **_: Any) -> None:
        bugs.append(error)

    bug_found.connect(note, weak=False)
    client = redis.Redis.from_url(redis_server)
    numbers = iter(range(10**6))

    def meet(fields: Mapping[str, bytes]) -> None:
        job = f"00000000-0000-0000-0000-{next(numbers):012}"
        client.flushdb()
        client.hset(f"webhooks:job:{job}", mapping=dict(fields))
        if mark := fields.get("mark"):
            client.set(f"webhooks:sealed:{job}", mark)
        client.zadd("webhooks:index", {job: 1})
        client.zadd("webhooks:published", {job: store.clock() + 60})
        result = create_webhook.apply(args=(job,), task_id=job)
        if bugs:
            raise bugs.pop()
        assert result.state in {"SUCCESS", "FAILURE", "RETRY", "IGNORED"}
        store.take_due(queued=0)
        store.take_untold()
        for _ in range(2):
            list(find_problems(True))
        for command in (["status", job], ["status", job, "--json"], ["list"], ["list", "--json"]):
            with pytest.raises(SystemExit):
                main(command)
        said = capsys.readouterr()
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", said.out + said.err)
        for path, asked in api:
            assert PATH.fullmatch(path) and asked == host
        for kept in (api, logs):
            kept.clear()

    with capture_logs() as logs:
        run("records (Redis)", cases(share(0.015)), meet)
    bug_found.disconnect(note)
