"""The webhooks of all apps, in memory."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from worker.sandbox.answers import ApiError, bad_request
from worker.sandbox.limits import DEFAULTS, MAX_WEBHOOKS_PER_APP
from worker.sandbox.manners import PLAIN, Duplicate, Manners
from worker.sandbox.triggers import Version

#: A namespace of ids: legacy webhooks and those of version 2 do not see each other.
Namespace = tuple[str, Version]


@dataclass(slots=True)
class Webhook:
    """A webhook: `fields` by their wire names, its instants in unix seconds, its triggers."""

    fields: dict[str, Any]
    created_at: int
    updated_at: int
    triggers: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The id that the client chose."""
        return str(self.fields["id"])

    def public(self) -> dict[str, Any]:
        """Return what the API's answers show of it: neither credentials nor triggers."""
        fields = self.fields
        return {
            "id": fields["id"],
            "name": fields["name"],
            "webhookURL": fields["webhookURL"],
            "enabled": fields["enabled"],
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
        }


class Store:
    """All webhooks, by app and version.

    Args:
        duplicate: the status with which `create` refuses an id that is taken.
        clock: returns unix seconds.
        manners: how it does what no documentation says; can be changed.
    """

    def __init__(
        self,
        duplicate: Duplicate = 400,
        clock: Callable[[], float] = time.time,
        manners: Manners = PLAIN,
    ) -> None:
        self.duplicate = duplicate
        self.manners = manners
        self._clock = clock
        self._webhooks: dict[Namespace, dict[str, Webhook]] = {}
        self._creates: Counter[tuple[Namespace, str]] = Counter()

    def create(self, namespace: Namespace, fields: dict[str, Any]) -> Webhook:
        """Keep a new webhook with these fields, all of which are given, and return it.

        Raises:
            ApiError: the id is taken, or the app has 25 webhooks of this version, or some of the
                other one and may not have both.
        """
        fields = self.manners.tidied(fields)
        there = self._webhooks.setdefault(namespace, {})
        if fields["id"] in there:
            raise self._duplicate_error(fields["id"])
        if self.manners.exclusive_versions and self._has_other_version(namespace):
            raise bad_request({"X-Webhook-Version": ["The app has webhooks of the other version."]})
        if len(there) >= MAX_WEBHOOKS_PER_APP:
            raise ApiError(
                400,
                "ERR_PLAN_QUOTA_RESTRICTION",
                f"The app has reached the limit of {MAX_WEBHOOKS_PER_APP} webhooks.",
            )
        self._creates[namespace, fields["id"]] += 1
        return self.put(namespace, fields)

    def put(self, namespace: Namespace, fields: dict[str, Any]) -> Webhook:
        """Keep a webhook whatever is there, as if somebody else had made it, and return it."""
        now = int(self._clock())
        webhook = Webhook(dict(fields), created_at=now, updated_at=now)
        self._webhooks.setdefault(namespace, {})[webhook.id] = webhook
        return webhook

    def get(self, namespace: Namespace, webhook_id: str) -> Webhook:
        """Return the webhook.

        Raises:
            ApiError: 404 ERR_WEBHOOK_NOT_FOUND.
        """
        webhook = self._webhooks.get(namespace, {}).get(self.manners.id_of(webhook_id))
        if webhook is None:
            message = f"The webhook with the id {webhook_id} does not exist."
            raise ApiError(404, "ERR_WEBHOOK_NOT_FOUND", message)
        return webhook

    def of(self, namespace: Namespace) -> list[Webhook]:
        """Return the webhooks of one app and version, the oldest first."""
        return [*self._webhooks.get(namespace, {}).values()]

    def update(self, namespace: Namespace, webhook_id: str, fields: dict[str, Any]) -> Webhook:
        """Change these fields and return the webhook.

        Raises:
            ApiError: 404 ERR_WEBHOOK_NOT_FOUND.
        """
        webhook = self.get(namespace, webhook_id)
        taken = {name: value for name, value in fields.items() if name not in self.manners.ignores}
        if self.manners.update == "replaces":
            taken = {**DEFAULTS, **taken}
        webhook.fields.update(self.manners.tidied(taken))
        webhook.updated_at = int(self._clock())
        return webhook

    def delete(self, namespace: Namespace, webhook_id: str) -> None:
        """Forget the webhook.

        Raises:
            ApiError: 404 ERR_WEBHOOK_NOT_FOUND.
        """
        webhook = self.get(namespace, webhook_id)
        del self._webhooks[namespace][webhook.id]

    def state(self) -> list[dict[str, Any]]:
        """Return all webhooks with everything known of them, but of a password only its SHA-256.

        `created_by_calls` counts the creates of this id that succeeded, 0 for a webhook that
        was put there, 2 for one that was deleted and created once more.
        """
        return [
            self._snapshot(namespace, webhook)
            for namespace, there in self._webhooks.items()
            for webhook in there.values()
        ]

    def _snapshot(self, namespace: Namespace, webhook: Webhook) -> dict[str, Any]:
        password = webhook.fields["password"]
        return {
            "app_id": namespace[0],
            "version": namespace[1],
            **{name: value for name, value in webhook.fields.items() if name != "password"},
            "password_sha256": password and hashlib.sha256(password.encode()).hexdigest(),
            "createdAt": webhook.created_at,
            "updatedAt": webhook.updated_at,
            "created_by_calls": self._creates[namespace, webhook.id],
            "triggers": [*webhook.triggers],
        }

    def _has_other_version(self, namespace: Namespace) -> bool:
        app_id, version = namespace
        other: Version = "legacy" if version == 2 else 2
        return bool(self._webhooks.get((app_id, other)))

    def _duplicate_error(self, webhook_id: str) -> ApiError:
        message = f"The webhook with the id {webhook_id} already exists."
        code = self.manners.duplicate_code
        if code is None and self.duplicate == 409:
            code = "ERR_WEBHOOK_ALREADY_EXISTS"
        if code is not None:
            return ApiError(self.duplicate, code or None, message)
        return bad_request({"id": ["The id has already been taken."]}, status=self.duplicate)
