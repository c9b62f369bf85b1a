"""What follows from the codes of answers, besides their class (`test_answers.py`)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tasks.answers import failure
from tasks.error_codes import refuses_credentials
from tasks.errors import AccountRejected, ApiFailure, PlanLimit
from tasks.subject import Subject

CREATING = Subject("acme", "orders", creating=True)


def failed(status: int, error: Any = None, *, subject: Subject = CREATING) -> ApiFailure:
    body = json.dumps({"error": error}).encode()
    return failure(status, {}, body, now=1_700_000_000.0, subject=subject, secrets=())


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
@pytest.mark.parametrize(
    ("code", "to_do"),
    [
        ("ERR_SUBSCRIPTION_EXPIRED", "Renew the subscription at CometChat"),
        ("ERR_INVALID_API_VERSION", "Check that COMETCHAT_BASE_URL is right, without a version"),
    ],
)
def test_what_is_the_accounts_trouble_and_not_the_keys_is_told_so(
    status: int, code: str, to_do: str
) -> None:
    error = failed(status, {"code": code, "message": "Sorry."})
    assert type(error) is AccountRejected
    assert to_do in str(error)
    assert "COMETCHAT_KEY" not in str(error)
    assert not refuses_credentials(error)


@pytest.mark.parametrize(
    ("answer", "is_about_them"),
    [
        ("401/", True),
        ("403/", True),
        ("403/ERR_UNHEARD_OF", True),
        ("400/AUTH_ERR_EMPTY_APIKEY", True),
        ("401/AUTH_ERR_INVALID_SECRET_KEY", True),
        ("404/", False),
        ("302/", False),
        ("401/ERR_API_NOT_FOUND", False),
        ("401/AUTH_ERR_INVALID_APPID", False),
        ("403/ERR_WEBHOOK_ALREADY_EXISTS", False),
        ("403/ERR_PLAN_RESTRICTION", False),
    ],
)
def test_another_pair_of_keys_is_tried_where_it_may_help(answer: str, is_about_them: bool) -> None:
    status, _, code = answer.partition("/")
    error = failed(int(status), {"code": code, "message": "Sorry."} if code else None)
    assert refuses_credentials(error) is is_about_them


def test_a_plans_limit_on_triggers_does_not_advise_to_delete_a_webhook() -> None:
    error = failed(
        402,
        {"code": "ERR_PLAN_RESTRICTION", "message": "Sorry."},
        subject=Subject("acme", "orders", below="/triggers"),
    )
    assert type(error) is PlanLimit
    assert "does not allow these triggers of webhook 'orders' of app 'acme'" in str(error)
    assert "delete a webhook" not in str(error)
    assert "ask for triggers that the plan has" in str(error)
