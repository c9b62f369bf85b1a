"""The sandbox as a handler of HTTP requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from worker.sandbox.answers import Answer, Shape
from worker.sandbox.apps import AppRegistry
from worker.sandbox.echo import ERROR_FIELDS, refused, repeating
from worker.sandbox.faults import FaultBook, Rule
from worker.sandbox.forged import PLACEHOLDER, forged_answer
from worker.sandbox.holds import Holds
from worker.sandbox.journal import Entry, Journal
from worker.sandbox.limiter import Limiter, refusal
from worker.sandbox.operations import Call, Operations, parsed
from worker.sandbox.routes import route
from worker.sandbox.settings import Settings
from worker.sandbox.store import Store
from worker.sandbox.wire import WIRE_KINDS, play

_JSON: Final = {"Content-Type": "application/json"}
#: Kinds that give the true answer in the end, however late or slowly.
_TRUE_KINDS: Final = frozenset({"latency", "hold", "shape"})


#: Carries out one call and returns its true answer, in a shape.
_Perform = Callable[[Shape], Answer]


class Sandbox:
    """Plays the Management API.

    Args:
        settings: how it behaves; `reset` goes back to them, but without their faults.
    """

    def __init__(self, settings: Settings) -> None:
        self._initial = settings
        self.settings = settings
        self.faults = FaultBook(settings.faults, settings.seed)
        self.journal = Journal()
        self.holds = Holds()
        self._begin()

    def reset(self) -> None:
        """Forget webhooks, faults, calls and counts; drop held calls; restore the settings.

        A call that is under way has its effect on what is forgotten.
        """
        self.holds.end(proceed=False)
        self.faults.clear()
        self.journal.clear()
        self._begin()

    def _begin(self) -> None:
        settings = self.settings = self._initial
        self.store = Store(settings.duplicate, manners=settings.manners)
        self.apps = AppRegistry(settings.apps, settings.app_appears_after)
        self.operations = Operations(self.store, self.apps, settings.accepted)
        self.limiter = Limiter(settings.limit)

    def apply(self, settings: Settings) -> None:
        """Behave as these settings say from now on, as far as they can be changed."""
        self.settings = settings
        self.store.duplicate = settings.duplicate
        self.store.manners = settings.manners
        self.apps.appears_after = settings.app_appears_after
        self.operations.accepted = settings.accepted
        self.limiter.limit = settings.limit

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one call of the Management API."""
        body = await request.read()
        headers = request.headers
        path, _, query = request.raw_path.partition("?")
        call = Call(
            route=route(request.method, path),
            method=request.method,
            path=path,
            query=query,
            key=headers.get("key"),
            secret=headers.get("secret"),
            version_header=headers.get("X-Webhook-Version"),
            payload=parsed(body),
        )
        app_id, webhook_id = call.route.app_id, call.webhook_id
        operation = call.route.operation
        entry = self.journal.arrived(
            operation, app_id, webhook_id, call.version, headers.get("User-Agent")
        )
        try:
            return await self._answered(request, call, body, entry)
        finally:
            self.journal.answered(entry)

    async def _answered(
        self, request: web.BaseRequest, call: Call, body: bytes, entry: Entry
    ) -> web.StreamResponse:
        admission = self.limiter.admit()
        if admission.passes:
            response = await self._admitted(request, call, body, entry)
        else:
            entry.status, entry.fault = 429, "limit"
            response = _response(refusal())
        if not response.prepared:
            response.headers.update(admission.headers)
        return response

    async def _admitted(
        self, request: web.BaseRequest, call: Call, body: bytes, entry: Entry
    ) -> web.StreamResponse:
        rule = self.faults.pick(entry.operation, entry.app_id, entry.webhook_id)
        perform = self._performance(call)
        if self.settings.latency:
            await asyncio.sleep(self.settings.latency)
        if rule is None:
            answer = perform(self.settings.shape)
            entry.status = answer.status
            return _response(answer)
        entry.fault = rule.label
        return await self._fail(rule, request, body, perform, entry)

    def _performance(self, call: Call) -> _Perform:
        operations = self.operations  # those of its arrival, whatever is reset meanwhile

        def perform(shape: Shape) -> Answer:
            answer = operations.perform(call, shape)
            self.journal.changed()
            return answer

        return perform

    async def _fail(
        self, rule: Rule, request: web.BaseRequest, body: bytes, perform: _Perform, entry: Entry
    ) -> web.StreamResponse:
        if rule.kind in _TRUE_KINDS:
            late = await self._late(rule, perform, entry)
            if late is None:
                return await play(_CUT, request, PLACEHOLDER)
            entry.status = late.status
            return _response(late)
        if rule.kind == "echo" and rule.field is not None:
            is_error = rule.field in ERROR_FIELDS
            answer = refused(rule.status) if is_error else perform(self.settings.shape)
            text: str = rule.text or request.headers.get("secret") or ""
            entry.status = answer.status
            return _response(repeating(answer, rule.field, text, rule.form))
        answer = PLACEHOLDER
        if rule.when == "after" or rule.kind == "drip":
            answer = perform(rule.shape or self.settings.shape)
        if rule.kind in WIRE_KINDS:
            entry.status = None if rule.kind == "cut" else answer.status
            return await play(rule, request, answer)
        forged = forged_answer(rule, request.headers, body)
        entry.status = forged.status
        return _response(forged)

    async def _late(self, rule: Rule, perform: _Perform, entry: Entry) -> Answer | None:
        """Return the true answer at its time, None if the call was dropped meanwhile."""
        shape = rule.shape or self.settings.shape
        answer = perform(shape) if rule.when == "after" else None
        if not await self._wait(rule, entry):
            return None
        return answer or perform(shape)

    async def _wait(self, rule: Rule, entry: Entry) -> bool:
        if rule.kind == "latency":
            await asyncio.sleep(rule.duration)
        if rule.kind != "hold":
            return True
        ticket = self.holds.hold(
            {
                "operation": entry.operation,
                "app_id": entry.app_id,
                "webhook_id": entry.webhook_id,
                "version": entry.version,
                "when": rule.when,
            }
        )
        self.journal.changed()
        return await self.holds.wait(ticket, rule.duration)


_CUT: Final = Rule(kind="cut")


def _response(answer: Answer) -> web.Response:
    headers = CIMultiDict(_JSON)
    headers.update(answer.headers)
    return web.Response(body=answer.body, status=answer.status, headers=headers)
