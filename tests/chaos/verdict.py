"""The verdict: the sandbox's own store against the ledger that the producer kept. No I/O.

*Lost*: accepted (enqueueing returned) and neither created nor failed with a reason. *Doubled*: an
effect at the API twice, or a webhook that exists although its job was said to be cancelled with
nothing under way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from tasks.record import JobRecord
from tasks.states import ENDED
from tests.chaos.producer import Key, Ledger

#: What a history says of an attempt that never reported.
DIED = frozenset({"lost", "handed back"})


@dataclass(frozen=True)
class Verdict:
    """What was found; `problems` are promises that did not hold, besides the first two."""

    lost: Sequence[Key]
    doubled: Sequence[Key]
    repeated: int
    problems: Sequence[str]


def judge(
    ledger: Ledger,
    webhooks: Sequence[Mapping[str, Any]],
    records: Mapping[Key, JobRecord],
    waiting: Set[str] = frozenset(),
) -> Verdict:
    """Compare what the producer knows with what the API has and what the jobs say of themselves.

    Args:
        webhooks: all of the sandbox's store, as its `state` gives them.
        records: what Redis has of the jobs; one that has expired is missing.
        waiting: the ids of jobs that may still wait; their records must say so, too.
    """
    kept: dict[Key, list[Mapping[str, Any]]] = {}
    for one in webhooks:
        kept.setdefault((one["app_id"], one["id"]), []).append(one)
    cancelled = ledger.cancelled | ledger.perhaps_cancelled
    ended_otherwise = {
        key
        for key, record in records.items()
        if (record.state == "FAILURE" and (record.error or {}).get("message"))
        or (record.state == "REVOKED" and key in cancelled)
    }
    waits = {
        key for key, record in records.items() if record.id in waiting and record.state == "PENDING"
    }
    doubled = {
        key
        for key, ones in kept.items()
        if len(ones) > 1
        or ones[0]["created_by_calls"] != 1
        or key in ledger.cancelled
        or _is_said_not_to_be(records.get(key))
    }
    amiss = {
        "created and never asked for": kept.keys() - ledger.accepted - ledger.unsure,
        "not as asked": {key for key in kept if _differs(ledger, key, kept[key][0])},
        "failed": {key for key, record in records.items() if record.state == "FAILURE"},
        "never ended": {
            key for key, record in records.items() if record.state not in ENDED and key not in waits
        },
        "wait, and were created": waits & kept.keys(),
    }
    return Verdict(
        lost=sorted(ledger.accepted - kept.keys() - ended_otherwise - waits),
        doubled=sorted(doubled),
        repeated=sum(
            entry["outcome"] in DIED for record in records.values() for entry in record.history
        ),
        problems=[
            f"{len(keys)} jobs {words}, such as {key} {records.get(key)}"
            for words, keys in amiss.items()
            for key in sorted(keys)[:1]
        ],
    )


def _is_said_not_to_be(record: JobRecord | None) -> bool:
    return record is not None and record.state == "REVOKED" and not record.outcome_unknown


def _differs(ledger: Ledger, key: Key, kept: Mapping[str, Any]) -> bool:
    asked = ledger.asked.get(key)
    if asked is None:
        return False
    wire = asked.wire()
    return any(kept[name] != wire[name] for name in ("name", "webhookURL"))
