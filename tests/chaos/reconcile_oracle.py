"""Whether a job's words fit what the API did: the oracle of `tests.chaos.reconcile`.

It looks at the sandbox's log of calls, at the webhooks that the sandbox had before and after each
of them, and at the plan. How an answer must be read is told by `tests.chaos.plays`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from tasks.record import JobRecord
from tests.chaos.plays import IN_DOUBT, LOST, TRANSIENT, TRUTH
from tests.chaos.reconcile_world import ASKED, TRIGGERS, Call, Plan, World
from worker.sandbox.faults import Rule

COMPARED: Final = ("name", "webhookURL")


@dataclass(frozen=True)
class Attempt:
    """One attempt: the record before and after it, and its calls."""

    before: JobRecord
    after: JobRecord
    calls: list[Call]
    was_killed: bool


@dataclass(frozen=True)
class Story:
    """All that happened to one job."""

    plan: Plan
    world: World
    attempts: list[Attempt]

    @property
    def job(self) -> JobRecord:
        """The record in the end."""
        return self.attempts[-1].after


def judge(story: Story) -> str:
    """Check the whole story, and say how it ended. Raises `AssertionError`."""
    for call in (call for attempt in story.attempts for call in attempt.calls):
        _was_played(call, story)
    for attempt in story.attempts:
        _judge_calls(attempt)
        _judge_end(attempt, story)
    _judge_the_api(story)
    shown = json.dumps([story.job.error, story.job.result, *story.job.history])
    assert [word for word in ("sandbox-key", "sandbox-secret", "Geheim123") if word in shown] == []
    error = story.job.error or {}
    return str((story.job.result or {}).get("outcome") or error["class"])


def said(call: Call) -> str:
    """What the client was told: created, found, absent, nothing, or a class of failure."""
    if call.play.told != TRUTH:
        return call.play.told
    status = call.journal["status"]
    if call.operation == "create":
        return "created" if status == 200 else _of_a_duplicate(call)
    if call.operation == "get":
        return "found" if status == 200 else "absent"
    # What was deleted after it was seen is made again by the next attempt.
    return "changed" if status == 200 else LOST


def _of_a_duplicate(call: Call) -> str:
    """What is told of an id that is taken, before the look: 403 without a code is a bad key."""
    code = call.manners.get("duplicate_code")
    is_told = code is None or code.endswith("_ALREADY_EXISTS")
    return "WebhookRejected" if is_told or call.journal["status"] != 403 else "AccountRejected"


def as_asked(webhook: dict[str, Any] | None) -> bool:
    """Whether this is the webhook that the job is for."""
    return webhook is not None and not _differing(webhook)


def _differing(webhook: dict[str, Any]) -> list[str]:
    return [name for name in COMPARED if webhook[name] != ASKED[name]]


def _is_shown(webhook: dict[str, Any], story: Story) -> bool:
    """Whether the API has answered a create call of this job with this name and URL."""
    return any(
        echo.get("name") == webhook["name"] and echo.get("webhookURL") == webhook["webhookURL"]
        for echo in (
            json.loads(call.play.rule["body"])["data"]
            for attempt in story.attempts
            for call in attempt.calls
            if call.play.told == IN_DOUBT
        )
    )


def _was_played(call: Call, story: Story) -> None:
    """The sandbox saw the call that the client was to make, and answered as the plan says."""
    entry = call.journal
    label = Rule(**call.play.rule).label if call.play.rule else None
    assert entry["operation"] == call.operation
    assert entry["webhook_id"] == "orders"
    assert entry["version"] == (story.plan.version or "legacy")
    assert entry["fault"] == label
    if call.operation in {"get", "list_triggers"}:
        assert call.before == call.after


def _judge_calls(attempt: Attempt) -> None:
    """What may have had its effect is read back before it is posted again."""
    operations = [call.operation for call in attempt.calls]
    assert operations.count("create") <= 1
    if attempt.before.outcome_unknown and "create" in operations:
        first = attempt.calls[0]
        assert (first.operation, said(first)) == ("get", "absent"), "posted without a look"


def _judge_end(attempt: Attempt, story: Story) -> None:
    record = attempt.after
    if attempt.was_killed:
        assert record.state == "RETRY"
        assert record.outcome_unknown
        return
    last = attempt.calls[-1]
    match record.state:
        case "SUCCESS":
            _judge_success(attempt, story)
        case "RETRY":
            told = _told_in_the_end(attempt)
            assert record.error is not None
            assert record.error["class"] == told
            assert told in TRANSIENT, f"waits, although {told} is final"
            if last.operation == "add_triggers":
                assert record.outcome_unknown, "forgets that the webhook is there"
            if last.operation in {"create", "update"} and told == LOST and last.play.told == LOST:
                assert record.outcome_unknown, "forgets that the webhook may be there"
            if IN_DOUBT in map(said, attempt.calls):
                assert record.outcome_unknown, "forgets that the webhook may be there"
        case "FAILURE":
            _judge_failure(attempt, story, _told_in_the_end(attempt))
        case state:
            raise AssertionError(f"an attempt ends as {state}")


def _judge_success(attempt: Attempt, story: Story) -> None:
    result, plan = attempt.after.result or {}, story.plan
    *before, seen = [call for call in attempt.calls if "triggers" not in call.operation]
    expected = {"created": "created", "existed": "found", "updated": "changed"}
    if seen.operation == "get" and result["outcome"] == "created":
        assert (said(before[-1]), said(seen)) == (IN_DOUBT, "found")
    else:
        assert said(seen) == expected[result["outcome"]]
    assert seen.after is not None, "SUCCESS, but the API has none"
    assert {name: result[name] for name in ASKED} == {name: seen.after[name] for name in ASKED}
    assert set(result.get("differs", ())) == set(_differing(seen.after))
    assert as_asked(seen.after) or _is_shown(seen.after, story), f"SUCCESS with {seen.after}"
    if result["outcome"] == "updated":
        assert plan.on_existing == "update" and seen.after is not None
        assert seen.after["password_sha256"] == _password(plan)
    if plan.on_existing == "fail" and result["outcome"] == "existed":
        assert attempt.before.outcome_unknown, "takes what this job cannot have made"
    last = attempt.calls[-1].after
    assert ("triggers" in result) == plan.triggers
    if plan.triggers:
        assert last is not None and set(TRIGGERS) <= set(last["triggers"])
        assert sorted(result["triggers"]) == sorted(last["triggers"])


def _password(plan: Plan) -> str | None:
    return hashlib.sha256(b"Geheim123").hexdigest() if plan.password else None


def _told_in_the_end(attempt: Attempt) -> str:
    """What the last call told, or the create before it, if that was looked after in vain."""
    told, last = [said(call) for call in attempt.calls], attempt.calls[-1]
    if last.operation == "update" and told[-1] == "changed" and not as_asked(last.after):
        return LOST  # somebody else changed another field between the look and the update
    in_the_end = told[-2] if told[-1] == "absent" else told[-1]
    return LOST if in_the_end == IN_DOUBT else in_the_end


def _judge_failure(attempt: Attempt, story: Story, told: str) -> None:
    error, last = attempt.after.error or {}, attempt.calls[-1]
    message = error["message"]
    assert "'orders'" in message and repr(story.world.app_id) in message
    match error["class"]:
        case "WebhookConflict":
            assert told == "found" and last.before is not None
            named = " and ".join(_differing(last.before))
            if named:
                assert story.plan.on_existing != "update"
                assert f"another {named};" in message
            else:
                assert story.plan.on_existing == "fail" and not attempt.before.outcome_unknown
                assert "already, and not from this job" in message
        case "WebhookRejected" | "PlanLimit" as kind:
            assert told == kind
            refusal = attempt.calls[-2] if said(last) == "absent" else last
            assert error["status"] == refusal.journal["status"]
            if refusal.operation == "get":
                assert "could not be read" in message, "the look was refused, not the webhook"
            else:
                assert said(last) == "absent", "refused perhaps as a duplicate, without a look"
        case "AppNotFound":
            assert told == "AppNotFound"
            assert story.plan.app_seconds == 0, "the app may be new yet"
        case "ApiUnavailable":
            assert told == LOST
            assert attempt.after.attempts >= story.plan.attempts
        case kind:
            raise AssertionError(f"{kind} ends a job that was told {told}: {message}")


def _judge_the_api(story: Story) -> None:
    """What the API has in the end is what was made last, by the job or by somebody else."""
    world, plan = story.world, story.plan
    other = None if plan.version == 2 else 2
    assert world.at_the_end(plan.version) == world.there
    assert world.at_the_end(other) == world.in_other
    effects = world.state["effects"]
    allowed = {"create", *(["update"] if plan.on_existing == "update" else [])}
    allowed |= {"add_triggers"} if plan.triggers else set()
    assert effects.keys() <= allowed, "something was changed or deleted"
    assert effects.get("create", 0) == len(world.made) <= 1 + world.deleted
    password = _password(plan)
    for made in world.made:
        assert as_asked(made)
        assert (made["enabled"], made["useBasicAuth"]) == (True, plan.password)
        assert made["password_sha256"] == password
