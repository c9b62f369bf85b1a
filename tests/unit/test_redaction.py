from __future__ import annotations

import base64
import json
import string
from typing import Any
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from config.secrets import known_secrets
from tasks.answers import failure, redact
from tasks.errors import ApiFailure
from tasks.subject import Subject

SECRETS = [SecretStr("the-key-4711"), SecretStr("top+secret/42"), SecretStr("hunter2")]


def failed(error: Any) -> ApiFailure:
    body = json.dumps({"error": error}).encode()
    return failure(400, {}, body, now=0.0, subject=Subject("acme", "orders"), secrets=SECRETS)


def test_no_secret_is_repeated() -> None:
    basic = base64.b64encode(b"shop:hunter2").decode()
    told = (
        f"the-key-4711 TOP+SECRET/42 {quote('top+secret/42', safe='')} {basic} x\n\x1b[31m hunter2"
    )
    error = failed(
        {"code": "THE-KEY-4711", "message": told, "details": {"hunter2": ["hunter2 is bad"]}}
    )
    shown = f"{error} {error.api_message} {error.code}".lower()
    for secret in ("4711", "secret", "hunter2", "%2b", basic[8:15].lower(), "\n", "\x1b"):
        assert secret not in shown
    assert str(error).count("[redacted]") == 8


def test_a_secret_at_the_cut_is_redacted_whole() -> None:
    message = failed({"message": "x" * 490 + "hunter2 and more and more"}).api_message
    assert message is not None
    assert len(message) == 500 and "hunter" not in message and message.endswith("...")


@given(
    st.text(alphabet=string.ascii_letters + string.digits, min_size=8, max_size=40),
    st.text(alphabet=string.printable, max_size=5),
    st.text(alphabet=string.printable, max_size=5),
)
def test_a_secret_is_found_in_base64_wherever_it_begins(
    secret: str, before: str, after: str
) -> None:
    told = base64.b64encode(f"{before}{secret}{after}".encode()).decode()
    shown = redact(f"Authorization: Basic {told}", [SecretStr(secret)])
    assert "[redacted]" in shown
    left = shown.removeprefix("Authorization: Basic ").split("[redacted]")
    assert all(len(part) <= 10 for part in left)


def test_without_secrets_nothing_is_redacted() -> None:
    assert redact("plain", [SecretStr("")]) == "plain"


def test_what_an_earlier_call_had_told_is_not_repeated() -> None:
    """As where triggers are refused, in words about the webhook that was just created."""
    known_secrets.opened(SecretStr("OpenedByThisProcess"))
    assert redact("chat:OpenedByThisProcess is weak", []) == "chat:[redacted] is weak"
