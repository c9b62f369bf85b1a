"""Messages that are broken, or for nobody here, as they may come into the queue's list in Redis.

`broken` are to be dropped with a line each, `strange` are whole enough to be looked at. Each holds
the secret somewhere, if it has room for it.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from typing import Any, Final

GONE: Final = object()
MEGABYTES: Final = 10

EMBED: Final = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
#: Stands for the id, another one in each message.
JOB: Final = "no-such-job"
HINT: Final = [[JOB], {}, EMBED]


def message(
    headers: Any = None, properties: Any = None, *, content: Any = HINT, **fields: Any
) -> bytes:
    """A message as kombu writes it into the list, but for what is told; GONE leaves a field out."""
    job = f"{JOB}-{os.urandom(8).hex()}"
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    whole: dict[str, Any] = {
        "body": base64.b64encode(raw.replace(JOB.encode(), job.encode())).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": _merged(
            {
                "lang": "py",
                "task": "tasks.create_webhook",
                "id": job,
                "root_id": job,
                "parent_id": None,
                "retries": 0,
                "argsrepr": f"({job!r},)",
                "kwargsrepr": "{}",
                "origin": "gen1@host",
                "eta": None,
                "expires": None,
                "timelimit": [None, None],
            },
            headers,
        ),
        "properties": _merged(
            {
                "body_encoding": "base64",
                "delivery_tag": os.urandom(8).hex(),
                "delivery_info": {"exchange": "", "routing_key": "webhooks"},
                "delivery_mode": 2,
                "priority": 0,
            },
            properties,
        ),
    }
    return json.dumps(_merged(whole, {k.replace("_", "-"): v for k, v in fields.items()})).encode()


def _merged(whole: Mapping[str, Any], changes: Any) -> Any:
    if changes is None:
        return whole
    if not isinstance(changes, Mapping):
        return changes
    return {name: value for name, value in {**whole, **changes}.items() if value is not GONE}


def no_json(secret: str) -> dict[str, bytes]:
    """What cannot be read at all."""
    return {
        "words": f"{secret}{{".encode(),
        "bytes": b"\xff\xfe\x00" + secret.encode(),
        "nothing": b"",
        "too deep": b"[" * 100_000,
        "a type that cannot be made": b'{"__type__": "uuid", "__value__": 5}',
        "a type that is not known": b'{"__type__": "x", "__value__": 5}',
        "a type that is none": b'{"__type__": [1], "__value__": 5}',
        "ten megabytes of nothing": secret.encode() * (MEGABYTES * 1_000_000 // len(secret)),
    }


def no_message(secret: str) -> dict[str, bytes]:
    """JSON that is no message."""
    values = {
        "a number": 7,
        "a list": [secret],
        "text": secret,
        "null": None,
        "true": True,
        "a mapping": {"a": secret},
    }
    return {
        **{name: json.dumps(value).encode() for name, value in values.items()},
        "without properties": message(properties=GONE),
        "properties of a list": message(properties=[secret]),
        "without delivery tag": message(properties={"delivery_tag": GONE}),
        "delivery tag of a list": message(properties={"delivery_tag": [secret]}),
        "without body": message(body=GONE),
        "body of null": message(body=None),
        "body of a mapping": message(body={"a": secret}),
        "body of a number": message(body=5),
        "body in no base64": message(body="%%%" + secret),
        "unknown body encoding": message(properties={"body_encoding": "rot13"}),
        "body encoding of a list": message(properties={"body_encoding": [secret]}),
        "headers of a list": message(headers=[secret]),
        "headers of text": message(headers=secret),
        "without headers": message(headers=dict.fromkeys(("task", "id", "lang"), GONE)),
    }


def undecodable(secret: str) -> dict[str, bytes]:
    """Messages whose body is encoded in ways that are not read here."""
    python = "application/x-python-serialize"
    return {
        "pickle": message(content=b"\x80\x04]" + secret.encode(), content_type=python),
        "unknown content type": message(content_type="application/x-" + secret),
        "content type of a list": message(content_type=[secret]),
        "without content type": message(content_type=None, content=[secret]),
        "content encoding of a list": message(content_encoding=[secret]),
        "unknown character set": message(content_encoding="utf-99"),
        "unknown compression": message({"compression": secret}),
        "compressed, and is not": message({"compression": "application/x-gzip"}),
        "body of no JSON": message(content=secret.encode()),
    }


def wrong(secret: str) -> dict[str, bytes]:
    """Messages of which no task can be made."""
    return {
        "unknown task": message({"task": "tasks.unknown"}, content=[[secret], {}, EMBED]),
        "task of words": message({"task": f"do {secret}"}),
        "task of a list": message({"task": [secret]}),
        "task of null": message({"task": None}),
        "Celery's own": message({"task": "celery.chord_unlock"}, content=[[secret], {}, EMBED]),
        "of an old Celery": message(
            {"task": GONE}, content={"task": "tasks.prune", "id": "x", "args": [secret]}
        ),
        "without id": message({"id": GONE}),
        "id of null": message({"id": None}),
        "id of a number": message({"id": 5}),
        "id of a list": message({"id": [secret]}),
        "id of no character": message({"id": "\ud800"}),
        "other headers of lists": message({"shadow": [secret]}),
        "body of a list's text": message(content=secret),
        "body of another mapping": message(content={"k": secret}),
        "hybrid body": message(content={"args": [secret], "kwargs": {}}),
        "body too short": message(content=[[secret]]),
        "arguments of a mapping": message(content=[{secret: 1}, {}, EMBED]),
        "arguments of a number": message(content=[5, {}, EMBED]),
        "named arguments of a list": message(content=[[JOB], [secret], EMBED]),
        "an argument twice": message(content=[[JOB], {"job_id": secret}, EMBED]),
        "another job than its id": message(content=[[secret], {}, EMBED]),
        "no argument": message(content=[[], {}, EMBED]),
        "an argument of a mapping": message(content=[[{"a": secret}], {}, EMBED]),
        "ten megabytes": message(content=[[JOB, "x" * MEGABYTES * 1_000_000], {}, EMBED]),
        "ten megabytes in a header": message({"argsrepr": "x" * MEGABYTES * 1_000_000}),
    }


def broken(secret: str) -> dict[str, bytes]:
    """All that must be dropped, and told of."""
    return no_json(secret) | no_message(secret) | undecodable(secret) | wrong(secret)


def strange(secret: str) -> dict[str, bytes]:
    """Hints at a job that there is not, with more or less in them than ours have."""
    return {
        "unknown job": message(),
        "a later version's": message(
            {"schema": 2, "priority": {"of": "app"}},
            content=[[JOB, secret, {"v": 3}], {"newer": True}, {**EMBED, "self": 1}],
        ),
        "an earlier version's": message({"origin": GONE, "timelimit": GONE, "root_id": GONE}),
        "for the end of the century": message({"eta": "2099-01-01T00:00:00+00:00"}),
        "for no time": message({"eta": [secret]}),
        "expired": message({"expires": "2001-01-01T00:00:00+00:00"}),
        "expires at no time": message({"expires": secret}),
        "limits of no time": message({"timelimit": secret}),
        "stamps of a number": message({"stamped_headers": 5}),
        "retries of words": message({"retries": secret}),
        "callbacks of numbers": message(content=[[JOB], {}, {"callbacks": [5]}]),
        "unknown exchange": message(
            properties={"delivery_info": {"exchange": secret, "routing_key": "gone"}}
        ),
        "delivery info of a list": message(properties={"delivery_info": [secret]}),
        "delivery info of nothing": message(properties={"delivery_info": GONE}),
        "priority of a mapping": message(properties={"priority": {"a": secret}}),
        "reply to a list": message(properties={"reply_to": [secret], "correlation_id": {}}),
    }
