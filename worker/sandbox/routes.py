"""Which operation a method and a path mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import unquote

#: The webhook operations of the Management API, and `unknown` for any other call.
Operation = Literal[
    "create",
    "list",
    "get",
    "update",
    "delete",
    "add_triggers",
    "list_triggers",
    "remove_triggers",
    "unknown",
]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)

_BY_COLLECTION: dict[str, Operation] = {"POST": "create", "GET": "list"}
_BY_WEBHOOK: dict[str, Operation] = {"GET": "get", "PUT": "update", "DELETE": "delete"}
_BY_TRIGGERS: dict[str, Operation] = {
    "POST": "add_triggers",
    "GET": "list_triggers",
    "DELETE": "remove_triggers",
}


@dataclass(frozen=True, slots=True)
class Route:
    """An operation and the percent-decoded ids of its path; ids that it lacks are empty."""

    operation: Operation
    app_id: str = ""
    webhook_id: str = ""


UNKNOWN = Route("unknown")


def route(method: str, path: str) -> Route:
    """Return what the method and the path (percent-encoded, without its query) mean."""
    parts = path.split("/")
    count = len(parts)
    # "/apps/a/webhooks/w/triggers" splits into an empty part and five others.
    if not 4 <= count <= 6 or parts[0] or parts[1] != "apps" or parts[3] != "webhooks":
        return UNKNOWN
    if not parts[2] or (count > 4 and not parts[4]) or (count == 6 and parts[5] != "triggers"):
        return UNKNOWN
    operations = {4: _BY_COLLECTION, 5: _BY_WEBHOOK, 6: _BY_TRIGGERS}[count]
    operation = operations.get(method)
    if operation is None:
        return UNKNOWN
    return Route(operation, unquote(parts[2]), unquote(parts[4]) if count > 4 else "")
