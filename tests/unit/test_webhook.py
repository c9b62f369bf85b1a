from __future__ import annotations

import json
import string
import traceback
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from tasks.errors import InvalidInput
from tasks.fields import check_app_id
from tasks.webhook import Webhook, differing_fields

ORDERS: dict[str, Any] = {
    "id": "orders",
    "name": "Orders",
    "webhookURL": "https://example.com/hook?tenant=7",
}
PASSWORD = "hunter2" * 2
WITH_AUTH = {**ORDERS, "username": "shop", "password": PASSWORD}


def problems_of(values: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refused:
        Webhook.parse(values)
    return refused.value.problems


def test_a_webhook_is_taken_under_wire_names_and_under_python_names() -> None:
    by_wire_name = Webhook.parse({**ORDERS, "retryOnFailure": True})
    by_python_name = Webhook(
        id="orders",
        name="Orders",
        webhook_url="https://example.com/hook?tenant=7",
        retry_on_failure=True,
    )
    assert by_wire_name == by_python_name
    assert Webhook.model_validate({**ORDERS, "retryOnFailure": True}) == by_python_name
    assert Webhook.model_validate(by_python_name) is by_python_name


def test_what_is_sent_when_nothing_optional_is_set() -> None:
    assert Webhook.parse(ORDERS).wire() == {**ORDERS, "enabled": True}


def test_the_password_is_shown_nowhere() -> None:
    webhook = Webhook.parse({**WITH_AUTH, "retryOnFailure": False})
    wire = {
        **ORDERS,
        "enabled": True,
        "retryOnFailure": False,
        "useBasicAuth": True,
        "username": "shop",
    }
    assert webhook.wire() == wire
    assert webhook.password is not None
    assert webhook.password.get_secret_value() == PASSWORD
    shown = (
        repr(webhook),
        str(webhook),
        repr(webhook.model_dump()),
        webhook.model_dump_json(),
        json.dumps(webhook.wire()),
    )
    assert not [text for text in shown if PASSWORD in text]


def test_the_password_may_come_as_a_secret() -> None:
    webhook = Webhook.parse({**WITH_AUTH, "password": SecretStr("abc123")})
    assert webhook.password == SecretStr("abc123")


def test_a_webhook_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Webhook.parse(ORDERS).id = "other"


@pytest.mark.parametrize(
    ("change", "field", "problem"),
    [
        ({"id": "x" * 51}, "id", "at most 50 characters (has 51)"),
        ({"id": ""}, "id", "is required"),
        ({"id": None}, "id", "is required"),
        ({"id": 7}, "id", "must be text"),
        ({"id": "orders\n"}, "id", "only ASCII letters, digits, '_' and '-'"),
        ({"id": "a b"}, "id", "only ASCII letters, digits, '_' and '-'"),
        ({"id": "é"}, "id", "only ASCII letters, digits, '_' and '-'"),
        ({"id": "٣"}, "id", "only ASCII letters, digits, '_' and '-'"),
        ({"name": "n" * 51}, "name", "at most 50 characters (has 51)"),
        ({"name": "  "}, "name", "is blank"),
        ({"name": 12}, "name", "must be text"),
        ({"name": "a\nb"}, "name", "no control characters, line breaks or lone surrogates"),
        ({"name": "\ud800"}, "name", "no control characters, line breaks or lone surrogates"),
        ({"webhookURL": "http://example.com"}, "webhookURL", "must start with https://"),
        ({"webhookURL": " https://example.com"}, "webhookURL", "must start with https://"),
        ({"webhookURL": "https://e.com/" + "x" * 242}, "webhookURL", "at most 255 characters"),
        ({"webhookURL": "https://u:p@example.com"}, "webhookURL", "use basic auth (username,"),
        ({"webhookURL": "https://u@example.com"}, "webhookURL", "use basic auth (username,"),
        ({"webhookURL": "https://example.com/a b"}, "webhookURL", "only printable ASCII"),
        ({"webhookURL": "https://example.com/\n"}, "webhookURL", "only printable ASCII"),
        ({"webhookURL": "https://example.com/é"}, "webhookURL", "only printable ASCII"),
        ({"webhookURL": "https://a.com\\b.com"}, "webhookURL", "only printable ASCII"),
        ({"webhookURL": "https:///path"}, "webhookURL", "must have a valid host"),
        ({"webhookURL": "https://?q"}, "webhookURL", "must have a valid host"),
        ({"webhookURL": "https://a.com:0/"}, "webhookURL", "must have a valid host"),
        ({"webhookURL": "https://a.com:65536/"}, "webhookURL", "must have a valid host"),
        ({"webhookURL": "https://[::1/"}, "webhookURL", "must have a valid host"),
        ({"webhookURL": "https://a.com/#top"}, "webhookURL", "no fragment"),
        ({"enabled": "yes"}, "enabled", "must be true or false"),
        ({"enabled": 1}, "enabled", "must be true or false"),
        ({"retryOnFailure": 0.0}, "retryOnFailure", "must be true or false"),
        ({"username": "u" * 51, "password": "p"}, "username", "at most 50 characters (has 51)"),
        ({"username": "a b", "password": "p"}, "username", "only ASCII letters and digits"),
        ({"username": "u", "password": "p" * 101}, "password", "at most 100 characters (has 101)"),
        ({"username": "u", "password": "p!"}, "password", "only ASCII letters and digits"),
        ({"username": "u", "password": SecretStr("")}, "password", "is empty"),
        ({"username": "u", "password": 1234}, "password", "must be text"),
        ({"username": "u"}, "useBasicAuth", "basic auth needs username and password (no password)"),
        ({"password": "p"}, "useBasicAuth", "basic auth needs username and password (no username)"),
        ({"useBasicAuth": True}, "useBasicAuth", "basic auth needs username and password"),
        (
            {"username": "u", "password": "p", "useBasicAuth": False},
            "useBasicAuth",
            "credentials given but useBasicAuth is false",
        ),
        ({"webhook_url": "https://b.com"}, "webhookURL", "given twice"),
        ({"webhookUrl": "https://b.com"}, "webhookUrl", "did you mean 'webhookURL'?"),
        ({"pasword": "p"}, "pasword", "did you mean 'password'?"),
        ({"events": ["x"]}, "events", "unknown field 'events'"),
        ({"self": 1}, "self", "unknown field 'self'"),
    ],
)
def test_a_bad_field_is_named_with_the_limit_it_broke(
    change: dict[str, Any], field: str, problem: str
) -> None:
    problems = problems_of({**ORDERS, **change})
    assert set(problems) == {field}
    assert problem in problems[field]


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "HTTPS://EXAMPLE.com:8443/A%2fb/../c?x=1&y=%20",
        "https://xn--bcher-kva.example/",
        "https://[2606:4700::1111]:443/hook",
        "https://93.184.215.14:8443/hook",
        "https://example.com./",
        "https://under_score.example.com/?",
        "https://e.com/" + "x" * 241,
    ],
)
def test_a_url_is_kept_byte_for_byte(url: str) -> None:
    assert Webhook.parse({**ORDERS, "webhookURL": url}).wire()["webhookURL"] == url


