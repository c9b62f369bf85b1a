"""The client of CometChat's Management API: a method per endpoint, an exception per outcome.

Facts and names are those of CometChat's documentation, "Management APIs", webhooks. A call is made
once: when to repeat it is for others to decide, by the class of what was raised.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NotRequired, Protocol, TypedDict, TypeVar, Unpack

from pydantic import SecretStr

from config.accounts import Credentials
from config.secrets import Secret, fits_a_header
from tasks import answers
from tasks.answer_texts import JobTexts, without_secrets
from tasks.answers import WebhookFound
from tasks.credentials import Pairs
from tasks.error_codes import refuses_credentials
from tasks.errors import AccountRejected, ApiFailure, ApiUnavailable, InvalidInput
from tasks.no_answer import NoAnswer
from tasks.subject import Subject, sentence
from tasks.transport import Transport
from tasks.webhook import Webhook
from tasks.wire import HEADERS, json_of, path_of

Read = TypeVar("Read")


class Options(TypedDict):
    """What every method takes besides.

    `version` is the X-Webhook-Version of the webhooks meant: 2, or None for legacy ones (then the
    header is left out; CometChat, create webhook). `deadline_seconds` bounds the whole call, if
    below the sum of the two timeouts.
    """

    version: int | None
    deadline_seconds: NotRequired[float | None]


class Guard(Protocol):
    """Who is asked before each call and told of each answer's headers."""

    def before_call(self) -> float | None:
        """Wait until the call may be made, or raise what is to come through.

        Returns the seconds that the call may take, None if the timeouts alone bound it.
        """

    def before_bytes(self) -> None:
        """Runs right before the first byte of a call that changes something, or raises likewise."""

    def after_call(self, headers: Mapping[str, str]) -> None:
        """Note what an answer announced."""


