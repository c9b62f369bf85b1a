"""One Redis, some clients of it, and the promises that every step is held to."""

from __future__ import annotations

from collections import Counter

import redis
from hypothesis import reject
from hypothesis.stateful import RuleBasedStateMachine, invariant
from pydantic import SecretStr

from tasks.jobs import JobStore
from tasks.states import ENDED, NONE, STEPS
from tests.chaos import keyspace
from tests.chaos.keyspace import Keyspace
from tests.chaos.reference import Claim, Reference

#: Small, so that the pipe is often full and a batch often cut.
PIPE_SIZE, STEP_LIMIT = 3, 2
#: Seconds.
RESULT_TTL, FAILED_TTL = 100, 300
#: A step takes less than half of this, so that nothing becomes due while it runs.
MARGIN = 2

#: How often each step led from one state to another, since the process began.
moves: Counter[tuple[str, str, str]] = Counter()


class Machine(RuleBasedStateMachine):
    """What the rules in `tests/chaos/rules.py` work with. `step` is the one just taken."""

    url = ""
    #: Steps taken by all machines of this process.
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.redis = redis.Redis.from_url(self.url, decode_responses=True)
        self.redis.flushall()
        self.stores = [self.connect(), self.connect()]
        self.step = ""
        #: Every claim that was answered, the latest last: any may report, in time or late.
        self.claims: list[Claim] = []
        #: The messages in the queue.
        self.queue: list[str] = []
        #: Jobs of which somebody was told that they are cancelled.
        self.cancelled: set[str] = set()
        #: Ended jobs of whose end everybody was told.
        self.told_of: set[str] = set()
        self.reference = Reference(
            pipe_size=PIPE_SIZE, result_ttl=RESULT_TTL, failed_ttl=FAILED_TTL, limit=STEP_LIMIT
        )
        self.before = keyspace.read(self.redis)
        self.reference.now = self.before.now
        self.ends: list[float] = []

    def connect(self) -> JobStore:
        """Another client."""
        url = SecretStr(self.url)
        return JobStore(url, pipe_size=PIPE_SIZE, result_ttl=RESULT_TTL, patience=5)

    def teardown(self) -> None:
        self.redis.close()

    def forward(self, seconds: int) -> None:
        """So many seconds go by."""
        keyspace.forward(self.redis, seconds)
        self.reference.forward(seconds)
        self.ends = [end - seconds for end in self.ends]

    def agree(self, answer: object, expected: object) -> None:
        """A step's answer is the expected one."""
        if answer != expected:
            self._reject_if_held_up(self.stores[0].clock())
        assert answer == expected, f"{self.step} answers {answer!r}, not {expected!r}"

    def _reject_if_held_up(self, now: float) -> None:
        if any(self.before.now < end <= now for end in self.ends):
            reject()  # the computer was so busy that something became due during the step

    @invariant()
    def promises(self) -> None:
        """Redis is as predicted, and nothing that was promised is broken."""
        found = keyspace.read(self.redis)
        self._reject_if_held_up(found.now)
        if self.step:
            type(self).steps += 1
        wrong = keyspace.broken_promises(found, pipe_size=PIPE_SIZE, result_ttl=RESULT_TTL)
        for job in sorted({*self.before.jobs, *found.jobs}):
            wrong += [f"{job} {words}" for words in self._wrong_move(job, found)]
        wrong += self.reference.differences(found)
        assert not wrong, f"after {self.step}: " + "; ".join(wrong)
        assert self.stores[0].counts() == self.reference.counts()
        self._stay_clear(found)
        self.step = ""

    def _wrong_move(self, job: str, found: Keyspace) -> list[str]:
        was, is_now = self.before.state(job), found.state(job)
        old, held = self.before.jobs.get(job, {}), found.jobs.get(job, {})
        if is_now == NONE:
            self.cancelled.discard(job)
            # Attempts are numbered anew in a job's next life: its late ones are not told apart.
            self.claims = [claim for claim in self.claims if claim.record.id != job]
        if is_now not in ENDED or was not in ENDED:
            self.told_of.discard(job)
        if was != is_now:
            moves[self.step, was, is_now] += 1
        both = NONE not in {was, is_now}
        checks = {
            f"went from {was or 'none'} to {is_now or 'none'}": was != is_now
            and is_now not in STEPS[self.step].get(was, ()),
            "forgot that its outcome is unknown": both and "unknown" in old.keys() - held.keys(),
            "counts its claims backwards": both and int(held["attempt"]) < int(old["attempt"]),
            "has ended, and nobody will tell": is_now in ENDED
            and "untold" not in held
            and job not in self.told_of,
        }
        return [words for words, is_so in checks.items() if is_so]

    def _stay_clear(self, found: Keyspace) -> None:
        """Let no instant that matters be so near that it could pass during the next step."""
        self.before, self.ends = found, self.reference.ends()
        while any(0 < end - self.before.now <= MARGIN for end in self.ends):
            self.forward(MARGIN)
            self.before = keyspace.read(self.redis)
            assert not self.reference.differences(self.before)
            self.ends = self.reference.ends()
