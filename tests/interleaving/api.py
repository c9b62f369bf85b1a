"""CometChat as the sandbox plays it, with effects that may come late.

What is called goes on when its caller has given up, is frozen or dead: nobody calls it back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr

from tasks.no_answer import NoAnswer
from tasks.transport import Answer
from worker.sandbox.answers import Answer as Reply
from worker.sandbox.answers import ApiError
from worker.sandbox.apps import AppRegistry
from worker.sandbox.operations import Call, Operations, parsed
from worker.sandbox.routes import route
from worker.sandbox.store import Store, Webhook

if TYPE_CHECKING:
    from tests.interleaving.world import World

#: A whole call takes no longer: COMETCHAT_CONNECT_TIMEOUT and COMETCHAT_READ_TIMEOUT of the runs.
CALL_SECONDS: Final = 5.0
#: What may become of a call, and how likely that is in a play with faults.
FATES: Final = {
    "answered": 50,
    "slow": 6,
    "silent, no effect": 2,
    "silent, with its effect": 3,
    "silent, its effect late": 2,
    "500, no effect": 2,
    "500, with its effect": 2,
    "429": 4,
    "refused": 5,
    "not sent": 1,
}
SLOW: Final = (0.5, 1.2, 3.0, 4.5)
LATE: Final = (6.0, 9.0, 20.0, 40.0)
READS: Final = frozenset({"get", "list", "list_triggers"})


@dataclass
class Sent:
    """One call, from the moment at which its bytes leave."""

    operation: str
    app_id: str
    webhook_id: str
    job: str
    attempt: int
    actor: str
    at: float
    #: Whether the attempt had its job then, or at least when it last asked.
    is_held: bool
    was_held: bool
    reply: Answer | None = None
    landed_at: float | None = None
    #: Whether it changed something.
    changed: bool = False
    #: Its effect came when its job had ended, or was begun by another attempt.
    is_late: bool = False
    #: Nothing will come of it any more.
    is_over: bool = False
    fields: Any = field(default=None, repr=False)


class Api:
    """The API of all accounts, and every call that was made."""

    def __init__(self, world: World) -> None:
        self._world = world
        accepted = frozenset((f"key-{name}", f"secret-{name}") for name in world.accounts)
        self._operations = Operations(Store(clock=lambda: 0.0), AppRegistry(), accepted)
        #: Accounts whose credentials are refused just now.
        self.refused: set[str] = set()
        self.calls: list[Sent] = []
        self.weights = list(FATES.values())

    def expects(self, **weights: int) -> None:
        """How likely each of the fates is, those that are not named not at all."""
        self.weights = [weights.get(name, 0) for name in FATES]

    def webhook(self, app_id: str, webhook_id: str) -> Webhook | None:
        """The webhook as it is now."""
        try:
            return self._operations.store.get((app_id, 2), webhook_id)
        except ApiError:
            return None

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, Any],
        body: SecretStr | None = None,
        deadline_seconds: float | None = None,
        before_bytes: Callable[[], None] = lambda: None,
    ) -> Answer | NoAnswer:
        """In the place of `Transport.send`: connect, ask whether to go on, send, wait."""
        world, actor = self._world, self._world.scheduler.current
        if not world.calm:
            connecting = (0.0, 0.2, 0.9, 7.0)
            name = f"connecting {actor.name} {actor.pauses}"
            world.scheduler.pause(connecting[world.choose(name, (30, 2, 1, 1))])
        before_bytes()
        payload = parsed(b"" if body is None else body.get_secret_value().encode())
        key, secret, version = (
            value.get_secret_value() if isinstance(value, SecretStr) else value
            for value in (headers.get(name) for name in ("key", "secret", "X-Webhook-Version"))
        )
        where = route(method, path)
        call = Call(where, method, path, "", key, secret, version, payload)
        job = actor.notes["attempt"]
        sent = Sent(
            where.operation,
            where.app_id,
            call.webhook_id,
            job.id,
            job.attempt,
            actor.name,
            world.scheduler.now,
            *world.judge.holds_now(actor),
            fields=payload,
        )
        self.calls.append(sent)
        number = actor.notes["calls"] = actor.notes.get("calls", 0) + 1
        name = f"call {actor.name} {number}"
        fate = [*FATES][0 if world.calm else world.choose(name, self.weights)]
        world.tell(f"sends {where.operation} {payload or ''}: {fate}")
        if sent.operation not in READS:
            world.judge.sends(actor, sent)
        if fate == "not sent":
            sent.is_over = True
            return NoAnswer("the connection was refused", sent=False)
        latency = 0.05
        if fate == "slow":
            latency = SLOW[world.choose(f"{name} takes", (1,) * 4)]
        if fate == "silent, its effect late":
            latency = LATE[world.choose(f"{name} takes", (1,) * 4)]
        began, most = world.scheduler.now, min(deadline_seconds or CALL_SECONDS, CALL_SECONDS)
        world.scheduler.at(began + latency, lambda: self._land(call, sent, fate))
        is_silent = fate.startswith("silent")
        world.scheduler.pause(most if is_silent else min(latency * 2, most))
        # A frozen process finds the answer when it wakes, if it had come in time.
        if sent.reply is None or is_silent or sent.landed_at > began + most:  # type: ignore[operator]
            return NoAnswer(f"no time was left after {most:.1f} s", sent=True)
        return sent.reply

    def _land(self, call: Call, sent: Sent, fate: str) -> None:
        world = self._world
        sent.landed_at, sent.is_over = world.scheduler.now, True
        if (call.key or "")[4:] in self.refused:
            error = ApiError(401, "AUTH_ERR_INVALID_SECRET_KEY", "The key is not valid.")
            sent.reply = _answer(error.answer())
        elif fate == "429":
            error = ApiError(429, "ERR_TOO_MANY_REQUESTS", "Too many requests.")
            sent.reply = _answer(error.answer({"Retry-After": "2"}))
        elif fate == "refused" and sent.operation not in READS:
            sent.reply = _answer(_refusal(sent.operation).answer())
        elif fate.endswith("no effect"):
            sent.reply = _answer(ApiError(500, None, "Down.").answer())
        else:
            before = json.dumps(self._operations.store.state())
            reply = self._operations.perform(call, "object")
            sent.changed = json.dumps(self._operations.store.state()) != before
            if fate == "500, with its effect":
                reply = ApiError(500, None, "Down.").answer()
            sent.reply = _answer(reply)
        if sent.operation not in READS:
            world.judge.lands(sent)
        changed = " and changes the webhook" if sent.changed else ""
        world.tell(f"the API does {sent.operation} of {sent.actor}{changed}: {sent.reply.status}")


def _refusal(operation: str) -> ApiError:
    """For good, and of the job alone."""
    if operation == "create":
        return ApiError(403, "ERR_PLAN_RESTRICTION", "The plan does not allow it.")
    return ApiError(400, "ERR_NOT_THIS_ONE", "This one cannot be changed.")


def _answer(reply: Reply) -> Answer:
    return Answer(reply.status, {"Content-Type": "application/json", **reply.headers}, reply.body)