class CometChat:
    """One account's access to the Management API, for many threads at once.

    Every method takes `Options` by name, and raises `ApiFailure` in the class that says what
    happened, or InvalidInput for an id that cannot be in a path. Errors hold neither the
    credentials nor a webhook's password.

    Args:
        base_url: such as https://apimgmt.cometchat.io.
        credentials: pairs for the headers `key` (from CometChat's sales) and `secret`, the newer
            first. Another one is tried where one is refused, which is then left alone for a while.
        connect_timeout: seconds for connecting, TLS included.
        read_timeout: seconds in which an answer must go on. A whole call, from connecting to the
            last byte, takes no longer than both together.
        pool_size: connections that are kept open; as many as there are threads.
        max_answer_bytes: the largest answer that is read.

    Raises:
        InvalidInput: key or secret cannot be sent in a header.
    """

    def __init__(
        self,
        base_url: str,
        *credentials: Credentials,
        connect_timeout: float,
        read_timeout: float,
        pool_size: int = 64,
        max_answer_bytes: int = 1024 * 1024,
    ) -> None:
        for pair in credentials:
            for name, value in (("key", pair.key), ("secret", pair.secret)):
                if not fits_a_header(value):
                    problem = "must be printable ASCII without spaces around it"
                    raise InvalidInput(f"The API's {name} {problem}", {name: problem})
        self._pairs = Pairs(credentials)
        self._guard: Guard | None = None
        self._job = JobTexts()
        self._transport = Transport(
            base_url,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            pool_size=pool_size,
            max_answer_bytes=max_answer_bytes,
        )

    def guarded(self, guard: Guard, job: JobTexts | None = None) -> CometChat:
        """The same client, the same connections; each call passes this guard, for this job."""
        client = copy.copy(self)
        client._guard, client._job = guard, job or JobTexts()
        return client

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._transport.close()

    def create_webhook(
        self, app_id: str, webhook: Webhook, **options: Unpack[Options]
    ) -> WebhookFound:
        """Create a webhook; not idempotent.

        What comes back has its id, but the name and the URL that the API shows.

        Raises:
            ApiUnavailable: also if the answer is about another id.
        """
        return self._call(
            "POST",
            Subject(app_id, webhook.id, creating=True),
            _this(webhook.id),
            {**webhook.wire(), "password": webhook.password},
            **options,
        )

    def list_webhooks(self, app_id: str, **options: Unpack[Options]) -> list[WebhookFound]:
        """All webhooks of an app."""
        return self._call("GET", Subject(app_id), answers.webhooks_in, **options)

    def get_webhook(self, app_id: str, webhook_id: str, **options: Unpack[Options]) -> WebhookFound:
        """One webhook; raises WebhookNotFound if the app has none with this id."""
        return self._call("GET", Subject(app_id, webhook_id), _this(webhook_id), **options)

    def update_webhook(
        self, app_id: str, webhook_id: str, changes: Mapping[str, Any], **options: Unpack[Options]
    ) -> WebhookFound:
        """Change a webhook's fields.

        `changes` are wire names and values, with the password best as a SecretStr. An `id`, which
        cannot be changed, and None are left out.
        """
        fields = {name: value for name, value in changes.items() if name != "id"}
        if isinstance(fields.get("password"), str):
            fields["password"] = Secret(fields["password"])
        subject = Subject(app_id, webhook_id)
        return self._call("PUT", subject, _this(webhook_id), fields, **options)

    def delete_webhook(self, app_id: str, webhook_id: str, **options: Unpack[Options]) -> None:
        """Delete a webhook; raises WebhookNotFound if the app has none with this id."""
        self._call("DELETE", Subject(app_id, webhook_id), _done, **options)

    def add_triggers(
        self, app_id: str, webhook_id: str, trigger_ids: Iterable[str], **options: Unpack[Options]
    ) -> dict[str, bool]:
        """Have a webhook called on triggers; says of each one whether it was added."""
        asked = list(trigger_ids)
        return self._call(
            "POST",
            Subject(app_id, webhook_id, below="/triggers"),
            lambda answer: answers.successes_in(answer, asked),
            {"triggerIds": asked},
            **options,
        )

    def list_triggers(self, app_id: str, webhook_id: str, **options: Unpack[Options]) -> list[str]:
        """The ids of a webhook's triggers."""
        return self._call(
            "GET", Subject(app_id, webhook_id, below="/triggers"), answers.triggers_in, **options
        )

    def remove_triggers(
        self, app_id: str, webhook_id: str, trigger_ids: Iterable[str], **options: Unpack[Options]
    ) -> None:
        """No longer have a webhook called on triggers."""
        self._call(
            "DELETE",
            Subject(app_id, webhook_id, below="/triggers"),
            _done,
            {"triggerIds": list(trigger_ids)},
            **options,
        )

    def _call(
        self,
        method: str,
        subject: Subject,
        read: Callable[[Any], Read | None],
        fields: Mapping[str, Any] | None = None,
        **options: Unpack[Options],
    ) -> Read:
        """Make one call and `read` its parsed answer; None from `read` means "not understood"."""
        for pair in self._pairs.in_order():
            if self._guard is not None and (left := self._guard.before_call()) is not None:
                options["deadline_seconds"] = min(left, options.get("deadline_seconds") or left)
            outcome = self._ask(pair, method, subject, read, fields, **options)
            if not (isinstance(outcome, ApiFailure) and refuses_credentials(outcome)):
                break
            self._pairs.refused(pair)
        # Raised here, where no local variable holds an answer, which might repeat a secret.
        if isinstance(outcome, ApiFailure):
            try:
                raise outcome
            finally:
                del outcome  # whose traceback holds this very frame
        return outcome

    def _ask(
        self,
        pair: Credentials,
        method: str,
        subject: Subject,
        read: Callable[[Any], Read | None],
        fields: Mapping[str, Any] | None,
        **options: Unpack[Options],
    ) -> Read | ApiFailure:
        headers: dict[str, str | SecretStr] = {"key": pair.key, "secret": pair.secret, **HEADERS}
        if (version := options["version"]) is not None:
            headers["X-Webhook-Version"] = str(version)
        if fields is not None:
            headers["Content-Type"] = "application/json"
        guard = None if method == "GET" else self._guard
        got = self._transport.send(
            method,
            path_of(subject),
            headers=headers,
            body=None if fields is None else json_of(fields),
            deadline_seconds=options.get("deadline_seconds"),
            before_bytes=guard.before_bytes if guard else _nothing,
        )
        if isinstance(got, NoAnswer):
            return _unanswered(got, subject)
        if self._guard is not None:
            self._guard.after_call(got.headers)
        sent, credentials = (fields or {}).values(), self._pairs.secrets()
        if 200 <= got.status < 300 and got.body is not None:
            result = read(answers.parse(got.body))
            if result is not None:
                return without_secrets(result, job=self._job, sent=sent, credentials=credentials)
        secrets = self._job.secrets(credentials, sent)
        return answers.failure(
            got.status, got.headers, got.body, now=time.time(), subject=subject, secrets=secrets
        )


def _nothing() -> None:
    """Reading needs no fence."""


def _one(answer: Any) -> WebhookFound | None:
    found = answers.webhooks_in(answer)
    return found[0] if found and len(found) == 1 else None


def _this(webhook_id: str) -> Callable[[Any], WebhookFound | None]:
    """What reads an answer that is about this webhook; one about another is not understood.

    An id in another case is the same: CometChat lower-cases those of users and groups.
    """

    def read(answer: Any) -> WebhookFound | None:
        found = _one(answer)
        return found if found and found["id"].lower() == webhook_id.lower() else None

    return read


def _done(answer: Any) -> bool | None:
    return (answers.successes_in(answer) or {}).get("") or None


def _unanswered(got: NoAnswer, subject: Subject) -> ApiFailure:
    if got.cause == "network":
        told = sentence(ApiUnavailable, subject, got.reason)
        return ApiUnavailable(told, outcome_unknown=got.sent)
    return AccountRejected(
        f"CometChat was not asked for {subject}: {got.reason}. "
        "Check COMETCHAT_BASE_URL, the proxy variables and REQUESTS_CA_BUNDLE."
    )
