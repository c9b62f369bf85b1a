"""When to try again: pure functions of what happened."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tasks.errors import AccountRejected, ApiFailure, AppNotFound, CallRefused
from tasks.retry_after import MAX_WAIT

#: CometChat's rate limit guide: wait 60 s when nothing is told, double it, up to 5 minutes. A job
#: that is refused where others of its account are not waits as long. After a 429 the gate says
#: when.
HOLD_SECONDS = 60.0
HOLD_MAX_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long and how often. Seconds, unless the name says otherwise."""

    base_seconds: float = 2.0
    max_delay_seconds: float = 600.0
    max_attempts: int = 12
    max_age: float = 86_400.0
    app_not_found_seconds: float = 600.0

    def is_final(self, failure: ApiFailure, *, attempts: int, age: float) -> bool:
        """Whether this failure ends the job.

        Args:
            failure: how the attempt ended.
            attempts: how many are used up, this one included.
            age: seconds since the first attempt.
        """
        if not failure.transient:
            return True
        if failure.account_wide:
            return False
        if isinstance(failure, AppNotFound):
            return age >= self.app_not_found_seconds
        return self.is_spent(attempts=attempts, age=age)

    def is_spent(self, *, attempts: int, age: float) -> bool:
        """Whether both the attempts and the time for them are used up."""
        return attempts >= self.max_attempts and age >= self.max_age

    def delay(self, failure: ApiFailure, *, attempts: int, holds: int) -> float:
        """Seconds to wait before the next attempt, with jitter.

        What the API told goes before the formula and is never undercut. A wait for the account
        (`holds` of them in a row came before), or of a job that is refused alone, doubles from
        60 s to 5 min; everything else is exponential with full jitter: random between 0 and
        base * 2^(attempts - 1), capped.
        """
        # 0 is a clock that differs, not an invitation to try without a pause.
        if failure.retry_after:
            most = min(0.1 * failure.retry_after, 5.0, max(MAX_WAIT - failure.retry_after, 0.0))
            return failure.retry_after + random.uniform(0, most)  # nosec B311  # no secret
        if failure.account_wide or isinstance(failure, CallRefused):
            before = holds if failure.account_wide else max(attempts, 1) - 1
            hold = min(HOLD_SECONDS * 2.0 ** min(before, 8), HOLD_MAX_SECONDS)
            # Of a refused account the gate says when; what waits by itself is refused alone.
            if isinstance(failure, (AccountRejected, CallRefused)):
                hold = min(hold, self.max_delay_seconds)
            return hold * random.uniform(0.8, 1.0)  # nosec B311  # no secret
        # The exponent is bounded: 2.0 ** 1100 is no float.
        ceiling = self.base_seconds * 2.0 ** min(max(attempts, 1) - 1, 64)
        return random.uniform(0, min(ceiling, self.max_delay_seconds))  # nosec B311  # no secret
