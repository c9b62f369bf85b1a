from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import answers
from tasks.answers import failure, parse, retry_after
from tasks.errors import (
    AccountRejected,
    ApiFailure,
    ApiUnavailable,
    AppNotFound,
    PlanLimit,
    RateLimited,
    WebhookNotFound,
    WebhookRejected,
)
from tasks.rate_headers import announced
from tasks.retry_after import MAX_WAIT
from tasks.subject import Subject

ORDERS = {
    "id": "orders",
    "name": "Orders",
    "webhookURL": "https://example.com/hook",
    "createdAt": 1684141151,
    "updatedAt": 1684141151,
}
CREATING = Subject("acme", "orders", creating=True)
NOW = 1_700_000_000.0


def failed(
    status: int,
    error: Any = None,
    *,
    headers: dict[str, str] | None = None,
    body: bytes | None = b"",
    subject: Subject = CREATING,
) -> ApiFailure:
    body = body if error is None else json.dumps({"error": error}).encode()
    return failure(status, headers or {}, body, now=NOW, subject=subject, secrets=())


#: An answer's status and, after a slash, its error.code.
TABLE: dict[type[ApiFailure], str] = {
    ApiUnavailable: """
        408 425 500 502 503 504 599 100 101 200 204 600 999 400/ERR_MISSION_FAILED
        400/ERR_OPERATION_FAILED 200/ERR_EXCEPTION 200/ERR_UNHEARD_OF 500/ERR_UNHEARD_OF
        400/ERR_BAD_ERROR_RESPONSE 500/ERR_BAD_REQUEST 503/ERR_BAD_REQUEST
    """,
    RateLimited: "429 400/ERR_TOO_MANY_REQUESTS 429/ERR_UNHEARD_OF",
    AccountRejected: """
        301 302 303 307 308 401 403 404 401/no+code 400/AUTH_ERR_INVALID_SECRET_KEY
        400/AUTH_ERR_EMPTY_AUTH_HEADER 500/AUTH_ERR_NO_ACCESS 404/ERR_API_NOT_FOUND
        400/AUTH_ERR_EMPTY_APIKEY 404/AUTH_ERR_APIKEY_NOT_FOUND 422/AUTH_ERR_UNHEARD_OF
    """,
    AppNotFound: """
        404/ERR_APP_NOT_FOUND 401/AUTH_ERR_INVALID_APPID 401/AUTH_ERR_EMPTY_APPID
        400/ERR_APP_ARCHIVED
    """,
    WebhookNotFound: "404/ERR_WEBHOOK_NOT_FOUND 400/ERR_WEBHOOK_NOT_FOUND",
    PlanLimit: "403/ERR_PLAN_RESTRICTION 429/ERR_PLAN_QUOTA_RESTRICTION",
    WebhookRejected: """
        400 402 405 409 413 422 451 200/ERR_BAD_REQUEST 404/ERR_TRIGGER_NOT_FOUND
        409/ERR_UNHEARD_OF 403/ERR_BAD_REQUEST 403/ERR_WEBHOOK_ALREADY_EXISTS
        401/ERR_ALREADY_EXISTS 417/ERR_WEBHOOK_ID_ALREADY_EXISTS 500/ERR_WEBHOOK_ALREADY_EXISTS
        200/ERR_UID_ALREADY_EXISTS 403/ERR_TRIGGER_NOT_FOUND 500/ERR_TRIGGER_DOES_NOT_EXIST
    """,
}


@pytest.mark.parametrize(
    ("answer", "kind"), [(answer, kind) for kind, row in TABLE.items() for answer in row.split()]
)
def test_each_failure_has_one_class(answer: str, kind: type[ApiFailure]) -> None:
    status, _, code = answer.partition("/")
    error = failed(int(status), {"code": code, "message": "Sorry."} if code else None)
    assert type(error) is kind
    assert error.status == int(status)
    assert error.code == (code if code and "+" not in code else None)
    assert error.outcome_unknown is (kind is ApiUnavailable)
    assert "webhook 'orders' of app 'acme'" in str(error)
    assert ("COMETCHAT_KEY and COMETCHAT_SECRET" in str(error)) is (kind is AccountRejected)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 422, 500])
def test_an_answer_that_could_not_be_read_may_say_anything(status: int) -> None:
    error = failed(status, body=None)
    assert type(error) is ApiUnavailable and error.outcome_unknown


