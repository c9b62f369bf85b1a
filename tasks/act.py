"""What a job does with its webhook at CometChat: one function for each action."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from config.settings import get_settings
from tasks.admission import check_record
from tasks.change import delete, update
from tasks.cometchat import CometChat
from tasks.ensure import ensure
from tasks.exact_triggers import set_triggers
from tasks.more import Action
from tasks.progress import Progress
from tasks.record import JobRecord


class _Act(Protocol):
    def __call__(
        self,
        api: CometChat,
        job: JobRecord,
        *,
        progress: Progress,
    ) -> dict[str, Any]: ...


ACTS: Final[Mapping[Action, _Act]] = {
    "create": ensure,
    "update": update,
    "delete": delete,
    "set_triggers": set_triggers,
}


def act(api: CometChat, job: JobRecord, *, progress: Progress) -> dict[str, Any]:
    """Do what a job asks for, whatever became of earlier calls.

    Args:
        api: the account's client.
        job: what to do with which webhook.
        progress: is told what this attempt has done, however it ends.

    Returns:
        What is stored as the job's result, with its `outcome`.

    Raises:
        RecordRefused: it is not what a producer would have written; nothing was called.
        ApiFailure: a call failed, or what was asked for cannot be done.
    """
    check_record(job, get_settings().webhook_url_allow)
    return ACTS[job.more.action](api, job, progress=progress)