def test_everything_wrong_is_told_in_one_message() -> None:
    with pytest.raises(InvalidInput) as refused:
        Webhook.parse({"id": "x" * 51, "name": "", "webhookURL": "ftp://x", "nam": "n"})
    assert str(refused.value) == (
        f"webhook '{'x' * 50}...': id: at most 50 characters (has 51); name: is required; "
        "webhookURL: must start with https://; unknown field 'nam'; did you mean 'name'?"
    )
    assert list(refused.value.problems) == ["id", "name", "webhookURL", "nam"]


@pytest.mark.parametrize("make", [Webhook.parse, Webhook.model_validate, lambda v: Webhook(**v)])
@pytest.mark.parametrize(
    "change", [{"password": PASSWORD + "!"}, {"useBasicAuth": False}, {"enabled": PASSWORD}]
)
def test_a_refusal_holds_no_password(make: Any, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        make({**WITH_AUTH, **change})
    error = refused.value
    assert error.__context__ is None and error.__cause__ is None
    shown = "".join(traceback.format_exception(error)) + repr(vars(error)) + repr(error.args)
    assert PASSWORD not in shown


@pytest.mark.parametrize("values", [None, 7, "orders", [ORDERS], {1: 2}])
def test_what_is_no_mapping_of_names_is_refused(values: Any) -> None:
    assert problems_of(values) == {}


def test_a_row_of_a_csv_file_is_taken() -> None:
    row = {**ORDERS, "enabled": "False", "retryOnFailure": "TRUE", "username": "", "password": ""}
    assert Webhook.parse({**row, "useBasicAuth": ""}).wire() == {
        **ORDERS,
        "enabled": False,
        "retryOnFailure": True,
    }
    assert Webhook.parse({**ORDERS, "enabled": "", "retryOnFailure": ""}) == Webhook.parse(ORDERS)


def test_what_was_sent_can_be_read_again() -> None:
    webhook = Webhook.parse(WITH_AUTH)
    assert Webhook.parse({**webhook.wire(), "password": webhook.password}) == webhook


text = st.text(alphabet=string.printable + "é٣\x85\u2028\ud800\U0001f680", max_size=60)
anything = st.one_of(st.none(), st.booleans(), st.integers(), text, st.lists(text, max_size=2))


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys((*Webhook.model_fields, "webhookURL", "useBasicAuth", ""), anything),
    )
)
def test_any_mapping_is_a_webhook_or_refused(values: dict[str, Any]) -> None:
    try:
        webhook = Webhook.parse(values)
    except InvalidInput as refused:
        assert str(refused).isprintable()
    else:
        json.dumps(webhook.wire()).encode()


