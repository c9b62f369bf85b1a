"""What Celery's commands start with: settings, options, logs, Sentry and the dispatcher on the app.

What is wrong ends the process with one message before anything starts.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, NoReturn

import click
from celery import signals
from celery.exceptions import ImproperlyConfigured
from urllib3.exceptions import ProxySchemeUnknown

from config.celery_app import app
from config.celery_class import refuse_other_sources
from config.logging import configure_logging
from config.settings import SettingsError, get_settings
from tasks.errors import DurabilityUnavailable, StoreRefused, StoreUnavailable
from tasks.store import get_store
from worker import celery_internals
from worker.dispatcher import Dispatcher
from worker.memory import bound_arenas, drop_traceback
from worker.options import OptionRefused, add_check, check_arguments, chosen_level
from worker.servers import refuse_unfit

__all__ = ["app"]


def _refuse(error: Exception) -> NoReturn:
    print(error, file=sys.stderr)
    # Into a file: a process that has detached has no other way. The app makes its log from the
    # settings, which may be what is wrong.
    if "log" in vars(app) and app.log.already_setup:
        logging.getLogger(__name__).critical("%s", error)
    raise SystemExit(2)


# Celery's commands load the app once they know which of them is to run.
_context = click.get_current_context(silent=True)
_command = _context and _context.invoked_subcommand


def _require_credentials() -> None:
    if _command == "worker" and "--help" not in sys.argv:
        get_settings().require_credentials()


try:
    SettingsError.gather(get_settings, refuse_other_sources, _require_credentials)
    _settings = get_settings()
except SettingsError as _error:
    _refuse(_error)

celery_internals.install()
app.steps["worker"].add(Dispatcher)

# A worker does so when it starts, with more to look at.
if _command in {"beat", "flower"} and "--help" not in sys.argv:
    try:
        refuse_unfit(_settings)
    except StoreRefused as _error:
        _refuse(_error)

if _command == "flower":
    from worker.flower import guard

    guard(sys.argv, _refuse)

# Flower asks for no logging of ours; it sets up its own unless there is one.
if "flower" in sys.argv:
    configure_logging(_settings)


def _or_end(handler: Callable[..., None]) -> Callable[..., None]:
    """Let whatever a handler raises end the start: Celery would go on without the rest of it, and
    write a line that nobody sees, as there is no log yet.
    """

    @wraps(handler)
    def handle(**options: Any) -> None:
        try:
            handler(**options)
        except Exception as error:
            print(
                f"The start failed in {handler.__name__}: {type(error).__name__}", file=sys.stderr
            )
            with suppress(Exception):  # its words are searched for secrets by the log alone
                configure_logging(_settings)
                logging.getLogger(__name__).critical("The start failed", exc_info=True)
            raise SystemExit(1) from None

    return handle


def _check_start() -> None:
    """Refuse to start a worker without credentials or a Redis that it can use."""
    try:
        _settings.require_credentials()
        _require_libraries()
        # Those who enqueue would learn of it one by one. A Redis that is away may come back.
        with suppress(StoreUnavailable):
            _prepare_redis()
    except (SettingsError, DurabilityUnavailable) as error:
        _refuse(error)


def _require_libraries() -> None:
    """Raise `SettingsError` if what the result backend needs is not installed."""
    try:
        app.backend  # noqa: B018
    except (ImportError, ImproperlyConfigured) as error:
        name = getattr(error, "name", None) or "see Celery's manual"
        words = f"needs a library that is not installed: {name}"
        raise SettingsError([("CELERY_RESULT_BACKEND", words)]) from None


def _prepare_redis() -> None:
    """Load the steps; refuse to start without a worker's rights, with a wrong certificate, or with
    a server that cannot be used."""
    store = get_store.__wrapped__()  # its connection ends with it
    try:
        refuse_unfit(_settings)
        store.prepare()
        store.require(_settings.enqueue_durability)
    except StoreRefused as error:
        _refuse(error)


add_check(app, refuse=_refuse, before_detaching=_check_start)


def _proxy_variable() -> str:
    """The name of the variable that names a proxy without its kind."""
    names = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
    return next((one for one in names if "://" not in os.environ.get(one, "://")), names[0])


@signals.setup_logging.connect
@_or_end
def _on_setup_logging(logfile: str | None = None, **_: Any) -> None:
    try:
        configure_logging(_settings, file=logfile, level=chosen_level())
    except OSError as error:
        _refuse(OSError(f"The log file {logfile} cannot be written: {error.strerror}."))


@signals.celeryd_init.connect
@_or_end
def _on_worker_init(instance: Any, options: dict[str, Any], **_: Any) -> None:
    bound_arenas()
    if logfile := options.get("logfile"):
        app.log.setup_logging_subsystem(logfile=logfile, hostname=instance.hostname)
    try:
        check_arguments()
        _check_start()
    except OptionRefused as error:
        _refuse(error)
    if _settings.sentry_dsn is not None:  # its SDK takes its time to load
        from worker.sentry import start_sentry

        try:
            start_sentry(_settings)
        except ProxySchemeUnknown:
            words = "must be a URL such as http://host:3128, for Sentry's sake"
            _refuse(SettingsError([(_proxy_variable(), words)]))
    signals.task_postrun.connect(drop_traceback)


@signals.celeryd_after_setup.connect
@_or_end
def _on_worker_setup(instance: Any, **_: Any) -> None:
    # What `--concurrency` says, so that the API client's pool is as large.
    app.conf.worker_concurrency = instance.concurrency
