"""How the API may play one call, and what its client is told by that.

Each play is a rule of the sandbox's faults with the class of failure that the answer must be read
as. The table is written from CometChat's documentation and the README's failure table, not from
the program, so that it can judge the program.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

#: What a call tells, if it tells the truth: created or refused, found or absent.
TRUTH: Final = "the truth"
#: What an answer to a create tells that has the webhook's id, and a name or URL that nobody makes
#: of what was sent: the API stores it so, or the answer is another call's. A look decides.
IN_DOUBT: Final = "shown otherwise"
#: What an attempt was told whose worker ended in the middle of the call.
NOTHING: Final = "nothing"

LOST = "ApiUnavailable"
#: What waiting may help. The others are final.
TRANSIENT: Final = frozenset({LOST, "RateLimited", "AccountRejected", "AppNotFound"})

#: Seconds after which a client gives up on a call that is held or drips.
IMPATIENCE: Final = 0.04


@dataclass(frozen=True)
class Play:
    """The sandbox's `rule`, what the client is `told`, and how long it waits for that."""

    told: str
    rule: Mapping[str, Any] = field(default_factory=dict)
    deadline: float | None = None
    killed: Literal["before", "after"] | None = None


def status(number: int, code: str | None = None, **fields: Any) -> dict[str, Any]:
    """The rule for an error in the API's envelope."""
    return {"kind": "status", "status": number, "code": code, **fields}


def _both(told: str, rules: Mapping[str, Mapping[str, Any]], **options: Any) -> dict[str, Play]:
    """Each rule instead of the effect and after it."""
    return {
        f"{name}, {'with' if when == 'after' else 'no'} effect": Play(
            told, {**rule, "when": when}, **options
        )
        for name, rule in rules.items()
        for when in ("before", "after")
    }


def _plain(told: str, rules: Mapping[str, Mapping[str, Any]], **options: Any) -> dict[str, Play]:
    return {name: Play(told, rule, **options) for name, rule in rules.items()}


def _webhook(**fields: Any) -> str:
    """An answer about the webhook as asked, but for these fields."""
    asked = {"id": "orders", "name": "Orders", "webhookURL": "https://shop.example.com/hook"}
    return json.dumps({"data": {**asked, **fields}})


_TRUE: Final = {
    "true": Play(TRUTH, {"kind": "latency", "seconds": 0}),
    "slow": Play(TRUTH, {"kind": "latency", "seconds": 0.01}),
    **{
        f"wrapped as {shape}": Play(TRUTH, {"kind": "shape", "shape": shape})
        for shape in ("list", "nested", "inner_list", "empty_key")
    },
}
_UNREADABLE: Final = {
    "reset": {"kind": "cut"},
    "closed": {"kind": "cut", "reset": False},
    "garbage": {"kind": "garbage"},
    "truncated": {"kind": "truncated"},
    "empty": {"kind": "empty"},
    "a page with 200": {"kind": "html", "status": 200},
    "too large": {"kind": "huge", "bytes": 1_100_000},
    "about another": status(200, body=_webhook(id="another")),
    "no webhook": status(200, body=json.dumps({"data": {"success": True}})),
    "a page with 502": {"kind": "html", "status": 502},
    "408": status(408),
    "425": status(425),
    "500": status(500, "ERR_EXCEPTION"),
    "500 for the request": status(500, "ERR_BAD_REQUEST"),
    "400 of a gateway": status(400, "ERR_BAD_ERROR_RESPONSE"),
    "500 of the database": status(500, "ERR_OPERATION_FAILED"),
    "200 with an error": status(200, "ERR_MISSION_FAILED"),
    "503": status(503),
}
_WAITS: Final = {
    **_both(
        "RateLimited",
        {
            "429": {"kind": "rate_limit", "seconds": 1},
            "429 without a time": {"kind": "rate_limit", "headers_style": "none"},
            "400 for too many": status(400, "ERR_TOO_MANY_REQUESTS"),
        },
    ),
    **_both(
        "AccountRejected",
        {
            "401": status(401, "AUTH_ERR_INVALID_SECRET_KEY"),
            "401 that repeats the request": {"kind": "echo"},
            "403": status(403),
            "404 of a gateway": {"kind": "html", "status": 404},
            "redirect": {"kind": "redirect"},
            "402 for the account": status(402, "ERR_SUBSCRIPTION_EXPIRED"),
            "400 for the key": status(400, "AUTH_ERR_APIKEY_NOT_FOUND"),
        },
    ),
    **_both(
        "AppNotFound",
        {
            "404 for the app": status(404, "ERR_APP_NOT_FOUND"),
            "401 for the app": status(401, "AUTH_ERR_INVALID_APPID"),
        },
    ),
}
_KILLED: Final = {
    "killed before": Play(NOTHING, killed="before"),
    "killed after": Play(NOTHING, {"kind": "latency", "seconds": 0}, killed="after"),
}

CREATES: Final[Mapping[str, Play]] = {
    **_TRUE,
    **_both(LOST, _UNREADABLE),
    **_both(
        IN_DOUBT,
        {
            "another's name": status(200, body=_webhook(name="Invoices")),
            "another's URL": status(200, body=_webhook(webhookURL="https://other.example.com/")),
        },
    ),
    **_both(LOST, {"held": {"kind": "hold"}}, deadline=IMPATIENCE),
    **_plain(LOST, {"dripping": {"kind": "drip"}}, deadline=IMPATIENCE),
    **_WAITS,
    **_KILLED,
    # These may mean "there is one already", and so they may come with an effect.
    **_both(
        "WebhookRejected",
        {
            "400": status(400, "ERR_BAD_REQUEST"),
            "409": status(409, "ERR_WEBHOOK_ALREADY_EXISTS"),
            "403 for the id": status(403, "ERR_WEBHOOK_ALREADY_EXISTS"),
            "417": status(417),
            "422": status(422, "ERR_BAD_REQUEST"),
        },
    ),
    **_both("PlanLimit", {"quota": status(400, "ERR_PLAN_QUOTA_RESTRICTION")}),
    # These cannot.
    **_plain("PlanLimit", {"402": status(402, "ERR_PLAN_RESTRICTION")}),
    **_plain("WebhookRejected", {"405": status(405), "413": status(413, "ERR_TOO_LARGE")}),
}

READS: Final[Mapping[str, Play]] = {
    **_TRUE,
    **_plain(LOST, _UNREADABLE),
    **_plain(LOST, {"held": {"kind": "hold"}, "dripping": {"kind": "drip"}}, deadline=IMPATIENCE),
    **_plain(LOST, {"without its name": status(200, body='{"data":{"id":"orders"}}')}),
    **{name: play for name, play in _WAITS.items() if name.endswith("no effect")},
    **_KILLED,
    **_plain("WebhookRejected", {"400": status(400, "ERR_BAD_REQUEST"), "405": status(405)}),
    # Not the truth, but what an API may say that reads from a copy which lags behind.
    **_plain("absent", {"not yet seen": status(404, "ERR_WEBHOOK_NOT_FOUND")}),
}

#: How an update may go, and the adding of triggers, to which `{"success": true}` is an answer.
CHANGES: Final[Mapping[str, Play]] = {
    "true": _TRUE["true"],
    "slow": _TRUE["slow"],
    **_both(LOST, {name: rule for name, rule in _UNREADABLE.items() if name != "no webhook"}),
    **_WAITS,
    **_KILLED,
}
