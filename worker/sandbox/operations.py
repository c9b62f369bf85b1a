"""The eight webhook operations: who may call, and what each does to the store."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

from worker.sandbox.answers import Answer, ApiError, Shape, bad_request, not_an_api, success, wrap
from worker.sandbox.apps import AppRegistry
from worker.sandbox.limits import checked_create, checked_update
from worker.sandbox.routes import Operation, Route
from worker.sandbox.store import Namespace, Store, Webhook
from worker.sandbox.triggers import Version, description, known_triggers

#: CometChat's OpenAPI document, list webhooks: `perPage` is 100 unless told, 1000 at most.
DEFAULT_PER_PAGE: Final = 100
MAX_PER_PAGE: Final = 1000

_NOT_JSON: Final = object()


@dataclass(slots=True)
class Call:
    """One request: what it asks for, the headers that the API reads, and its body."""

    route: Route
    method: str
    path: str
    query: str
    key: str | None
    secret: str | None
    version_header: str | None
    payload: Any

    @property
    def version(self) -> Version | None:
        """2 or "legacy", as `X-Webhook-Version` tells; None for a value that is neither."""
        if self.version_header is None:
            return "legacy"
        return 2 if self.version_header.strip() == "2" else None

    @property
    def webhook_id(self) -> str:
        """The id of the path, or that of a create's body; empty where there is none."""
        if self.route.operation == "create" and isinstance(self.payload, dict):
            webhook_id = self.payload.get("id")
            return webhook_id if isinstance(webhook_id, str) else ""
        return self.route.webhook_id


def parsed(body: bytes) -> Any:
    """Return the JSON of a request's body: None for an empty one, a mark for what is no JSON."""
    if not body:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return _NOT_JSON


