"""An API that repeats a secret in its answers: none of them gets into a result or an error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
import redis
from pydantic import SecretStr

from config.accounts import Credentials
from tasks import Job, enqueue_webhook, set_triggers, update_webhook
from tasks.answer_texts import JobTexts
from tasks.cometchat import CometChat
from tasks.errors import ApiFailure
from tasks.webhook import Webhook
from tests.integration.told import URL, fault, orders, result_of
from worker.sandbox import RunningSandbox, SandboxControl
from worker.sandbox.answers import Answer
from worker.sandbox.echo import ERROR_FIELDS, FORMS, repeating
from worker.sandbox.settings import DEFAULT_KEY, DEFAULT_SECRET
from worker.stack import SANDBOX_SECRET, Stack

PASSWORD: Final = "Hunter2Hunter2"
EMPTY: Final = Answer(200, b'{"name": ""}')
#: With all that any form escapes; an older secret of the account.
ODD: Final = "Zx9&\"<'>/+ %=:\\4711"
#: Short, of letters of which many words are.
SHORT: Final = "k7q"
TEXTS: Final = (ODD, PASSWORD, SHORT)
WEBHOOK: Final = Webhook.parse(
    {"id": "orders", "name": "Orders", "webhookURL": URL, "username": "shop", "password": PASSWORD}
)
VERSION: Final[dict[str, Any]] = {"version": 2}

Call = Callable[[CometChat, str], Any]
CALLS: Final[dict[str, Call]] = {
    "create": lambda api, app: api.create_webhook(app, WEBHOOK, **VERSION),
    "get": lambda api, app: api.get_webhook(app, "there", **VERSION),
    "list": lambda api, app: api.list_webhooks(app, **VERSION),
    "update": lambda api, app: api.update_webhook(app, "there", {"name": "New"}, **VERSION),
    "add_triggers": lambda api, app: api.add_triggers(app, "there", ["message_sent"], **VERSION),
    "list_triggers": lambda api, app: api.list_triggers(app, "there", **VERSION),
    "remove_triggers": lambda api, app: api.remove_triggers(
        app, "there", ["message_sent"], **VERSION
    ),
    "delete": lambda api, app: api.delete_webhook(app, "there", **VERSION),
}
#: Of true answers, and one that no documentation knows.
FIELDS: Final = ("name", "username", "id", "*", "message", "success", "new")


class Client:
    """A client whose account and job have three secrets."""

    def __init__(self, lent: RunningSandbox) -> None:
        lent.control.reset()
        self.sandbox = lent.control
        self.api = CometChat(
            lent.base_url,
            Credentials(SecretStr(DEFAULT_KEY), SecretStr(DEFAULT_SECRET)),
            Credentials(SecretStr(ODD), SecretStr(SHORT)),
            connect_timeout=5.0,
            read_timeout=5.0,
        ).guarded(Free(), JobTexts(frozenset({"Orders"}), lambda: SecretStr(PASSWORD)))
        self.there("echoes")

    def there(self, app: str) -> None:
        self.sandbox.put_webhook(app, "there", name="Orders", url=URL)

    def told(self, operation: str, field: str, text: str, form: str, **rule: Any) -> str:
        """All that a call comes to, its answer repeating the text."""
        app = "echoes"
        if operation == "delete":
            self.there(app)
        echo = {"kind": "echo", "operation": operation, "field": field, "text": text, "form": form}
        self.sandbox.faults({**echo, **rule})
        try:
            return json.dumps(CALLS[operation](self.api, app), ensure_ascii=False)
        except ApiFailure as failure:
            return f"{failure} {failure.code} {failure.api_message}"


class Free:
    """A guard that lets everything through."""

    def before_call(self) -> None:
        pass

    def before_bytes(self) -> None:
        pass

    def after_call(self, _: object) -> None:
        pass


@pytest.fixture(scope="module")
def client(lent_sandbox: RunningSandbox) -> Iterator[Client]:
    client = Client(lent_sandbox)
    yield client
    client.api.close()


def seen_in(told: str, text: str, form: Any) -> bool:
    """Whether the text is there as it was repeated, or as it is."""
    answer = repeating(EMPTY, "name", text, form)
    written = json.loads(answer.body)["name"].strip('"=')
    return any(one.casefold() in told.casefold() for one in (written, text, json.dumps(text)[1:-1]))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("operation", CALLS)
def test_no_field_of_a_true_answer_tells_a_secret(
    client: Client, operation: str, form: str
) -> None:
    for number, field in enumerate(FIELDS):
        text = TEXTS[number % len(TEXTS)]
        told = client.told(operation, field, text, form)
        assert not seen_in(told, text, form), (field, text, told)


@pytest.mark.parametrize("form", FORMS)
def test_no_field_of_an_error_tells_a_secret(client: Client, form: str) -> None:
    for field in sorted(ERROR_FIELDS):
        for text in TEXTS:
            told = client.told("get", field, text, form, status=400)
            assert not seen_in(told, text, form), (field, text, told)


def test_a_number_that_is_a_secret_is_left_out(client: Client) -> None:
    number = SecretStr("1684141151")
    api = client.api.guarded(Free(), JobTexts(password=lambda: number))
    client.there("numbers")
    client.sandbox.faults({"kind": "echo", "field": "createdAt", "text": "1684141151"})
    assert "createdAt" not in api.get_webhook("numbers", "there", **VERSION)


def test_a_letter_is_taken_out_where_it_is_the_whole_text_alone(client: Client) -> None:
    client.there("letters")
    client.sandbox.faults({"kind": "echo", "field": "username", "text": "p"})
    api = client.api.guarded(Free(), JobTexts(password=lambda: SecretStr("p")))
    found = api.get_webhook("letters", "there", **VERSION)
    assert (found["webhookURL"], found["username"]) == (URL, "[redacted]")


def test_what_the_job_has_openly_is_no_secret(client: Client) -> None:
    """A password that is also a word of the webhook's name, or of a trigger's."""
    client.sandbox.put_webhook("openly", "there", name="My orders", url=URL)
    client.sandbox.faults()
    texts = JobTexts(frozenset({"there", "My orders ", URL}), lambda: SecretStr("orders"))
    found = client.api.guarded(Free(), texts).get_webhook("openly", "there", **VERSION)
    assert (found["name"], found["webhookURL"]) == ("My orders", URL)
    texts = JobTexts(password=lambda: SecretStr("message"))
    api = client.api.guarded(Free(), texts)
    api.add_triggers("openly", "there", ["message_sent"], **VERSION)
    assert api.list_triggers("openly", "there", **VERSION) == ["message_sent"]


def stored(stack: Stack, job: Job) -> bytes:
    """Record and result, as they are in Redis."""
    with redis.Redis.from_url(stack.env["REDIS_URL"]) as server:
        record = server.hgetall(f"webhooks:job:{job.id}")
        assert record
        result = server.get(f"celery-task-meta-{job.id}") or b""
        return b" ".join((*record, *record.values(), result))  # type: ignore[union-attr, misc]


@pytest.mark.parametrize("field", ["username", "name", "webhookURL"])
@pytest.mark.parametrize("said", [PASSWORD, SANDBOX_SECRET], ids=["password", "secret"])
class TestAWorker:
    def test_stores_nothing_of_it_as_created(
        self, sandbox: SandboxControl, stack: Stack, app_id: str, field: str, said: str
    ) -> None:
        sandbox.faults(fault(app_id, "echo", field=field, text=said))
        self.is_stored_nowhere(stack, app_id, said)

    def test_stores_nothing_of_it_as_existed(
        self, sandbox: SandboxControl, stack: Stack, app_id: str, field: str, said: str
    ) -> None:
        sandbox.faults(
            fault(app_id, "cut", when="after", times=1),
            {"app_id": app_id, "operation": "get", "kind": "echo", "field": field, "text": said},
        )
        self.is_stored_nowhere(stack, app_id, said)

    def is_stored_nowhere(self, stack: Stack, app_id: str, said: str) -> None:
        job = enqueue_webhook(app_id, orders(username="shop", password=PASSWORD)).wait(20)
        assert job.state in {"SUCCESS", "FAILURE"}
        assert said.encode() not in stored(stack, job)
        assert said not in repr((job.result, job.error, job.history, result_of(job).result))


def test_changes_store_nothing_of_it_either(
    sandbox: SandboxControl, stack: Stack, app_id: str
) -> None:
    sandbox.put_webhook(app_id, "orders", name="Orders", url=URL)
    echo = {"app_id": app_id, "kind": "echo", "text": SANDBOX_SECRET}
    sandbox.faults(
        *({**echo, "operation": one, "field": "username"} for one in ("get", "update")),
        {**echo, "operation": "list_triggers", "field": "id"},
    )
    jobs = [update_webhook(app_id, "orders", {"enabled": False})]
    jobs += [set_triggers(app_id, "orders", ["message_sent"])]
    for job in jobs:
        job.wait(20)
        assert SANDBOX_SECRET.encode() not in stored(stack, job)
