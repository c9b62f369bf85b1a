"""Records and messages as an older version wrote them, kept in `records/v1.json`.

`python -m tests.chaos.old_records REVISION` makes that file anew, with that version's code.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis

from config.broker import QUEUE
from tasks.jobs import PREFIX
from tasks.record import JobRecord, job_id
from tests.chaos.harness import SETTINGS
from tests.chaos.keyspace import TIMES
from tests.chaos.older import Item, OlderVersion
from tests.conftest import eventually
from worker.sandbox import SandboxControl
from worker.stack import GUARDED, Stack

FILE: Final = Path(__file__).parent / "records" / "v1.json"

#: Opens the password of the file.
SEALING_KEY: Final = base64.urlsafe_b64encode(b"a key for nothing but the tests!").decode()
PASSWORD: Final = "forNothingButTheTests"

#: How the API treats each app's webhook, and the state in which its job is found.
FAULTS: Final = (
    {"app_id": "refused", "kind": "status", "status": 400, "code": "ERR_BAD_REQUEST"},
    {"app_id": "limited", "kind": "rate_limit", "seconds": 3600},
    {"app_id": "created-late", "kind": "status", "status": 503, "when": "after"},
    {"app_id": "unavailable", "kind": "status", "status": 503},
    {"app_id": "running", "kind": "hold", "seconds": 600},
    {"app_id": "running-cancelled", "kind": "hold", "seconds": 600},
)
TRIED: Final = {
    "created": "SUCCESS",
    "refused": "FAILURE",
    "limited": "RETRY",
    "created-late": "RETRY",
    "unavailable": "RETRY",
    "running": "STARTED",
    "running-cancelled": "STARTED",
}
#: Not tried any more, as the worker has gone.
NEW: Final = ("with-a-password", "legacy", "later", "revoked", *(f"new-{n}" for n in range(4)))
PIPE_SIZE: Final = 4

#: Seconds since the older version was switched off; by now everything is due.
AGO: Final = 7_200.0


@dataclass(frozen=True)
class OldRecords:
    """What Redis and the API had when the older version was switched off."""

    revision: str
    #: The instant at which they were read, by Redis's clock.
    at: float
    #: Redis's keys: hashes, sorted sets as {member: score}, and the queue, which is a list.
    keys: Mapping[str, Any]
    #: The API's webhooks: app id, version (2 or null), and the webhook.
    webhooks: list[list[Any]]

    @classmethod
    def read(cls) -> OldRecords:
        """Those of the file."""
        return cls(**json.loads(FILE.read_text()))

    def records(self) -> dict[str, JobRecord]:
        """The records by their apps, each of which has one job."""
        found = (
            JobRecord.read(key.removeprefix(PREFIX + "job:"), fields)
            for key, fields in self.keys.items()
            if key.startswith(PREFIX + "job:")
        )
        return {record.app_id: record for record in found}

    def write(self, client: redis.Redis, *, expire_seconds: int) -> None:
        """Put them into an empty Redis, as if all that was AGO; ended jobs' records expire."""
        later = client.time()[0] - AGO - self.at
        for key, value in self.keys.items():
            if isinstance(value, list):
                client.rpush(key, *value)
            elif key.startswith(PREFIX + "job:"):
                times = {name: float(value[name]) + later for name in TIMES if name in value}
                client.hset(key, mapping={**value, **times})
                if value["state"] in {"SUCCESS", "REVOKED"}:
                    client.expire(key, expire_seconds)
            else:
                client.zadd(key, {member: score + later for member, score in value.items()})


def make(revision: str) -> OldRecords:
    """Let that version work, switch it off in the middle, and keep what is there."""
    settings = {**SETTINGS, "RETRY_BASE_SECONDS": "600", "RETRY_MAX_DELAY_SECONDS": "600"}
    # Nobody is told how a job ended: that is left to do, too.
    settings["CELERY_RESULT_BACKEND"] = "redis://127.0.0.1:1/0"
    settings[GUARDED] = ""  # of which older versions do not know
    with Stack(**settings, PIPE_SIZE=str(PIPE_SIZE), SEALING_KEYS=SEALING_KEY) as stack:
        version = OlderVersion(revision, stack.folder)
        client = redis.Redis.from_url(stack.start_redis().url, decode_responses=True)
        sandbox = SandboxControl(stack.start_sandbox())
        sandbox.faults(*FAULTS)
        worker = stack.start_worker("older", **version.env)
        worker.wait_for_line(" ready.")
        version.enqueue(stack.env, [_item(app) for app in TRIED])
        eventually(lambda: all(_state(client, app) == state for app, state in TRIED.items()), 60)
        version.run(stack.env, "-m", "tasks", "cancel", _job_id("running-cancelled"))
        worker.kill()
        version.enqueue(stack.env, [_item(app) for app in NEW])
        version.run(stack.env, "-m", "tasks", "cancel", _job_id("revoked"))
        webhooks = [
            [one["app_id"], None if one["version"] == "legacy" else 2, _wire(one["app_id"])]
            for one in sandbox.webhooks()
        ]
        return OldRecords(version.name, client.time()[0], _dump(client), webhooks)


def _wire(app: str) -> dict[str, Any]:
    url = f"https://shop.example.com/{app}"
    return {"id": "orders", "name": "Orders", "webhookURL": url}


def _item(app: str) -> Item:
    match app:
        case "with-a-password":
            return app, {**_wire(app), "username": "shop", "password": PASSWORD}, {}
        case "legacy":
            return app, _wire(app), {"webhook_version": None}
        case "later" | "revoked":
            return app, _wire(app), {"not_before": time.time() + AGO / 2}
    return app, _wire(app), {}


def _job_id(app: str) -> str:
    return job_id("default", app, "orders")


def _state(client: Any, app: str) -> Any:
    return client.hget(f"{PREFIX}job:{_job_id(app)}", "state")


def _dump(client: Any) -> dict[str, Any]:
    read = {
        "hash": client.hgetall,
        "zset": lambda key: dict(client.zrange(key, 0, -1, withscores=True)),
        "list": lambda key: client.lrange(key, 0, -1),
    }
    keys = sorted([QUEUE, *client.scan_iter(f"{PREFIX}*")])
    return {key: read[client.type(key)](key) for key in keys}


if __name__ == "__main__":
    made = make(sys.argv[1])
    FILE.write_text(json.dumps(made.__dict__, indent=1, sort_keys=True) + "\n")
