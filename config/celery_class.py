"""The class of the Celery app: nothing but the program's settings tells it where its broker is.

Celery reads CELERY_BROKER_URL, CELERY_RESULT_BACKEND and others from the environment itself, each
time, and takes their values as they are: past the settings' checks, and past `config/redis_url.py`.
Here it does not, and `refuse_other_sources` refuses those that only Celery would read.
"""

from __future__ import annotations

import os
from typing import Any, Final

from celery import Celery
from celery.app.utils import Settings as CelerySettings
from celery.loaders.app import AppLoader

from config.settings import SettingsError

_INSTEAD: Final = "is read by Celery alone, not by all of this program: unset it, and set"
_OURS: Final = "would replace what config/celery_app.py says: unset it"
#: Variables that Celery, or its command, reads and this program does not, and what to do instead.
OTHER_SOURCES: Final = {
    "CELERY_BROKER_READ_URL": f"{_INSTEAD} CELERY_BROKER_URL",
    "CELERY_BROKER_WRITE_URL": f"{_INSTEAD} CELERY_BROKER_URL",
    # `celery` takes these for its options --broker, --result-backend, --config and --loader.
    "BROKER_URL": f"{_INSTEAD} CELERY_BROKER_URL",
    "CELERY_BROKER": f"{_INSTEAD} CELERY_BROKER_URL",
    "RESULT_BACKEND": f"{_INSTEAD} CELERY_RESULT_BACKEND",
    "CONFIG_MODULE": _OURS,
    "CELERY_CONFIG": _OURS,
    "CELERY_CONFIG_MODULE": _OURS,
    "LOADER": _OURS,
    "CELERY_LOADER": _OURS,
}


def refuse_other_sources() -> None:
    """Raise `SettingsError` naming each variable by which Celery would be told something else.

    For Celery's own commands. A producer ignores them: they may be its application's.
    """
    found = [(name, words) for name, words in OTHER_SOURCES.items() if os.environ.get(name)]
    if found:
        raise SettingsError(found)


class _OneReader(CelerySettings):
    """Celery's settings, without its own look at the environment."""

    @property
    def broker_url(self) -> Any:
        return self.get("broker_url")

    @property
    def broker_read_url(self) -> Any:
        return self.get("broker_read_url") or self.broker_url

    @property
    def broker_write_url(self) -> Any:
        return self.get("broker_write_url") or self.broker_url

    @property
    def result_backend(self) -> Any:
        return self.get("result_backend")


class _NoModule(AppLoader):
    """Celery's loader, which reads no module that CELERY_CONFIG_MODULE names."""

    def read_configuration(self, env: str = "") -> None:
        """No settings."""


class App(Celery):
    """Celery's app, told by its configuration alone."""

    def __init__(self, main: str, **options: Any) -> None:
        super().__init__(main, loader=_NoModule, **options)
        # Celery makes it here and fills it later, without a way to name its class. An assignment
        # would be a setting.
        object.__setattr__(self._conf, "__class__", _OneReader)
