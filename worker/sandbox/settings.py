"""What the sandbox is told at its start."""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from worker.sandbox.answers import Shape
from worker.sandbox.faults import Rule, parse_rules
from worker.sandbox.mixed import mixed_faults
from worker.sandbox.store import Duplicate

DEFAULT_KEY: Final = "sandbox-key"
DEFAULT_SECRET: Final = "sandbox-secret"

#: The settings that can be changed while it runs.
CHANGEABLE: Final = frozenset({"shape", "duplicate", "latency", "app_appears_after"})


class Settings(BaseModel):
    """How the sandbox behaves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: What the headers `key` and `secret` of each call must be.
    key: str = Field(default=DEFAULT_KEY, min_length=1, repr=False)
    secret: str = Field(default=DEFAULT_SECRET, min_length=1, repr=False)
    #: How answers wrap one webhook.
    shape: Shape = "object"
    #: The status with which create refuses an id that the app already has.
    duplicate: Duplicate = 400
    #: Seconds that each call takes at least.
    latency: float = Field(default=0.0, ge=0, le=3600)
    #: The ids of the apps that exist; None for "every id exists".
    apps: tuple[str, ...] | None = None
    #: Seconds between an app's making, or its first call, and its being found.
    app_appears_after: float = Field(default=0.0, ge=0)
    #: Makes the random choices of faults repeatable.
    seed: int | None = None
    #: The rules of faults at the start.
    faults: tuple[Rule, ...] = ()

    def changed(self, changes: dict[str, Any]) -> Settings:
        """Return these settings with some of the changeable ones changed.

        Raises:
            ValueError: a setting is unknown or fixed, or its value is out of bounds.
        """
        fixed = changes.keys() - CHANGEABLE
        if fixed:
            raise ValueError(f"These settings cannot be changed: {', '.join(sorted(fixed))}.")
        return Settings.model_validate({**dict(self), **changes})


def parse_faults(text: str) -> list[Rule]:
    """Return the rules that an option tells: `mixed:RATE`, or a JSON list of rules, or nothing.

    Raises:
        ValueError: the text is neither, or a rule breaks a limit.
    """
    text = text.strip()
    if not text:
        return []
    name, _, rate = text.partition(":")
    if name == "mixed":
        return parse_rules(mixed_faults(float(rate)))
    return parse_rules(json.loads(text))