def test_the_status_is_enough_for_a_redirect_and_for_the_rate_limit() -> None:
    assert type(failed(429, body=None)) is RateLimited
    redirected = failed(302, body=None)
    assert type(redirected) is AccountRejected
    assert "never followed: key and secret would go along" in str(redirected)


def test_a_refusal_tells_the_field_errors() -> None:
    error = failed(
        400,
        {
            "code": "ERR_BAD_REQUEST",
            "message": "Failed to validate the data sent with the request.",
            "details": {"webhookURL": ["The URL is invalid."]},
        },
    )
    assert str(error) == (
        "CometChat refused webhook 'orders' of app 'acme': 400 ERR_BAD_REQUEST: Failed to "
        "validate the data sent with the request. (webhookURL: The URL is invalid.)"
    )


@pytest.mark.parametrize(
    ("details", "told"),
    [
        ({"id": "taken", "name": ["too long", "blank"]}, " (id: taken; name: too long blank)"),
        ("no more", " (no more)"),
        ({"id": [1, None]}, " (id: )"),
        ([1], ""),
        (None, ""),
    ],
)
def test_details_come_in_many_shapes(details: Any, told: str) -> None:
    assert failed(400, {"message": "No.", "details": details}).api_message == f"No.{told}"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Maximum limit of 25 webhooks per app reached.", PlanLimit),
        ("You cannot have more than 25 webhooks.", PlanLimit),
        ("The webhook name may have at most 25 characters.", WebhookRejected),
        ("The webhook URL exceeds 255 characters.", WebhookRejected),
        ("webhook 25 exists", WebhookRejected),
    ],
)
def test_the_26th_webhook_is_the_plans_limit(message: str, kind: type[ApiFailure]) -> None:
    assert type(failed(400, {"message": message})) is kind
    assert type(failed(400, {"message": message}, subject=Subject("a", "w"))) is WebhookRejected


def test_an_overloaded_api_may_say_how_long_to_wait_as_well() -> None:
    assert failed(503, headers={"Retry-After": "9"}).retry_after == 9.0
    assert failed(503, headers={"X-RateLimit-Reset": "1700000020"}).retry_after is None


ONE_WEBHOOK = [
    ORDERS,
    {"data": ORDERS},
    [{"data": ORDERS}],
    {"data": [{"data": ORDERS}]},
    {"data": [ORDERS]},
    {"data": {"": ORDERS}},
    [[{"data": {"data": ORDERS}}]],
]


@pytest.mark.parametrize("answer", ONE_WEBHOOK)
def test_one_webhook_is_found_whatever_it_is_wrapped_in(answer: Any) -> None:
    assert answers.webhooks_in(answer) == [ORDERS]


OTHER = {**ORDERS, "id": "b"}
MANY_WEBHOOKS = [
    {"data": [ORDERS, OTHER]},
    [{"data": [{"data": ORDERS}, {"data": OTHER}]}],
    [{"data": ORDERS}, {"data": [OTHER]}],
]


@pytest.mark.parametrize("answer", MANY_WEBHOOKS)
def test_many_webhooks_are_found_whatever_they_are_wrapped_in(answer: Any) -> None:
    assert answers.webhooks_in(answer) == [ORDERS, OTHER]
    assert answers.triggers_in(answer) == ["orders", "b"]


def test_an_app_may_have_no_webhooks() -> None:
    assert answers.webhooks_in({"data": [], "meta": {}}) == []


def test_only_known_fields_of_the_known_types_come_back() -> None:
    answer = {"data": {"id": "a", "password": "p", "enabled": True, "createdAt": "x", "name": None}}
    assert answers.webhooks_in(answer) == [{"id": "a", "enabled": True}]


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (1684141151, 1684141151),
        (1684141151.75, 1684141151),
        ("2023-05-15T08:59:11Z", 1684141151),
        ("2023-05-15T08:59:11.750Z", 1684141151),
        ("2023-05-15T10:59:11+02:00", 1684141151),
        ("yesterday", None),
        (True, None),
        (float("inf"), None),
        (None, None),
    ],
)
def test_an_instant_is_a_number_or_iso_text(told: Any, seconds: int | None) -> None:
    [found] = answers.webhooks_in({"data": {"id": "a", "createdAt": told}}) or []
    assert found.get("createdAt") == seconds


def deep(levels: int) -> Any:
    answer: Any = ORDERS
    for _ in range(levels):
        answer = {"data": [answer]}
    return answer


