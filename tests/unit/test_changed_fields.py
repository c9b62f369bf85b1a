"""What an update may change, and how what is wrong with it is told."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from tasks.changed_fields import check_changes
from tasks.errors import InvalidInput

PASSWORD = "Hunter2Hunter2"
URL = "https://shop.example.com/hook"


@pytest.mark.parametrize(
    ("changes", "wire"),
    [
        ({"name": "New"}, {"name": "New"}),
        ({"webhook_url": URL}, {"webhookURL": URL}),
        ({"webhookURL": URL, "name": "New"}, {"name": "New", "webhookURL": URL}),
        ({"enabled": False}, {"enabled": False}),
        ({"enabled": "true", "name": "New"}, {"name": "New", "enabled": True}),
        ({"enabled": None, "name": "New"}, {"name": "New"}),
        ({"retry_on_failure": False}, {"retryOnFailure": False}),
        ({"retryOnFailure": True}, {"retryOnFailure": True}),
        ({"use_basic_auth": False}, {"useBasicAuth": False}),
    ],
    ids=str,
)
def test_what_is_named_is_changed_and_nothing_else(
    changes: dict[str, Any], wire: dict[str, Any]
) -> None:
    fields, password = check_changes("orders", changes)
    assert (fields, list(fields), password) == (wire, list(wire), None)


@pytest.mark.parametrize("password", [PASSWORD, SecretStr(PASSWORD)], ids=["text", "secret"])
def test_a_password_is_apart(password: Any) -> None:
    fields, secret = check_changes("orders", {"username": "shop", "password": password})
    assert fields == {"useBasicAuth": True, "username": "shop"}
    assert secret is not None
    assert secret.get_secret_value() == PASSWORD


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, ["changes"]),
        ({"enabled": None}, ["changes"]),
        ("name", ["changes"]),
        ({1: "New"}, ["changes"]),
        ({"name": ""}, ["name"]),
        ({"name": "x" * 51, "webhookURL": "http://a.example"}, ["name", "webhookURL"]),
        ({"webhookURL": URL, "webhook_url": URL}, ["webhookURL"]),
        ({"id": "other", "triggers": ["message_sent"]}, ["id", "triggers"]),
        ({"id": "other", "name": ""}, ["id", "name"]),
        ({"nome": "New"}, ["nome"]),
        ({"username": "shop"}, ["useBasicAuth"]),
        ({"password": PASSWORD}, ["useBasicAuth"]),
        ({"username": "a b", "password": PASSWORD + "!"}, ["password", "username"]),
        ({"use_basic_auth": True}, ["useBasicAuth"]),
        ({"enabled": "yes"}, ["enabled"]),
    ],
    ids=str,
)
def test_each_bad_field_is_named(changes: Any, fields: list[str]) -> None:
    with pytest.raises(InvalidInput) as bad:
        check_changes("orders", changes)
    assert sorted(bad.value.problems) == fields
    assert PASSWORD not in str(bad.value) + repr(bad.value.problems)
    assert str(bad.value).startswith(("webhook 'orders': ", "changes: must be"))


def test_what_to_do_instead_is_told() -> None:
    with pytest.raises(InvalidInput) as bad:
        check_changes("orders", {"id": "other", "triggers": [], "nmae": "New"})
    assert str(bad.value) == (
        "webhook 'orders': id cannot be changed; triggers are changed by set_triggers; "
        "unknown field 'nmae'; did you mean 'name'?"
    )
