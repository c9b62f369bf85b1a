"""How the API does what no documentation says: each manner is one that an API may have.

All of them can be changed while the sandbox runs. By default it keeps what it is sent as it is.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

#: What is stored in a tidier form: ids in lower case; names trimmed, with one space between words
#: and in NFC; an emoji as a question mark; URLs without default port and slash at their end, and
#: with the host in lower case.
Tidied = Literal["id", "name", "emoji", "webhookURL"]

#: The status with which create refuses an id that the app already has. No source documents it.
Duplicate = Literal[400, 403, 409, 417, 422]

_FOUR_BYTES: Final = re.compile("[\U00010000-\U0010ffff]")


class Manners(BaseModel):
    """What the API does where the documentation is silent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: The code of the refusal of an id that is taken, "" for none; None for the usual: with 409
    #: ERR_WEBHOOK_ALREADY_EXISTS, else ERR_BAD_REQUEST with the field `id`.
    duplicate_code: str | None = None
    #: What is stored in a tidier form.
    tidies: tuple[Tidied, ...] = ()
    #: Whether an update keeps what it does not name, or has the defaults of create for it.
    update: Literal["merges", "replaces"] = "merges"
    #: The fields that an update takes without a word, and leaves as they are.
    ignores: tuple[str, ...] = ()
    #: What answers show of a webhook: all, "bare" without `enabled` and instants, or "iso" with
    #: the instants as ISO text.
    shows: Literal["all", "bare", "iso"] = "all"
    #: The status for an app that there is not: 404 ERR_APP_NOT_FOUND or 401 AUTH_ERR_INVALID_APPID.
    unknown_app: Literal[404, 401] = 404
    #: The triggers that the plan allows, None for all.
    plan_triggers: tuple[str, ...] | None = None
    #: Whether an app can have legacy webhooks or new ones, but not both.
    exclusive_versions: bool = False

    def id_of(self, webhook_id: str) -> str:
        """The id under which a webhook is kept and found."""
        return webhook_id.lower() if "id" in self.tidies else webhook_id

    def tidied(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields as they are stored."""
        fields = dict(fields)
        if "id" in fields:
            fields["id"] = self.id_of(fields["id"])
        if "name" in fields and "name" in self.tidies:
            fields["name"] = " ".join(unicodedata.normalize("NFC", fields["name"]).split())
        if "name" in fields and "emoji" in self.tidies:
            fields["name"] = _FOUR_BYTES.sub("?", fields["name"])
        if "webhookURL" in fields and "webhookURL" in self.tidies:
            fields["webhookURL"] = _tidy_url(fields["webhookURL"])
        return fields

    def shown(self, webhook: dict[str, Any]) -> dict[str, Any]:
        """A webhook as answers show it, of one that shows all."""
        if self.shows == "bare":
            return {name: webhook[name] for name in ("id", "name", "webhookURL")}
        if self.shows == "iso":
            instants = {name: _iso(webhook[name]) for name in ("createdAt", "updatedAt")}
            return {**webhook, **instants}
        return webhook


MANNERS: Final = frozenset(Manners.model_fields)
#: It keeps what it is sent as it is.
PLAIN: Final = Manners()


def _tidy_url(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.lower().removesuffix(":443")
    return parts._replace(netloc=host, path=parts.path.rstrip("/")).geturl()


def _iso(instant: int) -> str:
    return datetime.fromtimestamp(instant, UTC).isoformat().replace("+00:00", "Z")
