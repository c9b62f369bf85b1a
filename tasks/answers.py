"""What an answer of CometChat's API means: pure functions, for any bytes that may come."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypedDict, cast, get_type_hints

from pydantic import SecretStr

from config.scrub import REDACTED, Scrubber, Unsearchable, forms_of
from config.secrets import known_secrets
from tasks.error_codes import class_of_code, class_of_status, is_documented
from tasks.errors import (
    ApiFailure,
    ApiUnavailable,
    PlanLimit,
    RateLimited,
    WebhookRejected,
)
from tasks.retry_after import retry_after
from tasks.subject import Subject, sentence
from tasks.web_page import title_of

MAX_API_MESSAGE = 500  # characters
#: Characters in which secrets of other calls are looked for: more than are shown, by more than any
#: of them has in any form.
MAX_SEARCHED: Final = MAX_API_MESSAGE + 4_096
MAX_WRAPPERS = 10  # around an answer; the documented ones have at most three

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,100}")
#: What a terminal would obey: controls, line breaks, and marks that turn the direction of text.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
_FULL = (
    re.compile(r"webhook", re.I),
    re.compile(r"\b25\b(?!\s*char)", re.I),
    re.compile(r"limit|quota|max|exceed|reached|more than|at most|up to|allowed", re.I),
)


class WebhookFound(TypedDict, total=False):
    """A webhook as the API told it; all but `id` may be missing.

    Instants are unix seconds, though the API may show them as ISO text.
    """

    id: str
    name: str
    webhookURL: str
    enabled: bool
    retryOnFailure: bool
    useBasicAuth: bool
    username: str
    createdAt: int
    updatedAt: int


_FOUND = get_type_hints(WebhookFound)
_INSTANTS: Final = ("createdAt", "updatedAt")


def parse(body: bytes) -> Any:
    """The body's JSON; None for anything that is not JSON, be it empty, HTML or too deep."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def webhooks_in(answer: Any) -> list[WebhookFound] | None:
    """The webhooks in a parsed answer, whatever they are wrapped in.

    CometChat documents `{"data": {...}}`, `[{"data": {...}}]`, `{"data": [{"data": {...}}]}` and
    `{"data": {"": {...}}}` for one and `{"data": [...]}` for many. Only the known fields come
    back, lest a password that the API repeats gets into a result; None if there is no such shape.
    """
    found = _objects(answer)
    return None if found is None else [_known(item) for item in found]


def triggers_in(answer: Any) -> list[str] | None:
    """The ids of the triggers in a parsed answer, None if it is unreadable."""
    found = webhooks_in(answer)
    return None if found is None else [item["id"] for item in found]


def successes_in(answer: Any, trigger_ids: Iterable[str] = ()) -> dict[str, bool] | None:
    """Which of the triggers succeeded, or under "" whether the call did; None if nothing says so.

    CometChat documents `{"data": {"success": true}}`, and for added triggers
    `{"data": {"<triggerId>": {"success": true}}}`.
    """
    data = _unwrapped(answer)
    if not isinstance(data, dict):
        return None
    success = data.get("success")
    if isinstance(success, bool):
        return dict.fromkeys(trigger_ids, success) or {"": success}
    each = {name: item.get("success") for name, item in data.items() if isinstance(item, dict)}
    understood = any(isinstance(success, bool) for success in each.values())
    return {name: each.get(name) is True for name in trigger_ids} if understood else None


def _objects(answer: Any) -> list[dict[str, Any]] | None:
    inner = _unwrapped(answer)
    items = [_unwrapped(item) for item in inner] if isinstance(inner, list) else [inner]
    complete = all(isinstance(item, dict) and isinstance(item.get("id"), str) for item in items)
    return items if complete else None


def _unwrapped(value: Any) -> Any:
    for _ in range(MAX_WRAPPERS):
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        elif isinstance(value, dict) and not isinstance(value.get("id"), str):
            inner = value.get("data", value.get("", value))
            if inner is value:
                return value
            value = inner
        else:
            return value
    return None


def _known(item: Mapping[str, Any]) -> WebhookFound:
    item = {**item, **{name: _instant(item[name]) for name in _INSTANTS if name in item}}
    known = {name: item[name] for name, kind in _FOUND.items() if type(item.get(name)) is kind}
    # Without lone surrogates, which JSON may have, and no other text.
    return cast(
        WebhookFound,
        {
            name: value.encode(errors="replace").decode() if isinstance(value, str) else value
            for name, value in known.items()
        },
    )


