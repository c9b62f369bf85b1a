"""The webhook to create: what a caller may ask for, checked before anything is queued.

The limits are those that CometChat documents, so that what passes here is not refused there.
Every field has two names, Python's (`webhook_url`) and the API's (`webhookURL`); both are taken,
and messages use the API's.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tasks.errors import InvalidInput
from tasks.fields import MAX_ID, UNFIT, Boolean, Id, Name, Password, Url, Username
from tasks.triggers import trigger_ids

MAX_TOLD = 20  # unknown fields in one message

_CREDENTIALS = ("username", "password")


class Webhook(BaseModel):
    """A webhook as it is to be created; immutable, and valid once it exists.

    Everything that is wrong with one input is told in a single `InvalidInput`. The values `""`
    and None mean "not set", and booleans may be the words "true" and "false", as a CSV file has
    them. The limits are from CometChat's webhooks overview.

    Args:
        id: 1 to 50 ASCII letters, digits, `_` or `-`; unique within the app. (The overview says
            "alphanumeric"; its own examples have an underscore.)
        name: 1 to 50 characters, not blank, no control characters.
        webhook_url: `webhookURL`, where CometChat delivers: https, at most 255 characters, no
            credentials, no fragment, a host that can be public. It is sent exactly as given.
            Whether WEBHOOK_URL_ALLOW has its domain, enqueueing checks.
        enabled: whether deliveries start at once; always sent, as the API documents no default.
        retry_on_failure: `retryOnFailure`, whether CometChat repeats failed *deliveries*; has no
            bearing on how creation is retried. The API's default is false.
        username: for basic auth on deliveries: 1 to 50 ASCII letters and digits.
        password: likewise, 1 to 100 ASCII letters and digits. Shown in no repr, dump or message.
        triggers: names of the events that CometChat is to deliver, a list of 1 to 100, as
            "message_sent", in any order. A webhook without any delivers nothing.
            Whether they are known depends on the webhook's version: enqueueing checks it.
        use_basic_auth: `useBasicAuth`; follows from the credentials and need not be given.

    Raises:
        InvalidInput: naming each bad field by its wire name, with the limit that it broke.
    """

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True
    )

    id: Id
    name: Name
    webhook_url: Url = Field(alias="webhookURL")
    enabled: Boolean = True
    retry_on_failure: Boolean = Field(default=False, alias="retryOnFailure")
    username: Username | None = None
    password: Password | None = None
    triggers: Annotated[tuple[str, ...], BeforeValidator(trigger_ids)] = ()
    # Last, since it is checked against the credentials before.
    use_basic_auth: Boolean = Field(default=False, alias="useBasicAuth")

    def __init__(self, /, **values: Any) -> None:
        """Check `values`, under Python's or the API's names; raises InvalidInput."""
        # Which pydantic cannot name: lone surrogates, as JSON may have them.
        unfit = [name for name in values if UNFIT.search(name)]
        problems: dict[str, str] = {}
        try:
            super().__init__(**{name: values[name] for name in values if name not in unfit})
        except ValidationError as error:
            problems = _problems(error, unfit)
        else:
            problems = _unknown(unfit)
        # Outside of `except`: pydantic's error holds the input, password included.
        if problems:
            raise _invalid(values, problems)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """The webhook that a mapping (a JSON object, a CSV row) describes; raises InvalidInput."""
        if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
            raise InvalidInput("webhook: must be a mapping from names of fields to their values")
        return cls(**values)

    @classmethod
    def model_validate(cls, obj: Any, **_options: Any) -> Self:
        """Pydantic's name for `parse`; a Webhook is returned as it is."""
        return obj if isinstance(obj, cls) else cls.parse(obj)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: dict[str, Any]) -> dict[str, Any]:
        given = {
            key: value
            for key, value in values.items()
            if not (value is None or value == "") or key not in _WIRE_NAMES
        }
        if "useBasicAuth" not in given and "use_basic_auth" not in given:
            given["useBasicAuth"] = "username" in given or "password" in given
        return given

    @field_validator("use_basic_auth")
    @classmethod
    def _matches_the_credentials(cls, use: bool, info: ValidationInfo) -> bool:
        # A field that is bad, and reported as such, is not in info.data.
        missing = [name for name in _CREDENTIALS if info.data.get(name, "") is None]
        if use and missing:
            raise ValueError(f"basic auth needs username and password (no {' and '.join(missing)})")
        if not use and len(missing) < len(_CREDENTIALS):
            raise ValueError("credentials given but useBasicAuth is false")
        return use

    def wire(self) -> dict[str, Any]:
        """The body of the API's create call under its wire names, without the password.

        `enabled` is always there; `retryOnFailure` when it was given, `useBasicAuth` and
        `username` when there is basic auth. The call has no field for triggers.
        """
        body: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "webhookURL": self.webhook_url,
            "enabled": self.enabled,
        }
        if "retry_on_failure" in self.model_fields_set:
            body["retryOnFailure"] = self.retry_on_failure
        if self.use_basic_auth:
            body["useBasicAuth"] = True
            body["username"] = self.username
        return body

    def as_json(self) -> dict[str, Any]:
        """All that `parse` needs to make this webhook again, but the password."""
        triggers = {"triggers": list(self.triggers)} if self.triggers else {}
        return {**self.wire(), **triggers}


