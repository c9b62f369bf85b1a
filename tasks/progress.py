"""What the actions of jobs (`tasks/act.py`) share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Progress:
    """What one attempt has done at CometChat so far.

    Args:
        changed: whether a call had an effect.
        stored_form: the mark (`tasks/stored_form.py`) of the webhook that the API showed as the
            answer to a create call of this job, in this attempt or an earlier one, if that was not
            as asked for; else empty.
    """

    changed: bool = False
    stored_form: str = ""
