"""The gate: what the jobs of one account share, as they share the API, credentials and rate limit.

Redis holds one gate for each account, in the hash `gate:<account>` under the store's prefix, for
all workers. The arithmetic is `tasks/lua/gate.lua` (what passes) and `breaker.lua` (what is learnt
from answers). A job passes it within its step `claim`, and tells it what came of it within
`finish` or `reschedule`; only further calls ask by themselves.

Fields, each there only while it says something; instants are unix seconds of Redis's clock:

    turn                        when the next call may be made, where there is a limit
    announced, limit, window,   calls a second by what the API announced; its limit, over how many
    window_end                  seconds (as far as known); when the present window ends by its clock
    top, learnt_at, retry_after calls a second that went through when the last 429 came; when; the
                                seconds that it told to wait, if it did
    wait_until                  the API told to wait until then
    limited_at, short           when the last 429 came that told a wait, until a call that was made
                                later goes through; how many in a row told one that was too short
    second, count, last, peak   calls that went through in this second, in the one before; the most
                                of late
    ok_at                       when the last call succeeded
    ok, bad, counted_at,        how calls went lately, and which jobs failed (id@app): the breaker
    bad_jobs
    broken_at, rejected_at      the API is away, the credentials are refused, since then
    only                        it is closed for this app alone ("app ..."): no other is in trouble
    met_by                      the job ("job ...") whose refusal closed it
    alarmed, alarmed_at         of which app people were told last that it is refused ("all" for the
                                account), and when
    alarm_job, alarm_due        the job ("job ...") that met what people are still to be told; when
                                a dispatcher tells it, should the attempt not have done so
    probe_at, probes, hinted_at when one job may try whether that is over; how many have; when the
                                last of them was put into the pipe, where it is closed for one app
    others                      how many of those were other jobs of that app, tried at once
    ramp_at, ramp_to            the API is back since then; the rate grows to what it was
    paused_at, paused_until,    a person closed the gate; why
    paused_why
    down, down_at, open_at      seconds for which it has been closed in all; since when it is; when
                                it was opened last
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from tasks.errors import (
    AccountRejected,
    ApiFailure,
    ApiUnavailable,
    CallRefused,
    RateLimited,
)
from tasks.more import Priority
from tasks.rate_headers import Announced
from tasks.record import JobRecord
from tasks.redis import Connection

#: What closes a gate: a person, refused credentials, an API that is away, a 429 that told a time.
Closed = Literal["", "paused", "rejected", "unavailable", "limited"]

#: What an answer says to the gate.
HEARD: Final[Mapping[type[ApiFailure], str]] = {
    ApiUnavailable: "bad",
    RateLimited: "limited",
    AccountRejected: "refused",
    CallRefused: "own",
}


class Limits(NamedTuple):
    """What the settings say of the gates.

    Args:
        rate: calls a second, 0 for as many as the API allows.
        share: of a limit that the API announces, what is left to this program.
        probe_seconds: between two tries whether refused credentials are accepted again.
    """

    rate: float = 0.0
    share: float = 1.0
    probe_seconds: float = 30.0
    #: Of the accounts for which it is another than `rate`.
    rates: Mapping[str, float] = MappingProxyType({})

    def most(self, account: str) -> float:
        """Calls a second that this program may make of an account, 0 for no end."""
        return self.rates.get(account, self.rate) * self.share


class Told(NamedTuple):
    """What an attempt tells the gate: how its last call ended, and what the API announced."""

    what: str = ""
    wait: float | None = None
    announced: Announced | None = None
    #: Seconds since that call was let through.
    ago: float = 0.0
    #: Calls that were answered, that one among them.
    answered: int = 1


@dataclass(frozen=True, slots=True)
class GateState:
    """A gate as it stands. Instants are unix seconds, rates calls a second."""

    account: str
    now: float
    closed: Closed
    #: Seconds until it is looked at again, which is when a probe goes out.
    again_in: float
    #: None for no limit.
    allowed: float | None
    used: float
    #: Jobs that are due and not in the pipe yet, by priority.
    waiting: Mapping[Priority, int]
    fields: Mapping[str, str] = field(repr=False)

    @property
    def since(self) -> float | None:
        """Since when it is closed."""
        return float(self.fields["down_at"]) if self.closed and "down_at" in self.fields else None

    @property
    def only_app(self) -> str | None:
        """The app for which alone it is closed, if it is not closed for all."""
        return self.fields["only"].removeprefix("app ") if "only" in self.fields else None

    def instant(self, name: str) -> float | None:
        """A field that holds an instant or a number."""
        text = self.fields.get(name)
        return None if text is None else float(text)


class Gate:
    """The gates of all accounts, in Redis.

    Every method raises `StoreUnavailable` when Redis cannot be reached or refuses to write.
    """

    def __init__(self, connection: Connection, limits: Limits) -> None:
        self._step = connection.step
        self.limits = limits

    def ask(self, job: JobRecord, *, lease: float, obeys: bool) -> tuple[float, str]:
        """The next turn for a call of this attempt.

        Args:
            job: as the attempt claimed it.
            lease: seconds for which the attempt has its job then, if it has it still.
            obeys: whether it is to obey a cancellation.

        Returns:
            The seconds until the turn comes, which is taken with this, or a negative number and
            why there is none: "lost", "cancelled", or what has closed the gate.
        """
        limits = self.limits
        turn, *rest = self._step(
            "gate_ask",
            account=job.account,
            most=limits.most(job.account),
            probe=limits.probe_seconds,
            **job.fence,
            lease=lease,
            obeys=int(obeys),
        )
        return float(turn), rest[-1] if rest else ""

    def pause(self, account: str, *, reason: str, until: float | None = None) -> None:
        """Let no job through until then (unix seconds), or until `resume`."""
        ends = "" if until is None else until
        self._step("gate_pause", account=account, ends=ends, reason=reason)

    def resume(self, account: str) -> Closed:
        """Let jobs through again at once, whatever has closed the gate; what that was."""
        return self._step("gate_resume", account=account)  # type: ignore[no-any-return]

    def untold(self, account: str) -> str | None:
        """The job that met an alarm which is overdue to be told; it is the caller's for 15 s."""
        return self._step("gate_untold", account=account) or None

    def told(self, account: str, job_id: str) -> None:
        """People were told of the alarm that this job met."""
        self._step("gate_told", account=account, id=job_id)

    def look(self, account: str) -> GateState:
        """How the gate stands."""
        answer = self._step("gate_look", account=account, most=self.limits.most(account))
        now, why, again, rate, used, interactive, bulk, *flat = answer
        return GateState(
            account=account,
            now=float(now),
            closed=why,
            again_in=max(float(again), 0.0),
            allowed=None if float(rate) < 0 else float(rate),
            used=float(used),
            waiting={"interactive": int(interactive), "bulk": int(bulk)},
            fields=dict(zip(flat[::2], flat[1::2], strict=True)),
        )

    def arguments(self, account: str, told: Told) -> dict[str, str | float]:
        """What `finish` and `reschedule` pass on to an account's gate."""
        announced = told.announced or Announced(-1, -1, -1, -1)
        return {
            "what": told.what,
            "wait": -1.0 if told.wait is None else told.wait,
            **announced._asdict(),
            "most": self.limits.most(account),
            "share": self.limits.share,
            "probe": self.limits.probe_seconds,
            "ago": told.ago,
            "answered": told.answered,
            "account": account,
        }
