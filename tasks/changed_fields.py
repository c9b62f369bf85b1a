"""What an update changes of a webhook, checked by the rules that hold for a whole one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import SecretStr

from tasks.destination import check_allowed
from tasks.errors import InvalidInput
from tasks.fields import check_webhook_id
from tasks.webhook import Webhook

#: In the place of what a whole webhook must have and an update need not.
_UNCHANGED: Final = {"name": ("name",), "webhookURL": ("webhookURL", "webhook_url")}
_VALUES: Final = {"name": "unchanged", "webhookURL": "https://unchanged.example/"}
#: Fields that are no change, and why.
_NOT_HERE: Final = {"id": "cannot be changed", "triggers": "are changed by set_triggers"}


def check_changes(
    webhook_id: object, changes: Mapping[str, Any], domains: Sequence[str] = ()
) -> tuple[dict[str, Any], SecretStr | None]:
    """The changes by their wire names, without the password, and the password.

    Args:
        webhook_id: whose; shown in messages, and reported by others if it is none.
        changes: by Python's names or the API's; "" and None mean "not set", as in `Webhook`.
        domains: those of WEBHOOK_URL_ALLOW.

    Raises:
        InvalidInput: naming each bad field by its wire name, or that there is nothing to change.
    """
    if not isinstance(changes, Mapping) or not all(isinstance(name, str) for name in changes):
        problem = "must be a mapping from names of fields to their new values"
        raise InvalidInput(f"changes: {problem}", {"changes": problem})
    given = {name: value for name, value in changes.items() if name not in _NOT_HERE}
    problems = {name: words for name, words in _NOT_HERE.items() if name in changes}
    told = [f"{name} {words}" for name, words in problems.items()]
    whole = given | {
        wire_name: _VALUES[wire_name]
        for wire_name, names in _UNCHANGED.items()
        if not any(name in given for name in names)
    }
    checked, its_id = None, _id_or_none(webhook_id)
    try:
        checked = Webhook(**whole, id=its_id or "webhook")
        if any(name in given for name in _UNCHANGED["webhookURL"]):
            check_allowed(checked.webhook_url, checked.id, domains)
    except InvalidInput as error:
        problems |= error.problems
        told.append(str(error).partition(": ")[2])
    fields = _fields(checked, given) if checked else {}
    if not fields and not problems:
        problems["changes"] = "there is nothing to change"
        told.append(problems["changes"])
    if problems or checked is None:
        raise InvalidInput(f"webhook {its_id or ''!r}: {'; '.join(told)}", problems)
    return fields, checked.password


def _fields(checked: Webhook, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those that were given, in the order of `Webhook.wire`."""
    wire = checked.wire()
    if "use_basic_auth" in checked.model_fields_set and not checked.use_basic_auth:
        wire["useBasicAuth"] = False
    is_given = {
        "name": "name" in given,
        "webhookURL": any(name in given for name in _UNCHANGED["webhookURL"]),
        "enabled": given.get("enabled") not in (None, ""),
        "useBasicAuth": checked.use_basic_auth
        or any(given.get(name) not in (None, "") for name in ("useBasicAuth", "use_basic_auth")),
    }
    return {
        name: value for name, value in wire.items() if name != "id" and is_given.get(name, True)
    }


def _id_or_none(webhook_id: object) -> str | None:
    try:
        return check_webhook_id(webhook_id)
    except InvalidInput:
        return None
