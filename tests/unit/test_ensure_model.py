"""Whatever the API does: one webhook as asked for in the end, or a failure that is true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from hypothesis import event, given, settings
from hypothesis import strategies as st

from tasks.ensure import ensure
from tasks.errors import (
    AccountRejected,
    ApiFailure,
    ApiUnavailable,
    AppNotFound,
    PlanLimit,
    RateLimited,
    WebhookConflict,
    WebhookNotFound,
    WebhookRejected,
)
from tasks.more import More
from tasks.record import JobRecord
from tasks.webhook import Webhook

ASKED = {
    "id": "orders",
    "name": "Orders",
    "webhookURL": "https://shop.example.com/hook",
    "enabled": True,
}
ANOTHER = {**ASKED, "webhookURL": "https://other.example.com/"}


class WorkerKilled(BaseException):
    """The worker's process ends here."""


class Way(NamedTuple):
    """How one call goes: when it has its effect (late: just before the next create), its answer."""

    effect: str
    answer: str


RIGHT = Way("at once", "right")

#: After these answers nobody knows whether the call had its effect.
UNSURE: dict[str, Callable[[], BaseException]] = {
    "lost": lambda: ApiUnavailable("no answer", outcome_unknown=True),
    "error": lambda: ApiUnavailable("an error", status=503, outcome_unknown=True),
    "garbage": lambda: ApiUnavailable("no JSON", status=200, outcome_unknown=True),
    "killed": WorkerKilled,
}
#: After these the call had none.
WITHOUT_EFFECT: dict[str, Callable[[], BaseException]] = {
    "unreachable": lambda: ApiUnavailable("no connection"),
    "too many": lambda: RateLimited("slow down", status=429),
    "account": lambda: AccountRejected("who are you", status=401),
    "no app": lambda: AppNotFound("where", status=404),
}
#: And these are permanent, unless the webhook is there.
REFUSALS: dict[str, Callable[[], BaseException]] = {
    "refused": lambda: WebhookRejected("no", status=400, code="ERR_BAD_REQUEST"),
    "plan": lambda: PlanLimit("full", status=402),
}
ANSWERS = {**UNSURE, **WITHOUT_EFFECT, **REFUSALS}

no_effect = st.builds(Way, st.just("none"), st.sampled_from([*UNSURE, *WITHOUT_EFFECT]))
in_time = st.builds(Way, st.just("at once"), st.sampled_from([*UNSURE]))
creates = st.one_of(
    st.just(RIGHT),
    no_effect,
    in_time,
    st.builds(Way, st.just("late"), st.sampled_from([*UNSURE])),
    st.builds(Way, st.sampled_from(["none", "at once"]), st.just("refused")),
)
reads = st.sampled_from(["right", *UNSURE, *WITHOUT_EFFECT])


class ModelApi:
    """One webhook's place at an API that goes wrong as told, and then does as it should.

    `duplicate` is the status with which it refuses a second one, None if it makes a second one.
    """

    def __init__(
        self,
        there: dict[str, Any] | None,
        duplicate: int | None,
        creates: list[Way],
        reads: list[str],
    ) -> None:
        self.there = there
        self.created = 0
        self._duplicate = duplicate
        self._creates = iter(creates)
        self._reads = iter(reads)
        self._late = False

    def create_webhook(self, app_id: str, webhook: Webhook, *, version: int | None) -> Any:
        way = next(self._creates, RIGHT)
        if self._late:
            self._keep(webhook)
        self._late = way.effect == "late"
        is_new = way.effect == "at once" and self._keep(webhook)
        if way.answer in ANSWERS:
            raise ANSWERS[way.answer]()
        if not is_new and self._duplicate is not None:
            raise WebhookRejected("it is there already", status=self._duplicate)
        return webhook.wire()

    def get_webhook(self, app_id: str, webhook_id: str, *, version: int | None) -> Any:
        answer = next(self._reads, "right")
        if answer in ANSWERS:
            raise ANSWERS[answer]()
        if self.there is None:
            raise WebhookNotFound("none", status=404)
        return dict(self.there)

    def _keep(self, webhook: Webhook) -> bool:
        if self.there is not None and self._duplicate is not None:
            return False
        self.there = webhook.wire()
        self.created += 1
        return True


def run(api: ModelApi, most: int, more: More = More()) -> dict[str, Any] | ApiFailure:
    """Attempt after attempt, as the job's record has it, until it ends."""
    job = JobRecord("some-job", "STARTED", "default", "shop", ASKED, 2, created_at=0.0, more=more)
    for number in range(1, most + 1):
        job = replace(job, attempt=number, attempts=number)
        try:
            return ensure(api, job)
        except WorkerKilled:
            job = replace(job, outcome_unknown=True, history=(*job.history, {"outcome": "lost"}))
        except ApiFailure as failure:
            if not failure.transient:
                return failure
            job = replace(
                job,
                outcome_unknown=job.outcome_unknown or failure.outcome_unknown,
                history=(*job.history, {"outcome": type(failure).__name__}),
            )
    raise AssertionError("the job never ends")


@settings(max_examples=400)
@given(
    there=st.sampled_from([None, None, ASKED, ANOTHER]),
    duplicate=st.sampled_from([400, 409, 422]),
    creates=st.lists(creates, max_size=6),
    reads=st.lists(reads, max_size=6),
)
def test_one_webhook_as_asked_or_a_failure_that_is_true(
    there: dict[str, Any] | None, duplicate: int, creates: list[Way], reads: list[str]
) -> None:
    api = ModelApi(there, duplicate, creates, reads)
    end = run(api, len(creates) + len(reads) + 2)
    assert api.created == (there is None and api.there is not None)
    event(end["outcome"] if isinstance(end, dict) else type(end).__name__)
    match end:
        case {"outcome": "created" | "existed", **webhook}:
            assert api.there == webhook == ASKED
        case WebhookConflict():
            assert api.there == there == ANOTHER
        case WebhookRejected():
            assert api.there is None
        case _:
            raise AssertionError(f"no reason for {end!r}")


@given(creates=st.lists(no_effect, max_size=4), reads=st.lists(reads, max_size=4))
def test_the_plans_limit_is_told_as_it_is(creates: list[Way], reads: list[str]) -> None:
    api = ModelApi(None, 400, [*creates, *[Way("none", "plan")] * 8], reads)
    assert isinstance(run(api, len(creates) + len(reads) + 2), PlanLimit)
    assert api.there is None


@given(
    creates=st.lists(st.one_of(no_effect, in_time), max_size=5),
    reads=st.lists(reads, max_size=5),
)
def test_an_api_that_takes_duplicates_is_sent_none(creates: list[Way], reads: list[str]) -> None:
    api = ModelApi(None, None, creates, reads)
    end = run(api, len(creates) + len(reads) + 2)
    assert isinstance(end, dict)
    assert api.there == ASKED
    assert api.created == 1
