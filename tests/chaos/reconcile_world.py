"""The API with everybody who acts on it, for one job: the world of `tests.chaos.reconcile`."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hypothesis import strategies as st

from tasks.answer_texts import JobTexts
from tasks.cometchat import CometChat, Guard
from tasks.webhook import Webhook
from tests.chaos.plays import CHANGES, CREATES, READS, TRUTH, Play
from tests.conftest import eventually
from worker.sandbox import SandboxControl

ASKED: Final = {"id": "orders", "name": "Orders", "webhookURL": "https://shop.example.com/hook"}
OTHER_NAME: Final = {**ASKED, "name": "Invoices"}
OTHER_URL: Final = {**ASKED, "webhookURL": "https://other.example.com/"}

#: What somebody else may do to the webhook of the job's version, or to that of the other one.
PUTS: Final = {
    "makes it as asked": ASKED,
    "makes it with another name": OTHER_NAME,
    "makes it with another URL": OTHER_URL,
    "makes it with both another": {**OTHER_NAME, "webhookURL": "https://other.example.com/"},
}
ELSE: Final = ("does nothing", *PUTS, "deletes it")
#: What a whole webhook has, of either version, if the job asks for triggers.
TRIGGERS: Final = ("message_delivery_receipt", "message_read_receipt")
MEDDLING: Final = (*ELSE, *(f"{what} in the other version" for what in ELSE[1:]), "a late call")


@dataclass(frozen=True)
class Plan:
    """One job's way through the API. Calls beyond the lists are played true and undisturbed."""

    version: int | None = 2
    duplicate: int = 400
    #: Others of the sandbox's settings (`worker/sandbox/manners.py`).
    manners: Mapping[str, Any] = field(default_factory=dict)
    password: bool = False
    #: What somebody else did before, in the job's version and in the other one.
    there: str = "does nothing"
    there_in_other: str = "does nothing"
    creates: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    #: What somebody else does right before the first call, the second one, ...
    meddling: tuple[str, ...] = ()
    attempts: int = 100
    app_seconds: float = 3600.0
    on_existing: str = "accept"
    triggers: bool = False
    #: How updates and the adding of triggers go, one after the other; lists of triggers are true.
    changes: tuple[str, ...] = ()


