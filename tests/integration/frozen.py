"""An API that is a dictionary, and the attempts of one webhook's jobs, which may stand still."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import redis
from celery.exceptions import Ignore

from config.settings import get_settings
from tasks import create_webhook as attempts
from tasks import turn
from tasks.errors import WebhookNotFound
from tasks.jobs import LEASE_SECONDS, JobStore
from tests.integration.steps import new_job

URL = "https://a.example/"


class Api:
    """An app with one webhook. `pauses` run once, right before or behind the call of that name."""

    def __init__(self) -> None:
        self.webhook: dict[str, Any] | None = None
        self.triggers: list[str] = []
        self.calls: list[str] = []
        self.pauses: dict[str, Callable[[], None]] = {}
        self.guard: Any = None

    def guarded(self, guard: Any, *_: Any) -> Api:
        client = Api()
        client.__dict__ = {**self.__dict__, "guard": guard, "of": self}
        return client

    def _call(self, name: str, changes: bool) -> Api:
        api: Api = self.of  # type: ignore[attr-defined]
        self.guard.before_call()
        if changes:
            self.guard.before_bytes()
        if pause := api.pauses.pop(f"before {name}", None):
            pause()
        api.calls.append(name)
        self.guard.after_call({})
        return api

    def _then(self, name: str) -> None:
        if pause := self.of.pauses.pop(name, None):  # type: ignore[attr-defined]
            pause()

    def create_webhook(self, app: str, webhook: Any, **_: Any) -> Any:
        api = self._call("create", True)
        api.webhook, api.triggers = dict(webhook.wire()), []
        self._then("create")
        return api.webhook

    def get_webhook(self, *_: Any, **__: Any) -> Any:
        found = self._call("get", False).webhook
        found = found and dict(found)
        self._then("get")
        if found is None:
            raise WebhookNotFound("none")
        return found

    def update_webhook(self, app: str, webhook: str, changes: Any, **_: Any) -> Any:
        api = self._call("update", True)
        assert api.webhook is not None
        api.webhook |= changes
        self._then("update")
        return dict(api.webhook)

    def delete_webhook(self, *_: Any, **__: Any) -> None:
        self._call("delete", True).webhook = None

    def list_triggers(self, *_: Any, **__: Any) -> list[str]:
        api = self._call("list", False)
        found = list(api.triggers)
        self._then("list")
        return found

    def add_triggers(self, app: str, webhook: str, names: Any, **_: Any) -> dict[str, bool]:
        api = self._call("add", True)
        api.triggers = list(dict.fromkeys([*api.triggers, *names]))
        self._then("add")
        return dict.fromkeys(names, True)

    def remove_triggers(self, app: str, webhook: str, names: Any, **_: Any) -> None:
        api = self._call("remove", True)
        api.triggers = [one for one in api.triggers if one not in names]
        self._then("remove")


class Worlds:
    """The jobs of one webhook, and whoever runs them."""

    def __init__(self, store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store, self.monkeypatch = store, monkeypatch
        self.client = redis.Redis.from_url(get_settings().redis_url.get_secret_value())
        self.stood_still = 0.0
        clock, self.ids = turn.clock, itertools.count()
        monkeypatch.setattr(turn, "clock", lambda: clock() + self.stood_still)

    def add(self, action: str = "create", **fields: Any) -> str:
        job = new_job(**{"name": "orders", "action": action, **fields.pop("more", {})})
        if action != "create":
            wire = {"id": "orders", **fields}
            its_id = f"{next(self.ids):08d}-0000-5000-8000-000000000000"
            job = replace(job, id=its_id, webhook=wire, chain=job.id)
        [[added], _] = self.store.add([job])
        return added.record.id

    def run(self, job: str) -> None:
        """An attempt of any worker, whose end is of no interest."""
        with suppress(Ignore):
            attempts.create_webhook.apply(args=(job,), task_id=job, throw=True)

    def stand_still(self, *jobs: str) -> Callable[[], None]:
        """The lease of the first ends, and another worker runs these meanwhile."""

        def pause() -> None:
            self.client.zadd("webhooks:running", {jobs[0]: 1})
            self.stood_still += LEASE_SECONDS
            for job in jobs:
                self.store.take_due(queued=0)
                # It stands still for longer than any call may take.
                self.client.hdel(f"webhooks:job:{jobs[0]}", "quiet_until")
                if self.client.zscore("webhooks:waiting", job):
                    self.client.zadd("webhooks:waiting", {job: 1})
                self.run(job)

        return pause

    def state(self, job: str) -> str:
        return self.store.get(job).state

    def run_all(self) -> None:
        """What is due runs, until nothing is."""
        for _ in range(20):
            if not (hints := self.store.take_due(queued=0).hints):
                return
            for job in hints:
                self.run(job)