def _instant(value: Any) -> int | None:
    """Unix seconds of a number or of ISO text; None for anything else."""
    try:
        if isinstance(value, str):
            instant = datetime.fromisoformat(value)
            value = (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
        return int(value) if type(value) in (int, float) else None
    except (ValueError, OverflowError):
        return None


def redact(text: str, secrets: Iterable[SecretStr]) -> str:
    """The text with each secret replaced by "[redacted]", in each form of `config/scrub.py`.

    These are the secrets of the very call: they are looked for anywhere, however short. Behind
    them, all that this process knows are, in the `MAX_SEARCHED` characters that are returned at
    most: the API may repeat what an earlier call had told it.
    """
    forms = [forms_of(secret.get_secret_value(), long=1) for secret in secrets]
    try:
        return known_secrets.all().text(Scrubber(forms, decode=True).text(text)[:MAX_SEARCHED])
    except Unsearchable:
        return REDACTED


def failure(
    status: int,
    headers: Mapping[str, str],
    body: bytes | None,
    *,
    now: float,
    subject: Subject,
    secrets: Iterable[SecretStr],
) -> ApiFailure:
    """The failure that an answer means, by its `error.code` first, then by the status.

    `body` is None if it could not be read, `now` in unix seconds. The `secrets` (key, secret,
    the webhook's password) are not repeated if the answer has them.
    """
    secrets = tuple(secrets)
    answer = parse(body or b"")
    error = answer.get("error") if isinstance(answer, dict) else None
    error = error if isinstance(error, dict) else {}
    code = error.get("code")
    code = code if isinstance(code, str) and _CODE.fullmatch(code) else None
    # What CometChat documents tells no secret, though a short one may be part of it.
    code = code if code is None or is_documented(code) else redact(code, secrets)
    api_message = _api_message(error, secrets) or _page(body or b"", secrets) or None
    kind = class_of_code(status, code) or class_of_status(status, code, body)
    if kind is WebhookRejected and subject.creating and api_message and _is_full(api_message):
        kind = PlanLimit
    told = f"{status} {code}" if code else str(status)
    return kind(
        sentence(kind, subject, told + _remark(status, body, api_message), code=code),
        status=status,
        code=code,
        api_message=api_message,
        retry_after=retry_after(headers, now=now, reset=kind is RateLimited),
        outcome_unknown=kind is ApiUnavailable,
    )


def _remark(status: int, body: bytes | None, api_message: str | None) -> str:
    if api_message:
        return f": {api_message}"
    if 300 <= status < 400:
        return ", a redirect, which is never followed: key and secret would go along."
    if body is None:
        return " with an answer that was cut, too slow or too large."
    return " with an answer that is not understood." if status < 300 else "."


def _is_full(api_message: str) -> bool:
    """Whether this is about the cap of 25 webhooks per app, for which no code is documented."""
    return all(pattern.search(api_message) for pattern in _FULL)


def _api_message(error: Mapping[str, Any], secrets: Iterable[SecretStr]) -> str:
    """The API's message and its field errors, `details: {field: [text] | text}`."""
    message, details = error.get("message"), error.get("details")
    text = message if isinstance(message, str) else ""
    if isinstance(details, dict):
        told = (f"{name}: {_listed(problem)}" for name, problem in details.items())
        text += f" ({'; '.join(told)})"
    elif isinstance(details, str):
        text += f" ({details})"
    return _shown(text, secrets)


def _page(body: bytes, secrets: Iterable[SecretStr]) -> str:
    """What a web page in the place of an answer calls itself."""
    title = _shown(title_of(body), secrets)
    return f"the web page {title!r}" if title else ""


def _shown(text: str, secrets: Iterable[SecretStr]) -> str:
    text = _CONTROL.sub(" ", redact(text, secrets)).strip()
    return text if len(text) <= MAX_API_MESSAGE else text[: MAX_API_MESSAGE - 3] + "..."


def _listed(problem: Any) -> str:
    texts = problem if isinstance(problem, list) else [problem]
    return " ".join(text for text in texts if isinstance(text, str))
