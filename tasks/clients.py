"""The process's clients of CometChat's API, one for each account."""

from __future__ import annotations

from config.accounts import DEFAULT
from config.celery_app import CONCURRENCY, app
from config.settings import SettingsError, get_settings
from config.shared import shared
from tasks.cometchat import CometChat
from tasks.errors import AccountUnknown


@shared
def get_api(account: str = DEFAULT) -> CometChat:
    """An account's client, its pool as large as the worker's concurrency.

    Raises `AccountUnknown` if this process has no credentials for it.
    """
    settings = get_settings()
    try:
        credentials = settings.credentials(account)
    except SettingsError as error:
        problem = "; ".join(error.problems)
    else:
        return CometChat(
            settings.cometchat_base_url,
            *credentials,
            connect_timeout=settings.cometchat_connect_timeout,
            read_timeout=settings.cometchat_read_timeout,
            pool_size=app.conf.worker_concurrency or CONCURRENCY,
        )
    raise AccountUnknown(f"This worker has no credentials for account {account!r}: {problem}.")
