"""The triggers of webhooks: what makes CometChat deliver, and which names it documents.

A webhook without triggers delivers nothing. The documentation's lists are not complete (an older
page has names that the newer one lacks), so a name that is on none is told, and can be allowed.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, NamedTuple

from tasks.errors import InvalidInput

log = logging.getLogger("tasks")

#: Characters of a name; the longest documented one has 34. CometChat documents no limit.
MAX_TRIGGER_ID: Final = 100
#: As many as one page of a webhook's triggers has (CometChat, list triggers).
MAX_TRIGGERS: Final = 100

_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]+")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: CometChat, webhooks overview.
_V2: Final = _names(
    """
    message_sent message_edited message_deleted message_reaction_added message_reaction_removed
    message_delivery_receipt message_read_receipt
    user_blocked user_unblocked user_connection_status_changed
    group_created group_updated group_deleted group_member_joined group_member_left
    group_member_added group_member_kicked group_member_banned group_member_unbanned
    group_member_scope_changed group_owner_transferred
    call_initiated call_started call_participant_joined call_participant_left call_ended
    meeting_started meeting_participant_joined meeting_participant_left meeting_ended
    recording_generated transcription_generated
    after_campaign_completed after_campaign_failed after_notification_created
    after_feed_item_sent after_feed_item_delivered after_feed_item_read
    after_feed_item_interacted after_push_notification_sent after_push_notification_delivered
    after_push_notification_clicked
    moderation_engine_approved moderation_engine_blocked moderation_manual_approved
    moderation_engine_failed
    """
)
#: CometChat, fundamentals, webhooks overview, and (the last two, which need enhanced message
#: status) webhooks events: besides those.
_V2_OLDER: Final = _names(
    """
    user_mentioned group_member_removed call_busy call_cancelled call_rejected call_unanswered
    message_delivered_to_all message_read_by_all
    """
)
#: CometChat, legacy webhooks overview, and (the last one) legacy webhook events.
_LEGACY: Final = _names(
    """
    before_message after_message message_delivery_receipt message_read_receipt
    user_connection_status_change after_connection_status_changed
    """
)
#: In no documentation, but seen: the first two on a cluster, the others in the Dashboard.
_V2_SEEN: Final = _names(
    "message_pinned message_unpinned conversation_pinned conversation_unpinned"
)

#: The documented ones by webhook version, None for legacy.
KNOWN: Final = {2: _V2 | _V2_OLDER, None: _LEGACY}
#: Those that are taken although they are not documented, with a warning.
SEEN: Final[dict[int | None, frozenset[str]]] = {2: _V2_SEEN, None: frozenset()}

#: How many characters a mistyped name has too many or lacks; a wrong one counts as both. More, and
#: the guess misleads: from `message_delivered` it is 4 to `message_deleted`.
MISTYPED: Final = 2


def trigger_ids(value: Any) -> tuple[str, ...]:
    """The names in a list; their order means nothing.

    Args:
        value: a list of 1 to 100 texts of 1 to 100 ASCII letters, digits, `_`, `.`, `:` or `-`.

    Raises:
        ValueError: it is none; the words say why and which, by number: a value may be a password
            that is in the wrong column.
    """
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list of names")
    if not 1 <= len(value) <= MAX_TRIGGERS:
        raise ValueError(
            f"at most {MAX_TRIGGERS} (has {len(value)})" if value else "is empty: leave it out"
        )
    unfit = [at for at, name in enumerate(value, 1) if not _is_name(name)]
    if unfit:
        raise ValueError(
            f"number {', '.join(map(str, unfit))}: each must be text of 1 to {MAX_TRIGGER_ID} "
            "ASCII letters, digits, '_', '.', ':' or '-'"
        )
    twice = [at for at, name in enumerate(value, 1) if name in value[: at - 1]]
    if twice:
        raise ValueError(f"number {', '.join(map(str, twice))}: is there already")
    return tuple(value)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TRIGGER_ID and bool(_NAME.fullmatch(value))


class TriggerCheck(NamedTuple):
    """Looks whether the triggers of a webhook are among the names that this program knows.

    Args:
        webhook_version: 2, or None for legacy webhooks, which have triggers of their own.
        allow_unknown: let others through.
    """

    webhook_version: int | None = 2
    allow_unknown: bool = False

    def __call__(self, names: Iterable[str], webhook_id: str) -> None:
        """Raises `InvalidInput` naming each that is unknown, and what may have been meant.

        Its `problems` have numbers in the place of the names. Of those in `SEEN`, the log has a
        warning, once in a process.
        """
        known = KNOWN[self.webhook_version] | SEEN[self.webhook_version]
        names = tuple(names)
        for name in sorted(SEEN[self.webhook_version].intersection(names)):
            _warn_of_seen(name)
        guesses = {
            (at, name): _guess(name, known) for at, name in enumerate(names, 1) if name not in known
        }
        if self.allow_unknown or not guesses:
            return
        kind = "legacy webhooks" if self.webhook_version is None else "webhooks of version 2"
        told = f"not among the names that this version knows for {kind}: "
        ways = "; allow_unknown_triggers (--allow-unknown-triggers) lets it through"
        by_name = ", ".join(f"{name!r}{guess}" for (_, name), guess in guesses.items())
        by_number = ", ".join(f"number {at}{guess}" for (at, _), guess in guesses.items())
        raise InvalidInput(
            f"webhook {webhook_id!r}: triggers: {told}{by_name}{ways}",
            {"triggers": f"{told}{by_number}{ways}"},
        )


#: For webhooks of version 2, with documented triggers alone.
DOCUMENTED: Final = TriggerCheck()


@lru_cache(maxsize=100)
def _warn_of_seen(name: str) -> None:
    log.warning(
        "CometChat does not document the trigger %s, though some apps have it: look at the job's "
        "end whether it was added.",
        name,
    )


def _guess(name: str, known: Iterable[str]) -> str:
    written = re.sub("[-.:]", "_", name.lower())
    distance, near = min((_distance(written, one), one) for one in known)
    return f" (did you mean {near!r}?)" if distance <= MISTYPED else ""


def _distance(a: str, b: str) -> int:
    """How many characters are in one of two names alone."""
    common = difflib.SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    return len(a) + len(b) - 2 * sum(block.size for block in common)
