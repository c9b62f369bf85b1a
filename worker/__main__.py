"""`python -m worker check` and `python -m worker key`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal, NamedTuple

import click
from cryptography.fernet import Fernet

from config.accounts import DEFAULT
from config.settings import Durability, Settings, SettingsError, get_settings
from tasks.clients import get_api
from tasks.errors import (
    ApiFailure,
    AppNotFound,
    DurabilityUnavailable,
    InvalidInput,
    StoreUnavailable,
)
from tasks.store import get_store

#: No app has this id: asking for its webhooks tries address and credentials, and creates nothing.
PROBE_APP = "worker-check-probe"


class Finding(NamedTuple):
    """One line of the check."""

    level: Literal["ok", "warning", "error"]
    about: str
    words: str


@click.group()
def main() -> None:
    """Commands for whoever runs the worker."""


@main.command()
def check() -> None:
    """Try the settings, Redis and the API, without creating anything."""
    worst = 0
    for level, about, words in findings():
        click.echo(f"{level:8}{about}: {words}")
        worst = max(worst, level == "error")
    sys.exit(worst)


@main.command()
def key() -> None:
    """Print a new key for SEALING_KEYS."""
    click.echo(Fernet.generate_key().decode())


def findings() -> Iterator[Finding]:
    """What there is to say, a line each."""
    try:
        settings = get_settings()
    except SettingsError as error:
        yield from (Finding("error", "settings", problem) for problem in error.problems)
        return
    try:
        settings.require_credentials()
        yield Finding("ok", "settings", "complete")
    except SettingsError as error:
        yield from (Finding("error", "settings", problem) for problem in error.problems)
    if not settings.sealing_keys:
        yield Finding("warning", "SEALING_KEYS", "not set: webhooks with basic auth are refused")
    yield from _redis_findings(settings)
    for account in settings.accounts:
        with suppress(SettingsError):  # which is told above
            settings.credentials(account)
            yield _api_finding(settings, account)


def _redis_findings(settings: Settings) -> Iterator[Finding]:
    try:
        facts = get_store().server_facts()
    except StoreUnavailable as error:
        yield Finding("error", "Redis", str(error))
        return
    where = f"the primary is {facts['primary']}, " if facts["primary"] else ""
    yield Finding("ok", "Redis", f"reachable, {where}version {facts['version']}")
    if facts["maxmemory_policy"] == "noeviction":
        yield Finding("ok", "maxmemory-policy", "noeviction")
    else:
        words = f"{facts['maxmemory_policy']} may evict jobs: set maxmemory-policy noeviction"
        yield Finding("error", "maxmemory-policy", words)
    if facts["appendonly"] == "on":
        yield Finding("ok", "append-only file", "on")
    else:
        words = "off: jobs since the last snapshot are lost when Redis is; set appendonly yes"
        yield Finding("warning", "append-only file", words)
    if settings.enqueue_durability != "memory":
        yield _durability_finding(settings.enqueue_durability, replicas=int(facts["replicas"]))


def _durability_finding(durability: Durability, *, replicas: int) -> Finding:
    about = "ENQUEUE_DURABILITY"
    try:
        get_store().require(durability)
    except (DurabilityUnavailable, StoreUnavailable) as error:
        return Finding("error", about, str(error))
    if durability == "fsync":
        return Finding("ok", about, "fsync: the server confirms what is on its disk")
    if replicas:
        return Finding("ok", about, f"replicas: {replicas} follow this server")
    return Finding("error", about, "replicas: none follows this server; no job can be confirmed")


def _api_finding(settings: Settings, account: str) -> Finding:
    about = "API" if account == DEFAULT else f"API, account {account}"
    try:
        get_api(account).list_webhooks(PROBE_APP, version=2)
    except AppNotFound:
        pass  # it knows us, and says that it does not know the app
    except (ApiFailure, InvalidInput) as error:
        return Finding("error", about, str(error))
    return Finding("ok", about, f"{settings.cometchat_base_url} answers and accepts the key")


if __name__ == "__main__":
    main(prog_name="python -m worker")
