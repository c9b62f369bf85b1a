"""The Redis servers that the settings name, and whether they can be used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pydantic import SecretStr

from config.redis_url import PLAIN_SCHEMES
from config.redis_url import SCHEME as SENTINEL_SCHEME
from config.settings import Settings
from tasks.errors import StoreRefused, StoreUnavailable
from tasks.redis import Connection
from tasks.server import QUEUE, RECORDS, RESULTS


class Server(NamedTuple):
    """A server that a setting names.

    Args:
        setting: its name.
        url: where the server is.
        needs: the commands that it must have.
    """

    setting: str
    url: SecretStr
    needs: frozenset[str]

    def examine(self, settings: Settings) -> None:
        """Reach it. Raises `StoreUnavailable`, as `StoreRefused` if it cannot be used."""
        Connection(
            self.url, prefix="", patience=0.0, tls=settings.redis_tls, needs=self.needs
        ).reach()


def servers(settings: Settings) -> Iterator[Server]:
    """All of them; a broker or a result backend may be something else."""
    records = RECORDS
    apart = (
        ("CELERY_BROKER_URL", settings.celery_broker_url, QUEUE),
        ("CELERY_RESULT_BACKEND", settings.celery_result_backend, RESULTS),
    )
    for name, url, needs in apart:
        if url is None:
            records |= needs
            continue
        for one in url.get_secret_value().split(";"):
            if one.startswith((*PLAIN_SCHEMES, SENTINEL_SCHEME)):
                yield Server(name, SecretStr(one), needs)
    yield Server("REDIS_URL", settings.redis_url, records)


def refuse_unfit(settings: Settings) -> None:
    """Raise `StoreRefused` if one of them cannot be used, with all that are; one that is away may
    come back.
    """
    found: list[str] = []
    for server in servers(settings):
        try:
            server.examine(settings)
        except StoreRefused as error:
            name = "" if server.setting == "REDIS_URL" else f"{server.setting}: "
            found.append(f"{name}{error}")
        except StoreUnavailable:
            pass
    if found:
        raise StoreRefused("\n".join(dict.fromkeys(found)))
