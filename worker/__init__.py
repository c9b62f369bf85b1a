"""How the program runs: `celery -A worker worker`, and likewise `beat` and `flower`."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Celery's `app`, made when it is asked for: the sandbox and the demo start without it."""
    if name == "app":
        from worker.bootstrap import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
