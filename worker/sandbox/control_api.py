"""The control calls under `/_sandbox/`: what tests and the demo ask of the sandbox itself."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast
from urllib.parse import unquote

from aiohttp import web

from worker.sandbox.answers import ApiError, encode
from worker.sandbox.app import Sandbox
from worker.sandbox.faults import parse_rules
from worker.sandbox.limits import checked_create
from worker.sandbox.player import Player
from worker.sandbox.routes import OPERATIONS
from worker.sandbox.timeline import parse_timeline
from worker.sandbox.triggers import Version

CONTROL_PREFIX: Final = "/_sandbox/"
#: The longest that one wait lasts, in seconds.
MAX_WAIT: Final = 120.0

_Handler = Callable[[web.BaseRequest, Any], Awaitable[Any]]


class ControlApi:
    """Answers the control calls about one sandbox. They need no credentials and never fail."""

    def __init__(self, sandbox: Sandbox, player: Player) -> None:
        self._sandbox = sandbox
        self._player = player
        self._handlers: dict[tuple[str, str], _Handler] = {
            ("POST", "reset"): self._reset,
            ("GET", "state"): self._state,
            ("GET", "calls"): self._calls,
            ("GET", "seconds"): self._seconds,
            ("GET", "timeline"): self._timeline,
            ("POST", "timeline"): self._play,
            ("POST", "faults"): self._faults,
            ("POST", "settings"): self._settings,
            ("POST", "webhooks"): self._put_webhook,
            ("POST", "apps"): self._apps,
            ("GET", "wait"): self._wait,
            ("GET", "held"): self._held,
            ("POST", "release"): self._release,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a control call: 200 with JSON, 400 or 404 with `{"error": ...}`, or 408."""
        path = request.raw_path.partition("?")[0].removeprefix(CONTROL_PREFIX)
        body = await request.read()
        try:
            payload = json.loads(body) if body else None
            handler = self._handlers.get((request.method, path))
            if handler is not None:
                return _json(await handler(request, payload))
            if request.method == "DELETE" and path.startswith("webhooks/"):
                return _json(self._delete_webhook(path.removeprefix("webhooks/")))
            return _json({"error": f"There is no control call {request.method} {path}."}, 404)
        except _Elapsed as elapsed:
            return _json({"error": "The time is over.", "reached": elapsed.reached}, 408)
        except ApiError as error:
            return _json({"error": error.message, "details": error.details}, error.status)
        except (ValueError, TypeError) as error:
            return _json({"error": str(error)}, 400)

    async def _reset(self, _request: web.BaseRequest, _payload: Any) -> Any:
        self._player.stop()
        self._sandbox.reset()
        return {"ok": True}

    async def _state(self, _request: web.BaseRequest, _payload: Any) -> Any:
        sandbox = self._sandbox
        return {
            "webhooks": sandbox.store.state(),
            "calls": sandbox.journal.total,
            "calls_by_operation": dict(sandbox.journal.by_operation),
            "faults_served": dict(sandbox.faults.served),
            "effects": dict(sandbox.operations.effects),
        }

    async def _calls(self, request: web.BaseRequest, _payload: Any) -> Any:
        limit = int(request.query.get("limit", "100"))
        return {"calls": self._sandbox.journal.last(limit)}

    async def _seconds(self, request: web.BaseRequest, _payload: Any) -> Any:
        since = float(request.query.get("since", "0"))
        return {"seconds": self._sandbox.journal.tally.since(since)}

    async def _timeline(self, _request: web.BaseRequest, _payload: Any) -> Any:
        return self._player.state()

    async def _play(self, _request: web.BaseRequest, payload: Any) -> Any:
        self._player.play(None if payload is None else parse_timeline(payload))
        return self._player.state()

    async def _faults(self, request: web.BaseRequest, payload: Any) -> Any:
        rules = parse_rules(payload)
        if request.query.get("add", "0") in ("1", "true"):
            self._sandbox.faults.add(rules)
        else:
            self._sandbox.faults.replace(rules)
        return {"ok": True, "rules": len(rules)}

    async def _settings(self, _request: web.BaseRequest, payload: Any) -> Any:
        settings = self._sandbox.settings.changed(_object(payload))
        self._sandbox.apply(settings)
        return {"ok": True}

    async def _put_webhook(self, _request: web.BaseRequest, payload: Any) -> Any:
        fields = _object(payload)
        app_id = fields.get("app_id")
        if not isinstance(app_id, str) or not app_id:
            raise ValueError("The app_id is missing.")
        namespace = app_id, _version(str(fields.get("version", 2)))
        webhook = self._sandbox.store.put(namespace, checked_create(fields))
        webhook.triggers.extend(fields.get("triggers", ()))
        return {"ok": True}

    def _delete_webhook(self, path: str) -> Any:
        parts = [unquote(part) for part in path.split("/")]
        if len(parts) != 3:
            raise ValueError("The path must be webhooks/{app}/{version}/{id}.")
        self._sandbox.store.delete((parts[0], _version(parts[1])), parts[2])
        return {"ok": True}

    async def _apps(self, _request: web.BaseRequest, payload: Any) -> Any:
        fields = _object(payload)
        after = fields.get("after_seconds")
        for app_id in fields.get("add", ()):
            self._sandbox.apps.add(app_id, None if after is None else float(after))
        for app_id in fields.get("remove", ()):
            self._sandbox.apps.remove(app_id)
        return {"ok": True}

    async def _wait(self, request: web.BaseRequest, _payload: Any) -> Any:
        query = request.query
        operation = query.get("operation")
        if operation is not None and operation not in OPERATIONS:
            raise ValueError(f"There is no operation {operation}.")
        sandbox = self._sandbox
        counts: dict[str, Callable[[], int]] = {
            "calls": lambda: sandbox.journal.calls(operation),
            "effects": lambda: sandbox.operations.effects_of(operation),
            "held": lambda: len(sandbox.holds),
        }
        asked = [name for name in counts if name in query]
        if len(asked) != 1:
            raise ValueError("Wait for one of calls, effects, held.")
        count, wanted = counts[asked[0]], int(query[asked[0]])
        timeout = min(float(query.get("timeout", "10")), MAX_WAIT)
        if not await sandbox.journal.until(lambda: count() >= wanted, timeout):
            raise _Elapsed(count())
        return {"reached": count()}

    async def _held(self, _request: web.BaseRequest, _payload: Any) -> Any:
        return {"held": self._sandbox.holds.held()}

    async def _release(self, _request: web.BaseRequest, _payload: Any) -> Any:
        return {"released": self._sandbox.holds.end(proceed=True)}


class _Elapsed(Exception):
    def __init__(self, reached: int) -> None:
        self.reached = reached


def _object(payload: Any) -> dict[str, Any]:
    if not isinstance(payload, dict):
        raise ValueError("The body must be a JSON object.")
    return payload


def _version(text: str) -> Version:
    if text not in ("2", "legacy"):
        raise ValueError(f"The version must be 2 or legacy, not {text}.")
    return 2 if text == "2" else cast(Version, "legacy")


def _json(payload: Any, status: int = 200) -> web.Response:
    headers = {"Content-Type": "application/json"}
    return web.Response(body=encode(payload), status=status, headers=headers)
