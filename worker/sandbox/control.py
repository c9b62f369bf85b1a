"""A client of the sandbox's control calls, for tests and the demo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import quote

import requests

from worker.sandbox.triggers import Version

#: Seconds to connect, and to wait for an answer beyond what the call itself waits.
TIMEOUT: Final = 10.0


class SandboxControl:
    """Controls one running sandbox.

    Args:
        base_url: as the sandbox printed it, such as `http://127.0.0.1:8080`.

    Each method raises `requests.RequestException` when the sandbox cannot be reached, and
    `ValueError` with the sandbox's words when it refuses the call.
    """

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")
        self._session = requests.Session()
        # A proxy of the environment has no business between this client and a loopback tool.
        self._session.trust_env = False

    def close(self) -> None:
        """Close the client's connections."""
        self._session.close()

    def __enter__(self) -> SandboxControl:
        """Return this client; leaving the block closes it."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close the client's connections."""
        self.close()

    def reset(self) -> None:
        """Forget webhooks, faults, calls and counts; drop held calls; restore the settings.

        A timeline that is being played ends.
        """
        self._call("POST", "reset")

    def state(self) -> dict[str, Any]:
        """Return `webhooks`, `calls`, `calls_by_operation`, `faults_served` and `effects`.

        A webhook's `version` is 2 or "legacy"; of its password there is only `password_sha256`;
        `created_by_calls` counts the creates of its id that succeeded. The keys of
        `faults_served` are labels such as `status:503:after`; `effects` counts, for each
        operation, the calls that changed the store.
        """
        return self._call("GET", "state")

    def webhooks(self) -> list[dict[str, Any]]:
        """Return the state's webhooks."""
        return cast("list[dict[str, Any]]", self.state()["webhooks"])

    def calls(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return the last calls of the log (which keeps 10,000), the oldest first.

        Each has time (unix seconds), operation, app_id, webhook_id, version, user_agent, status
        (None when none was sent) and fault (a label, None when no rule fired).
        """
        answer = self._call("GET", "calls", params={"limit": limit})
        return cast("list[dict[str, Any]]", answer["calls"])

    def seconds(self, since: float = 0.0) -> list[dict[str, int]]:
        """Return how many calls arrived in each second from `since` (unix) on, where any did.

        Each has `second` (unix), `calls`, and for each status how many were answered by it, such
        as "200", or "none" for no status. Two hours are kept.
        """
        answer = self._call("GET", "seconds", params={"since": since})
        return cast("list[dict[str, int]]", answer["seconds"])

    def play(self, timeline: Mapping[str, Any] | None = None) -> None:
        """Begin a timeline now: this one, of the form of its files, or that of the command.

        Raises:
            ValueError: it is none, with every bad entry named, or there is none.
        """
        self._call("POST", "timeline", None if timeline is None else dict(timeline))

    def timeline(self) -> dict[str, Any]:
        """Return whether one is `playing`, for how many `seconds`, `about` and what goes on `now`.

        `now` has the words of each entry that holds at present.
        """
        return self._call("GET", "timeline")

    def faults(self, *rules: Mapping[str, Any], add: bool = False) -> None:
        """Put these rules in the place of all others, or with `add` behind them."""
        body = [dict(rule) for rule in rules]
        self._call("POST", "faults", body, params={"add": int(add)})

    def settings(self, **changes: Any) -> None:
        """Change some settings until the next reset.

        Args:
            changes: any of shape, duplicate, latency, app_appears_after, limit (an object with
                calls, seconds and headers, or None), accepted_keys (a list of "old" and "new")
                and the manners (`worker/sandbox/manners.py`).
        """
        self._call("POST", "settings", changes)

    def put_webhook(
        self,
        app_id: str,
        webhook_id: str,
        *,
        name: str,
        url: str,
        version: Version = 2,
        **fields: Any,
    ) -> None:
        """Put a webhook into the store as if somebody else had made it, whatever is there.

        Args:
            app_id: the app's id.
            webhook_id: the webhook's id.
            name: its name.
            url: its webhookURL.
            version: 2 or "legacy".
            fields: others by their wire names, such as `useBasicAuth` or `enabled`, and
                `triggers`, a list of ids.
        """
        body = {"app_id": app_id, "version": version, "id": webhook_id, "name": name}
        self._call("POST", "webhooks", {**body, "webhookURL": url, **fields})

    def delete_webhook(self, app_id: str, webhook_id: str, *, version: Version = 2) -> None:
        """Take a webhook out of the store as if somebody else had deleted it."""
        path = "/".join(quote(part, safe="") for part in (app_id, str(version), webhook_id))
        self._call("DELETE", f"webhooks/{path}")

    def add_apps(self, *app_ids: str, after_seconds: float | None = None) -> None:
        """Make apps that calls find after so many seconds; None for the sandbox's setting."""
        self._call("POST", "apps", {"add": app_ids, "after_seconds": after_seconds})

    def remove_apps(self, *app_ids: str) -> None:
        """Take apps away."""
        self._call("POST", "apps", {"remove": app_ids})

    def wait_for_calls(self, n: int, operation: str | None = None, timeout: float = 10.0) -> int:
        """Wait until at least `n` calls have arrived, of one operation or of all.

        Calls count from their arrival, whatever becomes of them.

        Returns:
            How many have arrived.

        Raises:
            TimeoutError: fewer had arrived after `timeout` seconds (at most 120).
        """
        return self._wait("calls", n, operation, timeout)

    def wait_for_effects(self, n: int, operation: str | None = None, timeout: float = 10.0) -> int:
        """Wait until at least `n` calls have changed the store; else as `wait_for_calls`."""
        return self._wait("effects", n, operation, timeout)

    def wait_for_held(self, n: int = 1, timeout: float = 10.0) -> int:
        """Wait until at least `n` calls are held; else as `wait_for_calls`."""
        return self._wait("held", n, None, timeout)

    def held(self) -> list[dict[str, Any]]:
        """Return operation, app_id, webhook_id, version and when of each held call."""
        return cast("list[dict[str, Any]]", self._call("GET", "held")["held"])

    def release(self) -> int:
        """Let all held calls go on and return how many they were."""
        return int(self._call("POST", "release")["released"])

    def _wait(self, what: str, n: int, operation: str | None, timeout: float) -> int:
        params: dict[str, str | float] = {what: n, "timeout": timeout}
        if operation is not None:
            params["operation"] = operation
        return int(self._call("GET", "wait", params=params, patience=timeout)["reached"])

    def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, str | float] | None = None,
        patience: float = 0.0,
    ) -> dict[str, Any]:
        url = f"{self.base_url}/_sandbox/{path}"
        timeout = (TIMEOUT, TIMEOUT + patience)
        response = self._session.request(method, url, json=body, params=params, timeout=timeout)
        answer: Any = response.json()
        if response.status_code == 408:
            raise TimeoutError(f"{path} {dict(params or {})}: only {answer['reached']} so far")
        if response.status_code != 200:
            raise ValueError(f"{method} {path}: {answer['error']} {answer.get('details', '')}")
        return cast("dict[str, Any]", answer)
