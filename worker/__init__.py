"""How the program runs: `celery -A worker worker`, and likewise `beat` and `flower`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def __getattr__(name: str) -> Any:
    """Celery's `app`, made when it is asked for: the sandbox and the demo start without it."""
    if name == "app":
        # Where `celery` runs is on its path while it imports this, and no longer.
        root = str(Path(__file__).resolve().parent.parent)
        if root not in sys.path:
            sys.path.append(root)
        from worker.bootstrap import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
