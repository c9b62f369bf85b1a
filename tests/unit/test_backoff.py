"""When a job is tried again, and when it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import errors
from tasks.backoff import HOLD_MAX_SECONDS, RetryPolicy
from tasks.errors import (
    AccountRejected,
    AccountUnknown,
    ApiFailure,
    ApiUnavailable,
    AppNotFound,
    CallRefused,
    Expired,
    PasswordUnreadable,
    PlanLimit,
    RateLimited,
    RecordRefused,
    TriggersRefused,
    WebhookConflict,
    WebhookNotFound,
    WebhookRejected,
    WorkerCrashed,
)
from tasks.retry_after import MAX_WAIT

DAY = 86_400.0
POLICY = RetryPolicy()

ALL = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ApiFailure) and kind is not ApiFailure
]
PERMANENT = [
    *(Expired, PasswordUnreadable, PlanLimit, RecordRefused, TriggersRefused),
    *(WebhookConflict, WebhookNotFound, WebhookRejected),
]
ACCOUNT_WIDE = [AccountRejected, AccountUnknown, RateLimited]
TRANSIENT = [ApiUnavailable, CallRefused, WorkerCrashed]

numbers = st.integers(min_value=0, max_value=10**9)
seconds = st.floats(min_value=0, max_value=MAX_WAIT)
policies = st.builds(
    RetryPolicy,
    base_seconds=st.floats(min_value=0.001, max_value=1e6),
    max_delay_seconds=st.floats(min_value=0.001, max_value=1e6),
)


def fixed(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """Let every random choice fall on this share of its range."""
    monkeypatch.setattr("random.uniform", lambda low, high: low + (high - low) * share)


def test_every_failure_class_is_in_one_of_the_tables_below() -> None:
    assert set(ALL) == {*PERMANENT, *ACCOUNT_WIDE, *TRANSIENT, AppNotFound}


class TestWhatIsFinal:
    @pytest.mark.parametrize("kind", PERMANENT)
    def test_permanent_failures_at_once(self, kind: type[ApiFailure]) -> None:
        assert POLICY.is_final(kind("no"), attempts=1, age=0)

    @pytest.mark.parametrize("kind", ACCOUNT_WIDE)
    @given(attempts=numbers, age=st.floats(min_value=0, max_value=1e12))
    def test_account_wide_failures_never(
        self, kind: type[ApiFailure], attempts: int, age: float
    ) -> None:
        assert not POLICY.is_final(kind("no"), attempts=attempts, age=age)

    @pytest.mark.parametrize("kind", TRANSIENT)
    @pytest.mark.parametrize(
        ("attempts", "age", "final"),
        [
            (1, 0, False),
            (11, DAY, False),  # time is spent, attempts are not
            (12, DAY - 1, False),  # the other way round
            (1_000, 0, False),
            (12, DAY, True),
            (13, 2 * DAY, True),
        ],
    )
    def test_transient_ones_when_attempts_and_time_are_both_spent(
        self, kind: type[ApiFailure], attempts: int, age: float, final: bool
    ) -> None:
        assert POLICY.is_final(kind("no"), attempts=attempts, age=age) is final
        assert POLICY.is_spent(attempts=attempts, age=age) is final

    @pytest.mark.parametrize(
        ("attempts", "age", "final"),
        [(1, 0, False), (1_000, 599.9, False), (1, 600, True), (1, DAY, True)],
    )
    def test_an_unknown_app_by_age_alone(self, attempts: int, age: float, final: bool) -> None:
        assert POLICY.is_final(AppNotFound("no"), attempts=attempts, age=age) is final

    @given(numbers, numbers, st.floats(0, 1e9), st.floats(0, 1e9))
    def test_what_is_final_stays_final(
        self, attempts: int, more: int, age: float, longer: float
    ) -> None:
        for kind in ALL:
            if POLICY.is_final(kind("no"), attempts=attempts, age=age):
                assert POLICY.is_final(kind("no"), attempts=attempts + more, age=age + longer)


class TestHowLongToWait:
    @pytest.mark.parametrize(
        ("attempts", "ceiling"),
        [(0, 2), (1, 2), (2, 4), (3, 8), (9, 512), (10, 600), (12, 600), (10**6, 600)],
    )
    def test_the_ceiling_doubles_up_to_the_cap(
        self, monkeypatch: pytest.MonkeyPatch, attempts: int, ceiling: float
    ) -> None:
        fixed(monkeypatch, 1.0)
        assert POLICY.delay(ApiUnavailable("no"), attempts=attempts, holds=0) == ceiling
        fixed(monkeypatch, 0.0)
        assert POLICY.delay(ApiUnavailable("no"), attempts=attempts, holds=0) == 0

    @pytest.mark.parametrize(
        ("holds", "longest"), [(0, 60), (1, 120), (2, 240), (3, 300), (10**6, 300)]
    )
    def test_a_wait_for_the_account_doubles_from_one_minute_to_five(
        self, monkeypatch: pytest.MonkeyPatch, holds: int, longest: float
    ) -> None:
        for kind in ACCOUNT_WIDE:
            fixed(monkeypatch, 1.0)
            assert POLICY.delay(kind("no"), attempts=1, holds=holds) == longest
            fixed(monkeypatch, 0.0)
            assert POLICY.delay(kind("no"), attempts=1, holds=holds) == pytest.approx(0.8 * longest)

    @given(st.sampled_from(ALL), policies, numbers, numbers)
    def test_is_never_negative_and_never_above_the_cap(
        self, kind: type[ApiFailure], policy: RetryPolicy, attempts: int, holds: int
    ) -> None:
        delay = policy.delay(kind("no"), attempts=attempts, holds=holds)
        is_limit = kind.account_wide and kind is not AccountRejected
        cap = HOLD_MAX_SECONDS if is_limit else policy.max_delay_seconds
        assert 0 <= delay <= cap

    @given(policies, st.integers(min_value=1, max_value=10**6))
    def test_the_ceiling_never_falls(self, policy: RetryPolicy, attempts: int) -> None:
        with pytest.MonkeyPatch.context() as monkeypatch:
            fixed(monkeypatch, 1.0)
            ceilings = [
                policy.delay(ApiUnavailable("no"), attempts=number, holds=0)
                for number in (attempts, attempts + 1)
            ]
        assert ceilings == sorted(ceilings)

    def test_is_spread_over_the_whole_range(self) -> None:
        policy = replace(POLICY, base_seconds=100.0)
        delays = [policy.delay(ApiUnavailable("no"), attempts=1, holds=0) for _ in range(500)]
        assert min(delays) < 10
        assert max(delays) > 90
        assert 40 < sum(delays) / len(delays) < 60


class TestWhatTheApiTold:
    @given(st.sampled_from(ALL), seconds.filter(lambda told: told >= 1), numbers, numbers)
    def test_is_never_undercut_and_hardly_exceeded(
        self, kind: type[ApiFailure], told: float, attempts: int, holds: int
    ) -> None:
        failure = kind("no", retry_after=told)
        delay = POLICY.delay(failure, attempts=attempts, holds=holds)
        assert told <= delay <= min(told + min(0.1 * told, 5.0) + 1e-9, MAX_WAIT)

    def test_goes_before_the_cap(self) -> None:
        failure = ApiUnavailable("no", retry_after=90.0)
        assert replace(POLICY, max_delay_seconds=1.0).delay(failure, attempts=1, holds=0) >= 90

    @pytest.mark.parametrize("kind", [*ACCOUNT_WIDE, *TRANSIENT])
    def test_no_time_at_all_is_no_leave_to_call_without_a_pause(
        self, kind: type[ApiFailure]
    ) -> None:
        # `Retry-After: 0`, or a reset time that this machine's clock has passed already.
        failure = kind("no", retry_after=0.0)
        delays = [POLICY.delay(failure, attempts=10, holds=3) for _ in range(100)]
        assert max(delays) >= 1
