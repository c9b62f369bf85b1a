"""The process's store of jobs, from its settings."""

from __future__ import annotations

from typing import Final

from config.settings import get_settings
from config.shared import shared
from tasks.gate import Limits
from tasks.jobs import JobStore
from tasks.slots import ATTEMPTS, OTHERS

#: Seconds for which a step that meets no Redis is tried again: a person who waits for an answer
#: gets an error within 5 s; an attempt that has something to report sits out a restart.
PRODUCER_PATIENCE: Final = 1.5
WORKER_PATIENCE: Final = 20.0


@shared
def get_store(patience: float = PRODUCER_PATIENCE) -> JobStore:
    """The process's store. It connects at the first step."""
    settings = get_settings()
    return JobStore(
        settings.redis_url,
        pipe_size=settings.pipe_size,
        result_ttl=settings.result_ttl,
        call_seconds=settings.cometchat_connect_timeout + settings.cometchat_read_timeout,
        patience=patience,
        limits=Limits(
            rate=settings.cometchat_rate_limit,
            share=settings.cometchat_rate_share,
            probe_seconds=settings.gate_probe_seconds,
            rates={
                account: settings.rate_limit(account) for account in settings.cometchat_accounts
            },
        ),
        accounts=settings.accounts,
        tls=settings.redis_tls,
        appendfsync=settings.redis_appendfsync,
        connections=ATTEMPTS if patience == WORKER_PATIENCE else OTHERS,
    )
