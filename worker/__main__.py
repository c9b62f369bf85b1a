"""`python -m worker check`, `python -m worker keys new` and `python -m worker acl`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Literal, NamedTuple

import click

from config.accounts import DEFAULT
from config.celery_class import refuse_other_sources
from config.redis_tls import SCHEME as TLS
from config.scrub import LONG
from config.sealing_keys import new_pair
from config.secret_settings import WHITE_SPACE, too_short, trimmed_variables
from config.settings import Durability, Settings, SettingsError, get_settings
from config.terminal import escape_what_cannot_be_shown
from config.values import is_loopback
from tasks.clients import get_api
from tasks.errors import (
    ApiFailure,
    AppNotFound,
    DurabilityUnavailable,
    InvalidInput,
    StoreRefused,
    StoreUnavailable,
)
from tasks.refusals import TLS_HINT, is_about_loading
from tasks.sealing import get_sealer
from tasks.slots import OF_A_WORKER
from tasks.store import get_store
from worker.acl import acl
from worker.servers import servers

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


@main.group()
def keys() -> None:
    """Keys that seal the webhooks' passwords."""


@keys.command()
def new() -> None:
    """Print new keys, as lines of a .env file; to rotate, put each before the one that is there.

    Producers have SEALING_PUBLIC_KEY, which seals, workers SEALING_PRIVATE_KEYS, which opens; keep
    either to itself.
    """
    public, private = new_pair()
    click.echo(f"SEALING_PUBLIC_KEY={public.get_secret_value()}")
    click.echo(f"SEALING_PRIVATE_KEYS={private.get_secret_value()}")


main.add_command(acl)


def findings() -> Iterator[Finding]:
    """What there is to say, a line each."""
    try:
        SettingsError.gather(get_settings, refuse_other_sources, _require_credentials)
        yield Finding("ok", "settings", "complete")
    except SettingsError as error:
        yield from (Finding("error", "settings", problem) for problem in error.problems)
    try:
        settings = get_settings()
    except SettingsError:  # which is told above
        return
    for name in trimmed_variables():
        yield Finding("warning", name, WHITE_SPACE)
    yield _sealing_finding(settings)
    for name in too_short(settings):
        words = f"has fewer than {LONG} characters: not taken out of the log wherever it stands"
        yield Finding("warning", name, words)
    yield from _redis_findings(settings)
    for account in settings.accounts:
        with suppress(SettingsError):  # which is told above
            settings.credentials(account)
            yield _api_finding(settings, account)


def _require_credentials() -> None:
    get_settings().require_credentials()


def _sealing_finding(settings: Settings) -> Finding:
    about, ids = "sealing keys", get_sealer().ids
    if not ids:
        return Finding("warning", about, "none: webhooks with basic auth are refused")
    words = f"{ids[0]} seals" + (f"; besides {', '.join(ids[1:])}" if ids[1:] else "")
    if not settings.sealing_private_keys:
        return Finding("warning", about, f"{words}; none opens, as a worker must")
    return Finding("ok", about, words)


def _redis_findings(settings: Settings) -> Iterator[Finding]:
    url = settings.redis_url.get_secret_value()
    *apart, records = servers(settings)
    for server in apart:
        try:
            server.examine(settings)
            yield Finding("ok", server.setting, "reachable")
        except StoreUnavailable as error:
            yield Finding("error", server.setting, str(error))
    try:
        records.examine(settings)
        facts = get_store().server_facts()
    except StoreUnavailable as error:
        is_told = isinstance(error, StoreRefused) or TLS_HINT in str(error)
        hint = TLS_HINT if url.startswith(TLS) and not is_told else ""
        yield Finding("error", "Redis", f"{error}{hint}")
        return
    where = f"the primary is {facts['primary']}, " if facts["primary"] else ""
    yield Finding("ok", "Redis", f"reachable, {where}version {facts['version']}")
    if facts["role"] in ("slave", "replica"):
        words = "a replica, to which nothing can be written: REDIS_URL must lead to the primary"
        yield Finding("error", "Redis", words)
    if problem := _steps_finding():
        yield problem
    if url.startswith("redis://") and not is_loopback(url):
        words = "Redis's password and the jobs cross the network in clear: use rediss://"
        yield Finding("warning", "REDIS_URL", words)
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
    yield from _room_finding(facts)
    if settings.enqueue_durability != "memory":
        yield _durability_finding(settings.enqueue_durability, replicas=int(facts["replicas"]))


def _room_finding(facts: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the server has room for the connections of a worker more."""
    try:
        clients, most = int(facts["clients"]), int(facts["maxclients"])
    except ValueError:
        return  # it does not tell
    words = f"{clients} of {most} connections are taken, and a worker takes up to {OF_A_WORKER}"
    if most < OF_A_WORKER:
        yield Finding("error", "maxclients", f"{words}: set maxclients higher")
    elif clients + OF_A_WORKER > most:
        yield Finding("warning", "maxclients", f"{words}: there is no room for one more")
    else:
        yield Finding("ok", "maxclients", words)


def _steps_finding() -> Finding | None:
    try:
        get_store().find_steps()
    except StoreRefused as error:
        # Who is no worker need not have the right, and a worker loads them.
        level: Literal["warning", "error"] = "warning" if is_about_loading(error) else "error"
        return Finding(level, "steps", str(error))
    except StoreUnavailable as error:
        return Finding("error", "steps", str(error))
    return _others_finding()


def _others_finding() -> Finding | None:
    """Libraries of steps that releases before this one, or after it, have left."""
    try:
        others = get_store().other_libraries()
    except StoreUnavailable:
        return None  # who is no worker need not have the right
    if not others:
        return None
    words = (
        f"of other versions: {', '.join(others)}. When none of those runs any more: FUNCTION DELETE"
    )
    return Finding("ok", "steps", words)


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
    escape_what_cannot_be_shown()
    main(prog_name="python -m worker")