_WIRE_NAMES = {
    name: wire_name
    for field, info in Webhook.model_fields.items()
    for wire_name in (info.alias or field,)
    for name in (field, wire_name)
}
_ORDER = tuple(dict.fromkeys(_WIRE_NAMES.values()))
_DEFAULTS = {"retryOnFailure": False, "useBasicAuth": False}
_TYPES = {
    "missing": "is required",
    "string_type": "must be text",
    "bool_type": "must be true or false",
}


def _problems(error: ValidationError, unfit: Iterable[str]) -> dict[str, str]:
    """What pydantic found, as wire name -> limit; without the values."""
    problems = {}
    unknown: list[str] = []
    for found in error.errors(include_input=False, include_url=False):
        given = str(found["loc"][0])
        name = _WIRE_NAMES.get(given, given)
        if found["type"] == "value_error":
            problem = str(found["ctx"]["error"])
        elif found["type"] != "extra_forbidden":
            problem = _TYPES.get(found["type"], "must be text")
        elif given in _WIRE_NAMES:
            problem = f"given twice, as {name!r} and as {given!r}"
        else:
            unknown.append(given)
            continue
        problems[name] = problem
    return problems | _unknown([*unknown, *unfit])


def _unknown(names: Sequence[str]) -> dict[str, str]:
    """What to say of fields that there are not; of the first of them, if they are many."""
    problems = {}
    for name in names[:MAX_TOLD]:
        near = difflib.get_close_matches(name, _WIRE_NAMES, n=1)
        problems[name] = f"unknown field {_shown(name)}"
        problems[name] += f"; did you mean {_WIRE_NAMES[near[0]]!r}?" if near else ""
    if len(names) > MAX_TOLD:
        problems[names[MAX_TOLD - 1]] += f" and {len(names) - MAX_TOLD} more"
    return problems


def _invalid(values: Mapping[str, Any], problems: dict[str, str]) -> InvalidInput:
    known = values.get("id")
    webhook = f"webhook {_shown(known)}" if isinstance(known, str) and known else "webhook"
    told = (
        problem if problem.startswith("unknown field") else f"{name}: {problem}"
        for name, problem in problems.items()
    )
    return InvalidInput(f"{webhook}: {'; '.join(told)}", problems)


def _shown(text: str) -> str:
    """A caller's text fit for a message: on one line, ASCII, not longer than an id may be."""
    return ascii(text if len(text) <= MAX_ID else text[:MAX_ID] + "...")


def differing_fields(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[str, ...]:
    """The wire names under which two `Webhook.wire()` bodies differ, in the order of the fields.

    What is left out counts as its default, false for `retryOnFailure` and `useBasicAuth`.
    """
    return tuple(
        name
        for name in _ORDER
        if a.get(name, _DEFAULTS.get(name)) != b.get(name, _DEFAULTS.get(name))
    )
