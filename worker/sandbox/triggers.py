"""The triggers that the documentation names, one set for each webhook version."""

from __future__ import annotations

from typing import Final, Literal

#: A webhook's version: 2 when the call carries `X-Webhook-Version: 2`, else legacy.
Version = Literal[2, "legacy"]


def _ids(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: CometChat's webhooks overview lists these.
_V2: Final = _ids(
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

#: The older overview among CometChat's fundamentals lists these besides, and its older page of
#: webhooks events the last two, for apps with enhanced message status.
_V2_OLDER: Final = _ids(
    """
    user_mentioned group_member_removed call_busy call_cancelled call_rejected call_unanswered
    message_delivered_to_all message_read_by_all
    """
)

#: No page lists these. The first two were seen on one cluster, the others in the Dashboard.
_V2_SEEN: Final = _ids("message_pinned message_unpinned conversation_pinned conversation_unpinned")

#: CometChat's overview of legacy webhooks lists these, its page of legacy webhook events the last.
_LEGACY: Final = _ids(
    """
    before_message after_message message_delivery_receipt message_read_receipt
    user_connection_status_change after_connection_status_changed
    """
)

_V2_ALL: Final = _V2 | _V2_OLDER | _V2_SEEN


def known_triggers(version: Version) -> frozenset[str]:
    """Return the ids of all triggers that webhooks of this version can have."""
    return _V2_ALL if version == 2 else _LEGACY


def description(trigger_id: str) -> str:
    """Return a sentence for the trigger, as the list of a webhook's triggers carries one."""
    return f"Fires on {trigger_id.replace('_', ' ')}."
