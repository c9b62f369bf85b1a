"""The program's own modules, made to reach out to a run's world instead of to this machine.

What is swapped is found by what it is, not by where it was imported to: a module that comes to use
`time`, say, is covered as well.
"""

from __future__ import annotations

import logging
import random
import socket
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import Context
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final, Self
from unittest import mock

import structlog

import worker.dispatcher as dispatcher
from config.celery_app import app
from tasks import create_webhook, pipe, steps
from tasks.jobs import JobStore
from tasks.redis import Connection
from tasks.signals import account_rejected, bug_found
from tasks.transport import Transport
from tests.interleaving.clock import SHIM

#: How the program is told to be. Retries are over within seconds, the gate's formulas are those of
#: production.
ENVIRONMENT: Final = {
    "COMETCHAT_KEY": "key-default",
    "COMETCHAT_SECRET": "secret-default",
    "COMETCHAT_ACCOUNTS": '{"acme": {"key": "key-acme", "secret": "secret-acme"}}',
    "COMETCHAT_CONNECT_TIMEOUT": "1",
    "COMETCHAT_READ_TIMEOUT": "4",
    "GATE_PROBE_SECONDS": "5",
    "RETRY_BASE_SECONDS": "0.5",
    "RETRY_MAX_DELAY_SECONDS": "4",
    "RETRY_MAX_ATTEMPTS": "4",
    "RETRY_MAX_AGE": "20",
    "PIPE_SIZE": "6",
    "RESULT_TTL": "1000",
    "LOG_LEVEL": "critical",
}

#: Modules that bound the real time, as do those that have to do with sockets themselves.
REAL_TIME: Final = frozenset({"tasks.bounded", "tasks.durability"})


def _waits_for_sockets(module: ModuleType) -> bool:
    return module.__name__ in REAL_TIME or socket in vars(module).values()


class _Own:
    """In the place of what tells a worker's process from others of the same name."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    def __format__(self, _: str) -> str:
        return str(self._hooks.world.process_name())


class _Backend:
    """In the place of Celery's result backend: nobody asks it anything."""

    def store_result(self, *_: Any, **__: Any) -> None: ...

    def forget(self, *_: Any) -> None: ...


class _Through:
    """Stands for something of the present world; for what it was, while there is none."""

    def __init__(self, hooks: Hooks, name: str, real: Any) -> None:
        self._hooks, self._name, self._real = hooks, name, real

    def __getattr__(self, name: str) -> Any:
        world: Any = self._hooks.world
        if world is None:
            return getattr(self._real, name)
        return getattr(getattr(world, self._name) if self._name else world, name)


class Hooks:
    """As long as it is entered, the program runs in `world`."""

    def __init__(self) -> None:
        self.world: Any = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        put = self._stack.enter_context
        self._swap(time, _Through(self, "time", time), but=_waits_for_sockets)
        self._swap(uuid, _Through(self, "ids", uuid))
        self._swap(create_webhook.leaving, _Through(self, "", create_webhook.leaving))
        self._swap(pipe.publish, lambda *args, **options: self.world.publish(*args, **options))
        self._swap(pipe.messages_in_queue, lambda: self.world.queued())
        self._swap(dispatcher.received_ids, lambda: self.world.received_ids())
        self._stack.callback(steps.get_steps.cache_clear)
        put(mock.patch.object(steps, "LIBRARY", (SHIM, *steps.LIBRARY)))
        steps.get_steps.cache_clear()
        put(mock.patch.object(type(app), "backend", _Backend()))
        put(mock.patch.object(Transport, "send", self._send))
        run, claim, add = Connection.run, JobStore.claim, JobStore.add

        def command(connection: Connection, call: Any, *args: Any, **options: Any) -> Any:
            def one(*args: Any, **options: Any) -> Any:
                # Not within what is left of a block's real time, of which others take their part.
                return Context().run(self.world.command, call, *args, **options)

            return run(connection, call if self.world is None else one, *args, **options)

        def claimed(store: JobStore, *args: Any, **options: Any) -> Any:
            record = claim(store, *args, **options)
            self.world.claimed(record)
            return record

        def adding(store: JobStore, jobs: Any, *args: Any, **options: Any) -> Any:
            self.world.scheduler.current.notes["adding"] = jobs
            return add(store, jobs, *args, **options)

        put(mock.patch.object(Connection, "run", command))
        put(mock.patch.object(JobStore, "add", adding))
        put(mock.patch.object(JobStore, "claim", claimed))
        if find_spec("tasks.identity"):
            put(mock.patch("tasks.identity._OWN", _Own(self)))
        self._listen()
        self._be_quiet()
        self._stack.callback(random.setstate, random.getstate())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _swap(
        self, real: Any, stand_in: Any, but: Callable[[ModuleType], bool] = lambda _: False
    ) -> None:
        for name, module in list(sys.modules.items()):
            if not name.startswith(("tasks.", "worker.")) or but(module):
                continue
            for attribute, value in list(vars(module).items()):
                if value is real:
                    self._stack.enter_context(mock.patch.object(module, attribute, stand_in))

    def _send(self, *args: Any, **options: Any) -> Any:
        return self.world.api.send(*args, **options)

    def _listen(self) -> None:
        def rejected(account: str, **_: Any) -> None:
            self.world.tell(f"everybody hears that {account} is rejected")
            self.world.judge.heard.append((self.world.scheduler.now, account))

        def bug(error: Exception, **_: Any) -> None:
            self.world.scheduler.error = error

        for signal, receiver in ((account_rejected, rejected), (bug_found, bug)):
            signal.connect(receiver, weak=False)
            self._stack.callback(signal.disconnect, receiver)

    def _be_quiet(self) -> None:
        before = structlog.get_config()
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        self._stack.callback(structlog.configure, **before)
        self._stack.callback(logging.disable, logging.root.manager.disable)
        logging.disable(logging.CRITICAL)