def _some(of: st.SearchStrategy[str], most: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(of, max_size=most).map(tuple)


PLANS: Final = st.builds(
    Plan,
    version=st.sampled_from([2, None]),
    duplicate=st.sampled_from([400, 403, 409, 417, 422]),
    manners=st.fixed_dictionaries(
        {},
        optional={
            "duplicate_code": st.sampled_from(["", "ERR_FORBIDDEN", "ERR_ID_ALREADY_EXISTS"]),
            "shows": st.sampled_from(["bare", "iso"]),
            "update": st.just("replaces"),
            "tidies": st.just(["id", "name", "emoji", "webhookURL"]),
        },
    ),
    password=st.booleans(),
    there=st.sampled_from([ELSE[0]] * 6 + [*ELSE[1:-1]]),
    there_in_other=st.sampled_from(ELSE[:-1]),
    creates=_some(st.sampled_from([*CREATES]), 5),
    reads=_some(st.sampled_from([*READS]), 5),
    meddling=_some(st.just(ELSE[0]) | st.sampled_from(MEDDLING), 8),
    attempts=st.sampled_from([2, 100]),
    app_seconds=st.sampled_from([0.0, 3600.0]),
    on_existing=st.sampled_from(["accept", "accept", "update", "fail"]),
    triggers=st.booleans(),
    changes=_some(st.sampled_from([*CHANGES]), 4),
)


class Killed(BaseException):
    """The worker's process ends here."""


class Disturbed(BaseException):
    """This machine was so busy that a call with a short deadline was never sent."""


@dataclass
class Call:
    """One call: of which attempt, how it was played, and the webhook before it and after it."""

    attempt: int
    operation: str
    play: Play
    before: dict[str, Any] | None
    after: dict[str, Any] | None = None
    journal: dict[str, Any] = field(default_factory=dict)
    manners: Mapping[str, Any] = field(default_factory=dict)


class World:
    """The API with everybody who acts on it; in place of the task's client."""

    def __init__(self, api: CometChat, sandbox: SandboxControl, plan: Plan) -> None:
        self.app_id = f"shop-{uuid.uuid4().hex[:12]}"
        self.calls: list[Call] = []
        self.deleted = 0
        self.made: list[dict[str, Any]] = []  # by the job's calls
        self.there: dict[str, Any] | None = None  # as it must be, whoever made it
        self.in_other: dict[str, Any] | None = None
        self.broken: AssertionError | None = None
        self.attempt = 0
        self._held = self._creates = self._changed = 0
        self._client = self._api = api
        self._sandbox, self._plan = sandbox, plan
        self._plays = {
            "create": iter([CREATES[name] for name in plan.creates]),
            "get": iter([READS[name] for name in plan.reads]),
        }
        self._changes = iter(plan.changes)
        self._meddling = iter(plan.meddling)
        sandbox.reset()
        sandbox.settings(duplicate=plan.duplicate, **plan.manners)
        sandbox.faults(
            *(
                {**table[name].rule, "operation": operation, "times": 1}
                for operation, table, names in (
                    ("create", CREATES, plan.creates),
                    ("get", READS, plan.reads),
                )
                for name in names
                if table[name].rule
            )
        )
        self._meddle(plan.there)
        if plan.there_in_other != ELSE[0]:
            self._meddle(f"{plan.there_in_other} in the other version")

    def guarded(self, guard: Guard, job: JobTexts) -> World:
        """The attempt's client passes the gate, as in production."""
        self._api = self._client.guarded(guard, job)
        return self

    def create_webhook(self, app_id: str, webhook: Webhook, **options: Any) -> Any:
        """What the task calls."""
        return self._call("create", self._api.create_webhook, app_id, webhook, **options)

    def get_webhook(self, app_id: str, webhook_id: str, **options: Any) -> Any:
        """What the task calls."""
        return self._call("get", self._api.get_webhook, app_id, webhook_id, **options)

    def update_webhook(self, app_id: str, webhook_id: str, changes: Any, **options: Any) -> Any:
        """What the task calls."""
        method = self._api.update_webhook
        return self._call("update", method, app_id, webhook_id, changes, **options)

    def add_triggers(self, app_id: str, webhook_id: str, triggers: Any, **options: Any) -> Any:
        """What the task calls."""
        method = self._api.add_triggers
        return self._call("add_triggers", method, app_id, webhook_id, triggers, **options)

    def list_triggers(self, app_id: str, webhook_id: str, **options: Any) -> Any:
        """What the task calls; nothing goes wrong with it here."""
        method = self._api.list_triggers
        return self._call("list_triggers", method, app_id, webhook_id, **options)

    def _play(self, operation: str) -> Play:
        if operation not in {"update", "add_triggers"}:
            return next(self._plays.get(operation, iter(())), Play(TRUTH))
        play = CHANGES[next(self._changes, "true")]
        if play.rule and play.killed != "before":
            # In front of none that is left: rules for other operations do not match.
            self._sandbox.faults({**play.rule, "operation": operation, "times": 1}, add=True)
        return play

    def _call(self, operation: str, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        self._meddle(next(self._meddling, ELSE[0]))
        play = self._play(operation)
        if play.killed == "before":
            raise Killed
        call = Call(self.attempt, operation, play, self.there, manners=self._plan.manners)
        self.calls.append(call)
        if play.deadline:
            options["deadline_seconds"] = play.deadline
        try:
            return method(*args, **options)
        finally:
            self._look(call)
            if play.killed:
                raise Killed

    def _look(self, call: Call) -> None:
        try:
            self._wait_for_arrival(call.play)
            self._note_effect(call)
        except AssertionError as broken:
            # Within the task it would be a fault of the program, which retries.
            self.broken = broken
            raise Killed from broken

    def _wait_for_arrival(self, play: Play) -> None:
        if play.deadline is None:
            return
        try:
            self._sandbox.wait_for_calls(len(self.calls), timeout=2)
        except TimeoutError:
            raise Disturbed from None
        if play.rule["kind"] == "hold":
            self._held += 1
            self._sandbox.wait_for_held(self._held)

    def _note_effect(self, call: Call) -> None:
        state = self._sandbox.state()
        call.after = self._truth(state["webhooks"], self._plan.version)
        self._note_creates(state)
        changed = sum(state["effects"].get(name, 0) for name in ("update", "add_triggers"))
        if changed > self._changed:
            assert changed == self._changed + 1 and call.operation in {"update", "add_triggers"}
            self._changed = changed
            self.there = call.after
        assert call.after == self.there, "somebody else's webhook was changed"

    def _note_creates(self, state: dict[str, Any]) -> None:
        creates = state["effects"].get("create", 0)
        if creates > self._creates:
            there = self._truth(state["webhooks"], self._plan.version)
            assert creates == self._creates + 1 and there is not None
            self._creates = creates
            self.made.append(there)
            self.there = there

    def truth(self, version: int | None) -> dict[str, Any] | None:
        """The webhook as the API has it now, of one version; there is no other one."""
        return self._truth(self._sandbox.webhooks(), version)

    def _truth(self, webhooks: list[dict[str, Any]], version: int | None) -> dict[str, Any] | None:
        found = [kept for kept in webhooks if kept["version"] == (version or "legacy")]
        assert [kept for kept in webhooks if kept["app_id"] != self.app_id] == []
        assert len(found) <= 1
        return found[0] if found else None

    def _meddle(self, what: str) -> None:
        if what == ELSE[0]:
            return
        if what == "a late call":
            self._release()
            return
        other = what.endswith(" in the other version")
        what = what.removesuffix(" in the other version")
        version: Any = self._plan.version
        if other:
            version = None if version == 2 else 2
        named: Any = version or "legacy"
        if what in PUTS:
            fields = PUTS[what]
            self._sandbox.put_webhook(
                self.app_id, "orders", name=fields["name"], url=fields["webhookURL"], version=named
            )
        elif self.truth(version):
            self._sandbox.delete_webhook(self.app_id, "orders", version=named)
            self.deleted += not other
        if other:
            self.in_other = self.truth(version)
        else:
            self.there = self.truth(version)

    def _release(self) -> None:
        """Calls that the API had kept, and that the client gave up, have their effect now."""
        held, self._held = self._held, 0
        if held and self._sandbox.release():
            eventually(lambda: all(_is_over(call) for call in self._sandbox.calls(1000)))
            self._note_creates(self._sandbox.state())

    def end(self) -> None:
        """Let the last of the late calls arrive, and note what the API has and what it logged."""
        log = [call for call in self._sandbox.calls(1000) if call["app_id"] == self.app_id]
        assert len(log) == len(self.calls)
        for call, entry in zip(self.calls, log, strict=True):
            call.journal = entry
        self._release()
        self.state = self._sandbox.state()

    def at_the_end(self, version: int | None) -> dict[str, Any] | None:
        """The webhook of this version as the API had it in the end."""
        return self._truth(self.state["webhooks"], version)


def _is_over(call: dict[str, Any]) -> bool:
    return not str(call["fault"]).startswith("hold") or call["status"] is not None
