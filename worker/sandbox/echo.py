"""Answers that repeat a secret: the fault `echo`, in any field, in each form of a gateway."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, get_args
from urllib.parse import quote, quote_plus

from worker.sandbox.answers import Answer, ApiError, encode

#: How a text is written where it is repeated.
Form = Literal[
    "plain",
    "json",
    "html",
    "html-numbers",
    "percent",
    "percent-lower",
    "percent-twice",
    "percent-plus",
    "base64",
    "base64-url",
    "base64-of-login",
]
FORMS: Final[tuple[Form, ...]] = get_args(Form)

#: Fields of an error; all others are those of the true answer.
ERROR_FIELDS: Final = frozenset({"code", "message", "devMessage", "details"})

_WRITE: Final[Mapping[Form, Callable[[str], str]]] = {
    "plain": str,
    "json": json.dumps,
    "html": html.escape,
    "html-numbers": lambda text: "".join(f"&#{ord(one)};" for one in text),
    "percent": lambda text: quote(text, ""),
    "percent-lower": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "percent-twice": lambda text: quote(quote(text, ""), ""),
    "percent-plus": quote_plus,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64-url": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "base64-of-login": lambda text: base64.b64encode(f"chat:{text}".encode()).decode(),
}


def refused(status: int) -> Answer:
    """An error with each field that one may have."""
    return ApiError(status, "ERR_BAD_REQUEST", "No.", {"name": ["No."]}).answer()


def repeating(answer: Answer, field: str, text: str, form: Form) -> Answer:
    """The answer with the text in the place of a field, wherever it has that.

    Args:
        answer: with a body of JSON.
        field: its name, "*" for every text. A webhook or trigger that lacks it gets it.
        text: what is repeated; in the place of a number as a number, if it is one.
        form: how it is written.
    """
    written = _WRITE[form](text)
    return Answer(answer.status, encode(_with(json.loads(answer.body), field, written)))


def _with(value: Any, field: str, text: str) -> Any:
    if isinstance(value, list):
        return [_with(one, field, text) for one in value]
    if isinstance(value, dict):
        lacking = {field: ""} if "id" in value and field != "*" else {}
        return {
            name: _in_place_of(one, text) if name == field else _with(one, field, text)
            for name, one in {**lacking, **value}.items()
        }
    return text if field == "*" and isinstance(value, str) else value


def _in_place_of(value: Any, text: str) -> Any:
    return int(text) if type(value) is int and text.isdecimal() else text
