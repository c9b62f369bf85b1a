"""How each action is told: to a person who reads a message, and at a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from tasks.more import Action


class Verb(NamedTuple):
    """`to_do` the webhook; what may have been `done`; what is known if nothing was: `none`."""

    to_do: str
    done: str
    none: str


VERBS: Final[Mapping[Action, Verb]] = {
    "create": Verb("create", "created it", "It created no webhook."),
    "update": Verb("update", "updated it", "It changed nothing."),
    "delete": Verb("delete", "deleted it", "It deleted nothing."),
    "set_triggers": Verb("set the triggers of", "changed its triggers", "It changed no triggers."),
}
