"""What steps are made of, as a script of a test's own."""

from __future__ import annotations

from tasks.steps import shared_source


def as_script(text: str, prefix: str = "webhooks:") -> str:
    """This Lua behind what all steps use, for EVAL; its instant is the script's."""
    return f"local PREFIX = '{prefix}'\n{shared_source()}\nbegin()\n{text}"