class Operations:
    """Answers calls as the Management API does.

    Args:
        store: the webhooks.
        apps: the apps.
        accepted: the pairs of which the headers `key` and `secret` must be one; can be changed.

    `effects` counts, for each operation, the calls that changed the store.
    """

    def __init__(
        self, store: Store, apps: AppRegistry, accepted: frozenset[tuple[str, str]]
    ) -> None:
        self.store = store
        self.apps = apps
        self.effects: Counter[str] = Counter()
        self.accepted = accepted
        self._handlers: dict[Operation, Callable[[Call, Namespace, Shape], Any]] = {
            "create": self._create,
            "list": self._list,
            "get": self._get,
            "update": self._update,
            "delete": self._delete,
            "add_triggers": self._add_triggers,
            "list_triggers": self._list_triggers,
            "remove_triggers": self._remove_triggers,
        }

    def perform(self, call: Call, shape: Shape) -> Answer:
        """Carry the call out and return its true answer, in `shape` where it shows one webhook."""
        try:
            handler = self._handlers.get(call.route.operation)
            if handler is None:
                raise not_an_api(call.method, call.path)
            return success(handler(call, self._admit(call), shape))
        except ApiError as error:
            return error.answer()

    def effects_of(self, operation: str | None) -> int:
        """Return how many calls changed the store, of one operation or of all."""
        return self.effects.total() if operation is None else self.effects[operation]

    def _admit(self, call: Call) -> Namespace:
        if not call.key or not call.secret:
            raise ApiError(401, "AUTH_ERR_EMPTY_AUTH_HEADER", "The auth headers are missing.")
        if (call.key, call.secret) not in self.accepted:
            raise ApiError(401, "AUTH_ERR_INVALID_SECRET_KEY", "The key or secret is not valid.")
        app_id = call.route.app_id
        if not self.apps.exists(app_id):
            status = self.store.manners.unknown_app
            code = {404: "ERR_APP_NOT_FOUND", 401: "AUTH_ERR_INVALID_APPID"}[status]
            raise ApiError(status, code, f"The app with appId {app_id} does not exist.")
        version = call.version
        if version is None:
            raise bad_request({"X-Webhook-Version": ["The X-Webhook-Version must be 2 or absent."]})
        if call.payload is _NOT_JSON:
            raise bad_request({"body": ["The body must be valid JSON."]})
        return app_id, version

    def _create(self, call: Call, namespace: Namespace, shape: Shape) -> Any:
        webhook = self.store.create(namespace, checked_create(call.payload))
        self.effects["create"] += 1
        return wrap(self._shown(webhook), shape)

    def _list(self, call: Call, namespace: Namespace, _shape: Shape) -> Any:
        query = parse_qs(call.query)
        search_key = query.get("searchKey", [""])[0].lower()
        found = [
            self._shown(webhook)
            for webhook in self.store.of(namespace)
            if search_key in webhook.fields["name"].lower()
        ]
        return _page(found, _per_page(query.get("perPage", [str(DEFAULT_PER_PAGE)])[0]))

    def _get(self, call: Call, namespace: Namespace, shape: Shape) -> Any:
        return wrap(self._shown(self.store.get(namespace, call.route.webhook_id)), shape)

    def _update(self, call: Call, namespace: Namespace, shape: Shape) -> Any:
        current = self.store.get(namespace, call.route.webhook_id)
        changes = checked_update(call.payload, current.fields)
        webhook = self.store.update(namespace, current.id, changes)
        self.effects["update"] += 1
        return wrap(self._shown(webhook), shape)

    def _shown(self, webhook: Webhook) -> dict[str, Any]:
        return self.store.manners.shown(webhook.public())

    def _delete(self, call: Call, namespace: Namespace, _shape: Shape) -> Any:
        self.store.delete(namespace, call.route.webhook_id)
        self.effects["delete"] += 1
        return _done("Deleted Webhook successfully.")

    def _add_triggers(self, call: Call, namespace: Namespace, _shape: Shape) -> Any:
        webhook = self.store.get(namespace, call.route.webhook_id)
        outcome: dict[str, Any] = {}
        trigger_ids = _trigger_ids(call.payload)
        allowed = self.store.manners.plan_triggers
        if allowed is not None and not set(trigger_ids) <= set(allowed):
            message = "Your plan does not allow all of these triggers."
            raise ApiError(402, "ERR_PLAN_RESTRICTION", message)
        for trigger_id in trigger_ids:
            if trigger_id not in known_triggers(namespace[1]):
                error = {"code": "ERR_TRIGGER_NOT_FOUND", "message": _no_trigger(trigger_id)}
                outcome[trigger_id] = {"success": False, "error": error}
                continue
            if trigger_id not in webhook.triggers:
                webhook.triggers.append(trigger_id)
            message = "Triggers has been added successfully."
            outcome[trigger_id] = {"success": True, "message": message}
        self.effects["add_triggers"] += 1
        return {"data": outcome}

    def _list_triggers(self, call: Call, namespace: Namespace, _shape: Shape) -> Any:
        webhook = self.store.get(namespace, call.route.webhook_id)
        triggers = [{"id": each, "description": description(each)} for each in webhook.triggers]
        return _page(triggers, DEFAULT_PER_PAGE)

    def _remove_triggers(self, call: Call, namespace: Namespace, _shape: Shape) -> Any:
        webhook = self.store.get(namespace, call.route.webhook_id)
        trigger_ids = _trigger_ids(call.payload)
        for trigger_id in trigger_ids:
            if trigger_id not in known_triggers(namespace[1]):
                raise ApiError(404, "ERR_TRIGGER_NOT_FOUND", _no_trigger(trigger_id))
        webhook.triggers = [each for each in webhook.triggers if each not in trigger_ids]
        self.effects["remove_triggers"] += 1
        return _done("Removed trigger successfully.")


def _trigger_ids(body: Any) -> list[str]:
    trigger_ids = body.get("triggerIds") if isinstance(body, dict) else None
    if not trigger_ids:
        raise bad_request({"triggerIds": ["The triggerIds field is required."]})
    if not isinstance(trigger_ids, list) or not all(isinstance(each, str) for each in trigger_ids):
        raise bad_request({"triggerIds": ["The triggerIds must be an array of strings."]})
    return trigger_ids


def _no_trigger(trigger_id: str) -> str:
    return f"The trigger with the id {trigger_id} does not exist."


def _done(message: str) -> dict[str, Any]:
    return {"data": {"success": True, "message": message}}


def _per_page(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MAX_PER_PAGE:
        complaint = f"The perPage must be a number between 1 and {MAX_PER_PAGE}."
        raise bad_request({"perPage": [complaint]})
    return int(text)


def _page(items: list[dict[str, Any]], per_page: int) -> dict[str, Any]:
    shown = items[:per_page]
    pagination = {
        "total": len(items),
        "count": len(shown),
        "per_page": per_page,
        "current_page": 1,
        "total_pages": max(1, -(-len(items) // per_page)),
    }
    return {"data": shown, "meta": {"pagination": pagination}}
