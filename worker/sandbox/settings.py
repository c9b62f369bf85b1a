"""What the sandbox is told at its start."""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from pydantic import Field

from worker.sandbox.answers import Shape
from worker.sandbox.faults import Rule, parse_rules
from worker.sandbox.limiter import RateLimit
from worker.sandbox.manners import MANNERS, Duplicate, Manners
from worker.sandbox.mixed import mixed_faults

DEFAULT_KEY: Final = "sandbox-key"
DEFAULT_SECRET: Final = "sandbox-secret"
DEFAULT_NEW_KEY: Final = "sandbox-new-key"
DEFAULT_NEW_SECRET: Final = "sandbox-new-secret"

#: A pair of key and secret: the one that there is, and the one that keys are rotated to.
Pair = Literal["old", "new"]

#: The settings that can be changed while it runs.
CHANGEABLE: Final = MANNERS | {
    "shape",
    "duplicate",
    "latency",
    "app_appears_after",
    "limit",
    "accepted_keys",
}


class Settings(Manners):
    """How the sandbox behaves."""

    #: What the headers `key` and `secret` of each call must be.
    key: str = Field(default=DEFAULT_KEY, min_length=1, repr=False)
    secret: str = Field(default=DEFAULT_SECRET, min_length=1, repr=False)
    #: Another pair, for when keys are rotated.
    new_key: str = Field(default=DEFAULT_NEW_KEY, min_length=1, repr=False)
    new_secret: str = Field(default=DEFAULT_NEW_SECRET, min_length=1, repr=False)
    #: Which of the two pairs are accepted.
    accepted_keys: tuple[Pair, ...] = ("old",)
    #: How many calls are let through; None for all.
    limit: RateLimit | None = None
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

    @property
    def accepted(self) -> frozenset[tuple[str, str]]:
        """The pairs of key and secret that calls may carry."""
        pairs: dict[Pair, tuple[str, str]] = {
            "old": (self.key, self.secret),
            "new": (self.new_key, self.new_secret),
        }
        return frozenset(pairs[name] for name in self.accepted_keys)

    @property
    def manners(self) -> Manners:
        """The manners among these settings."""
        return Manners.model_validate({name: getattr(self, name) for name in MANNERS})

    def changed(self, changes: dict[str, Any]) -> Settings:
        """Return these settings with some of the changeable ones changed.

        Raises:
            ValueError: a setting is unknown or fixed, or its value is out of bounds.
        """
        fixed = changes.keys() - CHANGEABLE
        if fixed:
            raise ValueError(f"These settings cannot be changed: {', '.join(sorted(fixed))}.")
        return Settings.model_validate({**dict(self), **changes})


def parse_manners(text: str) -> dict[str, Any]:
    """Return the manners that an option tells in JSON, such as `{"tidies": ["name"]}`, or none.

    Raises:
        ValueError: there is no such manner, or not with this value.
    """
    return Manners.model_validate(json.loads(text or "{}")).model_dump(exclude_unset=True)


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
