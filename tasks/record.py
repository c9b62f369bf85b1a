"""A job as it stands in Redis, read into Python. No I/O."""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self

from tasks.errors import RecordUnreadable
from tasks.more import VERSION, More, instant, seconds
from tasks.states import STATES

log = logging.getLogger("tasks")

#: The namespace of job ids; changing it would make every webhook a new job.
JOB_NAMESPACE: Final = uuid.UUID("6f1f3a43-2f0b-5d0a-9d52-7a1f6e0c9b11")


@lru_cache(maxsize=256)  # sealing a password asks again for what was just asked
def job_id(account: str, app_id: str, webhook_id: str) -> str:
    """The id of the one job of this webhook: UUIDv5 of account, app id and webhook id."""
    return str(uuid.uuid5(JOB_NAMESPACE, json.dumps([account, app_id, webhook_id])))


#: An escape for half of a pair, without which it stands for no character.
_HALF: Final = re.compile(r"\\u[dD][89a-fA-F]")


class Due(NamedTuple):
    """What `take_due` found: ids of jobs to hint at; seconds to the next due job; how many jobs are
    hinted at, these among them."""

    hints: Sequence[str]
    next_due: float | None
    hinted: int


class Rescheduled(NamedTuple):
    """What `reschedule` did: the state that follows, and what has just closed the gate, if so."""

    state: str
    closed: str | None = None


def is_known(fields: Mapping[str, str] | None) -> bool:
    """Whether there is a record, damaged or not, in a layout that this version knows."""
    if fields is None:  # a key that is no hash
        return True
    version = re.fullmatch("0*([1-9][0-9]*)", fields.get("v", ""))
    # As numbers, but of any length.
    return bool(fields) and not (version and (len(version[1]), version[1]) > (1, str(VERSION)))


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One job. Instants are unix seconds of Redis's clock.

    `attempt` numbers every claim and, with the claim's `token`, fences off stale ones; `attempts`
    counts those that are used up, which a wait for the account is not.
    """

    id: str
    state: str
    account: str
    app_id: str
    webhook: Mapping[str, Any]
    webhook_version: int | None
    created_at: float
    #: Of the password, if it has one; see `tasks/sealing.py`. Told by `claim` and `with_passwords`
    #: alone.
    sealed_password: str | None = None
    mark: str | None = None
    more: More = More()
    attempt: int = 0
    attempts: int = 0
    holds: int = 0
    outcome_unknown: bool = False
    cancelled: bool = False
    due_at: float | None = None
    first_attempt_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    worker: str | None = None
    token: str = ""
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    history: tuple[Mapping[str, Any], ...] = ()
    alerted: str | None = None
    #: Of the same webhook: the job that this one waits for or waited for, and the one that follows.
    after: str | None = None
    followed_by: str | None = None
    #: Told by `claim`: seconds until the call's turn; of the job's life, those of a closed gate.
    turn_in: float = 0.0
    closed_for: float = 0.0
    #: Told by `claim`: the API refused this job, and took another call of its account since.
    refused_alone: bool = False

    @property
    def fence(self) -> dict[str, str | int]:
        """What steps take of the attempt that has this record."""
        return {"id": self.id, "attempt": self.attempt, "token": self.token}

    @property
    def webhook_id(self) -> str:
        """The id of the webhook at CometChat."""
        return str(self.webhook.get("id"))

    @property
    def has_password(self) -> bool:
        """Whether the webhook was asked for with a password."""
        return self.mark is not None

    @property
    def age(self) -> float:
        """Seconds from the first attempt to the start of the running one, with an open gate."""
        began = self.first_attempt_at or self.started_at or 0.0
        return max((self.started_at or 0.0) - began - self.closed_for, 0.0)

    def is_expired(self, now: float) -> bool:
        """Whether nobody needs the webhook any more at `now`, by Redis's clock."""
        return self.more.expires_at is not None and self.more.expires_at <= now

    @property
    def failure(self) -> str:
        """The class and code of the last error, such as `PlanLimit:ERR_PLAN_RESTRICTION`."""
        error = self.error or {}
        return f"{error.get('class', '')}:{error.get('code') or ''}"

    @classmethod
    def read(cls, job_id: str, fields: Mapping[str, str] | None) -> Self:
        """Make a record of the fields of its Redis hash. Raises `RecordUnreadable`."""
        try:
            return cls._read(job_id, fields or {})
        except (KeyError, TypeError, ValueError, RecursionError):
            pass
        raise RecordUnreadable(job_id)

    @classmethod
    def _read(cls, job_id: str, fields: Mapping[str, str]) -> Self:
        "".join(fields.values()).encode()  # raises ValueError if it was no UTF-8
        int(fields["v"])
        if fields["state"] not in STATES:
            raise ValueError("state")
        version = fields["webhook_version"]
        return cls(
            id=job_id,
            state=fields["state"],
            account=fields["account"],
            app_id=fields["app_id"],
            webhook=_json(fields["webhook"]) or {},
            webhook_version=int(version) if version else None,
            created_at=seconds(fields["created_at"]),
            sealed_password=fields.get("password"),
            mark=fields.get("mark"),
            more=More.read(fields),
            attempt=int(fields["attempt"]),
            attempts=int(fields["attempts"]),
            holds=int(fields.get("holds", 0)),
            outcome_unknown=fields.get("unknown") == "1",
            cancelled=fields.get("cancelled") == "1",
            due_at=instant(fields.get("due_at")),
            first_attempt_at=instant(fields.get("first_attempt_at")),
            started_at=instant(fields.get("started_at")),
            ended_at=instant(fields.get("ended_at")),
            worker=fields.get("worker"),
            token=fields.get("token", ""),
            result=_json(fields.get("result")),
            error=_json(fields.get("error")),
            history=tuple(map(_json, filter(None, fields.get("history", "").split("\n")))),
            alerted=fields.get("alerted"),
            after=fields.get("after"),
            followed_by=fields.get("next"),
            turn_in=float(fields.get("turn", 0.0)),
            closed_for=float(fields.get("closed", 0.0)),
            refused_alone=fields.get("refused_alone") == "1",
        )


