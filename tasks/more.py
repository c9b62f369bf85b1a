"""What a job asks for besides its webhook, as Python and as fields of the record. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Self, get_args

#: The layout of records; `lua/records.lua` has it, too. A record of a later one is left alone.
VERSION: Final = 1

#: Unix seconds from which on no calendar goes; `lua/records.lua` has it, too.
LATEST: Final = 253_402_300_800.0

#: Whom a job waits for: a person, or nobody.
Priority = Literal["interactive", "bulk"]
#: What a job does with its webhook.
Action = Literal["create", "update", "delete", "set_triggers"]
#: What is done about a webhook with this id that differs.
OnExisting = Literal["accept", "update", "fail"]


@dataclass(frozen=True, slots=True)
class More:
    """What a job asks for besides its webhook.

    Args:
        priority: a person waits for an interactive job; bulk ones take what these leave.
        group: bulk jobs of each take turns; by default those of each app.
        on_existing: what is done if the webhook is there: "accept" it with the same name and URL,
            "update" what differs, or "fail".
        triggers: the ids of the triggers that the webhook is to have; of "set_triggers" all.
        action: what is done. The record's `webhook` has what an "update" changes besides the id,
            and nothing but the id for those that follow.
        expires_at: unix seconds after which nobody needs the webhook.
    """

    priority: Priority = "interactive"
    group: str | None = None
    on_existing: OnExisting = "accept"
    triggers: tuple[str, ...] = ()
    expires_at: float | None = None
    action: Action = "create"

    def fields(self) -> dict[str, str]:
        """As fields of the record, without those that say nothing."""
        fields: dict[str, str] = {}
        if self.priority != "interactive":
            fields["priority"] = self.priority
        if self.group is not None:
            fields["group"] = self.group
        if self.on_existing != "accept":
            fields["on_existing"] = self.on_existing
        if self.triggers:
            fields["triggers"] = json.dumps(self.triggers)
        if self.expires_at is not None:
            fields["expires_at"] = f"{self.expires_at:.3f}"
        if self.action != "create":
            fields["action"] = self.action
        return fields

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> Self:
        """Raises `ValueError`."""
        names = ("priority", "group", "on_existing", "action")
        more = {name: fields[name] for name in names if name in fields}
        triggers = json.loads(fields.get("triggers", "[]"))
        choices = {"priority": Priority, "on_existing": OnExisting, "action": Action}
        for name, known in choices.items():
            if more.get(name) not in (None, *get_args(known)):
                raise ValueError(name)
        if not isinstance(triggers, list) or not all(isinstance(one, str) for one in triggers):
            raise ValueError("triggers")
        expires_at = instant(fields.get("expires_at"))
        return cls(**more, triggers=tuple(triggers), expires_at=expires_at)  # type: ignore[arg-type]


def instant(text: str | None) -> float | None:
    """The instant that a field holds, if there is one. Raises `ValueError`."""
    return seconds(text) if text else None


def seconds(text: str) -> float:
    """Unix seconds that a calendar has. Raises `ValueError`."""
    value = float(text)
    if not 0 <= value < LATEST:  # nor NaN
        raise ValueError
    return value
