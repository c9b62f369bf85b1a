"""Whatever the API does and whoever meddles: one webhook as asked, or a failure that is true.

`tests.chaos.reconcile` is the long form, for any number of examples and any seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import event, example, given, settings

from tasks import Job, Webhook, enqueue_webhook
from tasks.cometchat import CometChat
from tests.chaos.plays import CREATES, READS, TRUTH
from tests.chaos.reconcile import OPTIONS, ground, tell_story
from tests.chaos.reconcile_oracle import as_asked, judge
from tests.chaos.reconcile_world import ASKED, ELSE, PLANS, PUTS, Plan
from worker.sandbox import SandboxControl

Ground = tuple[SandboxControl, CometChat]


@pytest.fixture(scope="module", name="on")
def on_fixture() -> Iterator[Ground]:
    with ground() as both:
        yield both


@settings(OPTIONS, max_examples=80, derandomize=True)
@given(plan=PLANS)
@example(Plan(there="makes it as asked", reads=("about another",)))
@example(Plan(creates=("another's name, no effect",)))
@example(Plan(creates=("another's URL, with effect",)))
@example(Plan(creates=("another's name, with effect",), reads=("503",), triggers=True))
@example(Plan(creates=("another's name, no effect",), there="makes it with another name"))
@example(Plan(creates=("another's name, no effect",), there="makes it with another URL"))
@example(Plan(duplicate=403, manners={"duplicate_code": ""}, there="makes it as asked"))
@example(Plan(creates=("403, no effect",), manners={"duplicate_code": ""}))
@example(Plan(creates=("reset, no effect",), reads=("405",)))
@example(Plan(creates=("held, no effect", "true"), meddling=(*ELSE[:1] * 2, "a late call")))
@example(Plan(there_in_other="makes it with another URL", creates=("503, with effect",)))
def test_one_webhook_as_asked_or_a_failure_that_is_true(on: Ground, plan: Plan) -> None:
    event(judge(tell_story(plan, *on)))


@pytest.mark.parametrize("duplicate", [400, 403, 409, 417, 422])
@pytest.mark.parametrize("version", [2, None])
@pytest.mark.parametrize(
    ("there", "end"),
    [
        ("does nothing", "created"),
        ("makes it as asked", "existed"),
        ("makes it with another name", "WebhookConflict"),
        ("makes it with another URL", "WebhookConflict"),
    ],
)
def test_what_is_there_decides_how_it_ends(
    on: Ground, duplicate: int, version: int | None, there: str, end: str
) -> None:
    assert judge(tell_story(Plan(version, duplicate, there=there), *on)) == end


@pytest.mark.parametrize("version", [2, None])
@pytest.mark.parametrize("other", PUTS)
@pytest.mark.parametrize("create", ["true", "closed, with effect", "closed, no effect"])
def test_the_other_version_neither_satisfies_nor_disturbs(
    on: Ground, version: int | None, other: str, create: str
) -> None:
    story = tell_story(Plan(version, there_in_other=other, creates=(create,)), *on)
    assert judge(story) == ("existed" if create.endswith("with effect") else "created")
    assert story.world.in_other is not None


def test_a_call_that_comes_late_between_look_and_create_makes_no_second_one(on: Ground) -> None:
    plan = Plan(creates=("held, no effect",), meddling=(*ELSE[:1] * 2, "a late call"))
    story = tell_story(plan, *on)
    assert judge(story) == "existed"
    assert [call.operation for call in story.world.calls] == ["create", "get", "create", "get"]
    assert len(story.world.made) == 1


def test_what_was_deleted_meanwhile_is_made_again(on: Ground) -> None:
    story = tell_story(Plan(creates=("500, with effect",), meddling=(ELSE[0], "deletes it")), *on)
    assert judge(story) == "created"
    assert len(story.world.made) == 2


# -- through a worker of its own process ----------------------------------------------------------

#: Plays that are over soon: the worker waits a minute after others, or two seconds for an answer.
QUICK = {
    operation: [
        name
        for name, play in plays.items()
        if play.told in (TRUTH, "ApiUnavailable", "WebhookRejected", "PlanLimit")
        and play.deadline is None
    ]
    for operation, plays in (("create", CREATES), ("get", READS))
}


def test_through_a_worker(sandbox: SandboxControl, app_id: str) -> None:
    chance = random.Random(4)
    sandbox.settings(duplicate=409)
    jobs: dict[str, Job] = {}
    there: dict[str, str] = {}
    for number in range(40):
        app = f"{app_id}-{number}"
        there[app] = chance.choice([ELSE[0], ELSE[0], *PUTS])
        if there[app] in PUTS:
            fields = PUTS[there[app]]
            sandbox.put_webhook(app, "orders", name=fields["name"], url=fields["webhookURL"])
        plays = [
            (operation, {"create": CREATES, "get": READS}[operation][name].rule)
            for operation, names in QUICK.items()
            for name in chance.sample(names, 2)
        ]
        rules = [{**rule, "operation": op, "app_id": app, "times": 1} for op, rule in plays]
        sandbox.faults(*rules, add=True)
        jobs[app] = enqueue_webhook(app, Webhook.parse(ASKED))
    for job in jobs.values():
        job.wait(60)  # so many failures are an outage to the gate, which ends gently
    kept = {each["app_id"]: each for each in sandbox.webhooks()}
    log = sandbox.calls(10_000)
    for app, job in jobs.items():
        _assert_true(
            job, there[app], kept.get(app), [each for each in log if each["app_id"] == app]
        )


def _assert_true(
    job: Job, there: str, kept: dict[str, Any] | None, log: list[dict[str, Any]]
) -> None:
    """What the job says fits what the API has and what it logged."""
    assert there not in PUTS or (kept and kept["created_by_calls"] == 0), "overwritten"
    assert kept is None or there in PUTS or (as_asked(kept) and kept["created_by_calls"] == 1)
    match job.state, (job.error or {}).get("class"):
        case "SUCCESS", _:
            assert as_asked(kept)
            assert log[-1]["status"] == 200
        case "FAILURE", "WebhookConflict":
            assert there in PUTS and not as_asked(kept)
            assert log[-1]["operation"] == "get"
        case "FAILURE", "WebhookRejected" | "PlanLimit":
            assert job.error and job.error["status"] in {call["status"] for call in log[-2:]}
        case "FAILURE", "ApiUnavailable":
            assert job.attempts >= 4
            assert log[-1]["fault"]
        case ended:
            raise AssertionError(f"{ended} is no end")