@pytest.mark.parametrize(
    "answer",
    [
        None, True, 7, "orders", {}, {"data": None}, {"data": {}}, {"id": 7}, {"data": [ORDERS, 1]},
        {"data": [ORDERS, {}]}, {"data": [[ORDERS, ORDERS], ORDERS]}, {"data": "x"}, {"error": {}},
        deep(400),
    ],
)  # fmt: skip
def test_what_is_no_webhook_is_not_understood(answer: Any) -> None:
    assert answers.webhooks_in(answer) is None


@pytest.mark.parametrize(
    ("answer", "successes"),
    [
        ({"data": {"a": {"success": True}, "b": {"success": False}}}, {"a": True, "b": False}),
        ([{"data": {"a": {"success": True}}}], {"a": True, "b": False}),
        ({"data": {"success": True, "message": "Done."}}, {"a": True, "b": True}),
        ({"data": {"a": {"success": "yes"}}}, None),
        ({"data": {}}, None),
        ({}, None),
        (None, None),
    ],
)
def test_which_triggers_were_added(answer: Any, successes: dict[str, bool] | None) -> None:
    assert answers.successes_in(answer, ["a", "b"]) == successes


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>Bad gateway</html>", b"\xff\xfe\xff", b'{"data": ', b"[" * 100_000,
        b'{"a":' * 100_000, b"1" * 5_000, b"\x00",
    ],
)  # fmt: skip
def test_what_is_no_json_is_none(body: bytes) -> None:
    assert parse(body) is None
    assert type(failed(200, body=body)) is ApiUnavailable
    assert type(failed(404, body=body)) is AccountRejected


def test_odd_json_is_survived() -> None:
    assert parse(b'{"a": NaN, "a": Infinity}') == {"a": float("inf")}
    nested = b'{"error": {"message": "No.", "details": {"id": ' + b"[" * 700 + b"]" * 700 + b"}}}"
    assert failed(400, body=nested).api_message == "No. (id: )"


def test_what_a_terminal_would_obey_is_not_repeated() -> None:
    body = rb'{"error": {"message": "No\u202eoN\u2066 \u001b[2J \ud800."}}'
    assert failed(400, body=body).api_message == "No oN   [2J  ."
    [found] = answers.webhooks_in(parse(rb'{"data": {"id": "a", "name": "\ud800"}}')) or []
    assert found == {"id": "a", "name": "?"}


@pytest.mark.parametrize("name", ["Limit", "Remaining", "Reset"])
def test_a_limit_beyond_all_numbers_is_none(name: str) -> None:
    headers = {f"X-RateLimit-{one}": "10" for one in ("Limit", "Remaining", "Reset")}
    assert announced(headers, now=0.0) is not None
    assert announced({**headers, f"X-RateLimit-{name}": "9" * 400}, now=0.0) is None


names = st.sampled_from(["data", "id", "", "error", "code", "message", "details", "success"])
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(alphabet=string.printable, max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)


@given(st.integers(100, 999), json_values | st.binary(max_size=20))
def test_any_answer_is_read_or_a_failure(status: int, answer: Any) -> None:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    parsed = parse(body)
    for found in answers.webhooks_in(parsed) or []:
        assert isinstance(found["id"], str)
    answers.successes_in(parsed, ["a"])
    error = failed(status, body=body)
    assert str(error).isprintable() and str(error).endswith((".", ".)"))


@given(st.text(alphabet=string.printable, max_size=30))
def test_any_header_is_seconds_or_nothing(value: str) -> None:
    seconds = retry_after({"Retry-After": value, "X-RateLimit-Reset": value}, now=NOW, reset=True)
    assert seconds is None or 0 <= seconds <= MAX_WAIT


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html><TITLE>Access &amp; denied</TITLE>", "the web page 'Access & denied'"),
        (b"<title lang='en'>\nJust a\nmoment...\n</title>", "the web page 'Just a moment...'"),
        (b"<title></title>", None),
        (b"<title>never ends", None),
        (b"\xff\xfe<title>\xe9</title>", "the web page '\ufffd'"),
    ],
    ids=["escaped", "line breaks", "empty", "cut", "no text"],
)
def test_a_web_page_in_the_place_of_an_answer_is_named(body: bytes, words: str | None) -> None:
    failure = failed(403, body=body)
    assert type(failure) is AccountRejected
    assert failure.api_message == words
    assert (words or "403.") in str(failure)
