"""What the actions of jobs (`tasks/act.py`) share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Progress:
    """What one attempt has done at CometChat so far: `changed` once a call had an effect."""

    changed: bool = False
