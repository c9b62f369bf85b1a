"""What is looked at of a webhook that is valid in itself: what depends on options and settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from tasks.destination import check_allowed
from tasks.errors import InvalidInput
from tasks.triggers import DOCUMENTED, TriggerCheck
from tasks.webhook import Webhook


class WebhookCheck(NamedTuple):
    """Looks at a webhook's triggers and at where it leads.

    Args:
        triggers: which are known.
        domains: those of WEBHOOK_URL_ALLOW.
    """

    triggers: TriggerCheck = DOCUMENTED
    domains: tuple[str, ...] = ()

    def problems(self, webhook: Webhook) -> Iterator[InvalidInput]:
        """What is wrong with it, if anything."""
        try:
            check_allowed(webhook.webhook_url, webhook.id, self.domains)
        except InvalidInput as error:
            yield error
        try:
            self.triggers(webhook.triggers, webhook.id)
        except InvalidInput as error:
            yield error


#: Of webhooks of version 2, to wherever they lead, with documented triggers alone.
USUAL: Final = WebhookCheck()