@dataclass(frozen=True, slots=True)
class NewJob:
    """What a producer asks for. `not_before` is unix seconds, 0 for at once.

    `expires_in` are seconds from the step `add` on, by Redis's clock: the producer's may be off.
    `chain` is the id of the webhook's create job, if this is another. `marks` are those of the
    password by each key that is there, the newest first.
    """

    id: str
    not_before: float
    account: str
    app_id: str
    webhook: Mapping[str, Any]
    sealed_password: str | None
    webhook_version: int | None
    more: More = More()
    expires_in: float | None = None
    chain: str | None = None
    marks: tuple[str, ...] = ()

    def fields(self) -> tuple[str | float, ...]:
        """What the step `add` takes for one job."""
        more = self.more.fields()
        if self.expires_in is not None:
            more |= {"expires_in": f"{self.expires_in:.3f}"}
        if self.chain is not None:
            more |= {"chain": self.chain}
        if self.marks:
            more |= {"mark": self.marks[0]}
        return (
            self.id,
            self.not_before,
            self.account,
            self.app_id,
            json.dumps(self.webhook),
            self.sealed_password or "",
            self.webhook_version or "",
            json.dumps(more) if more else "",
        )

    def record(self, now: float, job_id: str, after: str | None = None) -> JobRecord:
        """The record that the step `add` wrote at `now`, with the id that it has."""
        more, due = self.more, max(now, self.not_before)
        if self.expires_in is not None:
            more = replace(more, expires_at=now + self.expires_in)
            due = min(due, now + self.expires_in)
        return JobRecord(
            id=job_id,
            state="PENDING",
            account=self.account,
            app_id=self.app_id,
            webhook=self.webhook,
            webhook_version=self.webhook_version,
            created_at=now,
            sealed_password=self.sealed_password,
            mark=self.marks[0] if self.marks else None,
            more=more,
            due_at=due,
            after=after,
        )


def read_all(hashes: Iterable[tuple[str, Mapping[str, str] | None]]) -> Iterator[JobRecord]:
    """The records of these ids and hashes, without those of a later layout.

    Damaged ones are left out, too; a log line tells of each.
    """
    for job_id, fields in hashes:
        try:
            if is_known(fields):
                yield JobRecord.read(job_id, fields)
        except RecordUnreadable as error:
            log.warning("%s", error)


class Added(NamedTuple):
    """A job as the step `add` left it, and where: WAITING, or as it was: EXISTS."""

    place: str
    record: JobRecord


def _json(text: str | None) -> Any:
    if not text:
        return None
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError
    if _HALF.search(text):
        json.dumps(value, ensure_ascii=False).encode()  # raises ValueError if there is half a pair
    return value
