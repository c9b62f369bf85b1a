"""Attempts that stand still, and lose their job meanwhile: what they call when they wake.

The attempts are real, on a real Redis; the API is a dictionary, and another worker's attempts run
in the midst of a call, as if this one's process had been frozen there.
"""

from __future__ import annotations

import pytest

from tasks import create_webhook as attempts
from tasks.jobs import JobStore
from tests.integration.frozen import URL, Api, Worlds
from tests.integration.steps import new_job


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    api = Api()
    monkeypatch.setattr(attempts, "get_api", lambda account: api)
    return api


@pytest.fixture
def world(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> Worlds:
    return Worlds(store, monkeypatch)


def test_triggers_are_not_removed_by_an_attempt_that_lost_its_job(world: Worlds, api: Api) -> None:
    api.triggers = ["message_sent"]
    first = world.add("set_triggers", more={"triggers": ("user_blocked",)})
    second = world.add("set_triggers", more={"triggers": ("message_sent", "user_blocked")})
    api.pauses["add"] = world.stand_still(first, second)

    world.run(first)
    world.run_all()

    assert [world.state(job) for job in (first, second)] == ["SUCCESS"] * 2
    assert set(api.triggers) == {"message_sent", "user_blocked"}


def test_an_update_is_not_undone(world: Worlds, api: Api) -> None:
    api.webhook = {"id": "orders", "name": "orders", "webhookURL": URL}
    first, second = world.add("update", enabled=False), world.add("update", enabled=True)
    api.pauses["get"] = world.stand_still(first, second)

    world.run(first)
    world.run_all()

    assert [world.state(job) for job in (first, second)] == ["SUCCESS"] * 2
    assert api.webhook["enabled"] is True


def test_nothing_comes_back_after_its_delete(world: Worlds, api: Api) -> None:
    job = new_job("orders")
    world.store.add([job])
    record = world.store.claim(job.id, worker="w", token="t")
    assert record is not None  # whose worker dies
    world.client.zadd("webhooks:running", {job.id: 1})
    delete = world.add("delete")
    world.store.take_due(queued=0)
    api.pauses["get"] = world.stand_still(job.id, delete)

    world.run(job.id)
    world.run_all()

    assert [world.state(one) for one in (job.id, delete)] == ["SUCCESS"] * 2
    assert api.webhook is None


@pytest.mark.parametrize("later", ["update", "delete"])
def test_what_an_attempt_does_that_froze_behind_the_fence_is_put_right(
    world: Worlds, api: Api, later: str
) -> None:
    """Between the fence and the bytes nothing can be prevented: the latest job runs again."""
    api.webhook = {"id": "orders", "name": "orders", "webhookURL": URL}
    first = world.add("update", enabled=False)
    last = world.add(later, **({"enabled": True} if later == "update" else {}))
    api.pauses["before update"] = world.stand_still(first, last)
    if later == "delete":
        api.pauses["before update"] = lambda pause=api.pauses["before update"]: (  # type: ignore[misc]
            pause(),
            setattr(api, "webhook", {"id": "orders", "name": "back", "webhookURL": URL}),
        )

    world.run(first)
    world.run_all()

    assert [world.state(job) for job in (first, last)] == ["SUCCESS"] * 2
    if later == "update":
        assert (api.webhook or {})["enabled"] is True
    else:
        assert api.webhook is None
