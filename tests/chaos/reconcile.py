"""Whatever the API does and whoever meddles: one webhook as asked, or a failure that is true.

Jobs are driven attempt by attempt within this process: the real steps in a real Redis, the real
task and client, the sandbox over HTTP. Only the waits between attempts are left out. Before each
call somebody else may change the webhook, and after it the sandbox is asked for the truth, so
that `tests.chaos.reconcile_oracle` can tell whether the job's words fit it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest
from celery.exceptions import Ignore, Retry
from celery.result import AsyncResult
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from structlog.testing import capture_logs

from config.celery_app import app
from config.settings import get_settings
from tasks import create_webhook as task
from tasks.backoff import RetryPolicy
from tasks.clients import get_api
from tasks.cometchat import CometChat
from tasks.errors import ApiFailure
from tasks.identity import identity
from tasks.jobs import JobStore
from tasks.producer import enqueue_webhook
from tasks.states import ENDED
from tasks.store import WORKER_PATIENCE, get_store
from tasks.webhook import Webhook
from tests.chaos.reconcile_oracle import Attempt, Story, judge
from tests.chaos.reconcile_world import ASKED, PLANS, TRIGGERS, Disturbed, Killed, Plan, World
from tests.conftest import environment_kept, open_gate, use_environment
from worker.sandbox import SandboxControl
from worker.stack import GUARDED, Stack

WORKER: Final = "reconcile@tests"

#: An example takes as long as its calls.
OPTIONS: Final = settings(deadline=None, database=None, suppress_health_check=[*HealthCheck])


class _AtOnce(RetryPolicy):
    """The policy without its waits."""

    def delay(self, failure: ApiFailure, *, attempts: int, holds: int) -> float:
        assert super().delay(failure, attempts=attempts, holds=holds) >= (failure.retry_after or 0)
        return 0.0


def tell_story(plan: Plan, sandbox: SandboxControl, api: CometChat) -> Story:
    """Run one job to its end; once more if the machine was too busy for the plan."""
    for _ in range(5):
        try:
            return _play_out(plan, sandbox, api)
        except Disturbed:
            continue
    raise AssertionError("this machine is too busy for calls of some hundredths of a second")


def _play_out(plan: Plan, sandbox: SandboxControl, api: CometChat) -> Story:
    """Run one job to its end, and one attempt longer than its plan at the most."""
    world = World(api, sandbox, plan)
    credentials = {"username": "chat", "password": "Geheim123"} if plan.password else {}
    triggers = {"triggers": TRIGGERS} if plan.triggers else {}
    webhook = Webhook.parse({**ASKED, **credentials, **triggers})
    job = enqueue_webhook(
        world.app_id,
        webhook,
        webhook_version=plan.version,
        on_existing=plan.on_existing,  # type: ignore[arg-type]
    )
    policy = _AtOnce(
        max_attempts=plan.attempts, max_age=0.0, app_not_found_seconds=plan.app_seconds
    )
    story = Story(plan, world, [])
    with pytest.MonkeyPatch.context() as patch, capture_logs() as logs:
        patch.setattr(task, "get_policy", lambda: policy)
        patch.setattr(task, "get_api", lambda account: world)
        for _ in range(
            len(plan.creates) + len(plan.reads) + len(plan.changes) + len(plan.meddling) + 2
        ):
            story.attempts.append(_attempt(job.id, world))
            if story.job.state in ENDED:
                break
        else:
            raise AssertionError(f"the job never ends: {story.job}")
    assert [line for line in logs if line["event"] == "bug"] == []
    assert AsyncResult(job.id, app=app).state == story.job.state
    world.end()
    return story


def _attempt(job_id: str, world: World) -> Attempt:
    store: JobStore = get_store(WORKER_PATIENCE)
    before = store.get(job_id)
    open_gate(get_settings().redis_url.get_secret_value())
    world.attempt += 1
    ended: BaseException | None = None
    task.create_webhook.push_request(hostname=WORKER, id=job_id, args=(job_id,), kwargs={})
    try:
        task.create_webhook.run(job_id)
    except (ApiFailure, Retry, Ignore) as error:
        ended = error
    except Killed as error:
        if world.broken:
            raise world.broken from None
        ended = error
        assert store.hand_back(identity(WORKER), [job_id]) == 1
    finally:
        task.create_webhook.pop_request()
    after = store.get(job_id)
    expected = {"SUCCESS": type(None), "FAILURE": ApiFailure, "RETRY": (Retry, Killed)}[after.state]
    assert isinstance(ended, expected), f"{after.state} is told as {ended!r}"
    assert after.attempt == before.attempt + 1
    calls = [call for call in world.calls if call.attempt == world.attempt]
    return Attempt(before, after, calls, isinstance(ended, Killed))


@contextmanager
def ground() -> Iterator[tuple[SandboxControl, CometChat]]:
    """A Redis, a sandbox and a client, without a worker; this process runs the attempts."""
    with environment_kept(), Stack(LOG_LEVEL="critical", **{GUARDED: ""}) as stack:
        stack.start_redis("--appendonly", "no")
        stack.start_sandbox()
        use_environment(stack.env)
        with SandboxControl(stack.env["COMETCHAT_BASE_URL"]) as sandbox:
            yield sandbox, get_api()


def run_reconcile(examples: int, seed: int) -> int:
    """Play out so many plans, and judge each. Returns how many there were.

    Raises `AssertionError` with the smallest plan that breaks a promise.
    """
    done = 0
    with ground() as (sandbox, api):

        @seeded(seed)
        @settings(OPTIONS, max_examples=examples)
        @given(plan=PLANS)
        def every_plan(plan: Plan) -> None:
            nonlocal done
            done += 1
            judge(tell_story(plan, sandbox, api))

        every_plan()
    return done