@given(st.text(alphabet=string.printable + "é@:[]/\\", max_size=40))
def test_a_url_that_passes_has_the_host_that_others_read(rest: str) -> None:
    try:
        url = Webhook.parse({**ORDERS, "webhookURL": "https://" + rest}).webhook_url
    except InvalidInput:
        return
    parts = urlsplit(url)
    assert parts.hostname and parts.username is None and parts.port != 0
    assert parts.geturl().rstrip("?") == url.rstrip("?")


@pytest.mark.parametrize("app_id", ["a", "2345abc", "My_App-1", "x" * 100])
def test_an_app_id_is_returned_unchanged(app_id: str) -> None:
    assert check_app_id(app_id) == app_id


@pytest.mark.parametrize(
    "app_id", ["", "..", ".", "a/b", "a%2fb", "a b", "a\n", "é", "x" * 101, None, 7, b"a", ["a"]]
)
def test_what_cannot_be_an_app_id_is_refused(app_id: Any) -> None:
    with pytest.raises(InvalidInput, match="app id: ") as refused:
        check_app_id(app_id)
    assert set(refused.value.problems) == {"appId"}
    assert refused.value.__cause__ is None


def test_webhooks_that_differ_say_in_which_fields() -> None:
    wire = Webhook.parse(ORDERS).wire()
    assert differing_fields(wire, {**wire, "retryOnFailure": False, "useBasicAuth": False}) == ()
    other = {**wire, "name": "Other", "webhookURL": "https://b.com", "retryOnFailure": True}
    assert differing_fields(wire, other) == ("name", "webhookURL", "retryOnFailure")
    assert differing_fields(wire, Webhook.parse(WITH_AUTH).wire()) == ("username", "useBasicAuth")


class TestTriggers:
    def test_are_a_list_of_names_that_no_call_to_create_has_a_field_for(self) -> None:
        webhook = Webhook.parse({**ORDERS, "triggers": ["user_blocked", "message_sent"]})
        assert webhook.triggers == ("user_blocked", "message_sent")
        assert "triggers" not in webhook.wire()

    @pytest.mark.parametrize("nothing", [None, ""])
    def test_that_are_not_set_are_none(self, nothing: Any) -> None:
        assert Webhook.parse({**ORDERS, "triggers": nothing}).triggers == ()

    @pytest.mark.parametrize(
        ("triggers", "words"),
        [
            ([], "is empty: leave it out"),
            ("message_sent", "must be a list of names"),
            ({"message_sent": True}, "must be a list of names"),
            (["message_sent", "", 7, "a b", "x" * 101], "number 2, 3, 4, 5: each must be text"),
            (["a", "b", "a", "a"], "number 3, 4: is there already"),
            ([f"t{n}" for n in range(101)], "at most 100 (has 101)"),
        ],
    )
    def test_of_another_shape_are_refused_without_showing_them(
        self, triggers: Any, words: str
    ) -> None:
        problems = problems_of({**ORDERS, "triggers": triggers, "name": ""})
        assert words in problems["triggers"]

    def test_as_many_and_as_long_as_may_be(self) -> None:
        longest = [f"{n:0>100}" for n in range(100)]
        assert Webhook.parse({**ORDERS, "triggers": longest}).triggers == tuple(longest)

    def test_go_along_to_a_database_and_back(self) -> None:
        webhook = Webhook.parse({**WITH_AUTH, "triggers": ["message_sent"]})
        stored = json.loads(json.dumps(webhook.as_json()))
        assert PASSWORD not in str(stored)
        assert Webhook.parse({**stored, "password": PASSWORD}) == webhook
        assert Webhook.parse(ORDERS).as_json() == Webhook.parse(ORDERS).wire()
