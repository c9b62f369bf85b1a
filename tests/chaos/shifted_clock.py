"""Loaded by a worker or beat (`-I tests.chaos.shifted_clock`): its wall clock is off.

By CLOCK_SHIFT_SECONDS. `time.monotonic` stays as it is, as it does on a machine whose clock is
wrong.
"""

from __future__ import annotations

import datetime
import os

import time_machine

SHIFT = float(os.environ.get("CLOCK_SHIFT_SECONDS", "0"))

if SHIFT:
    to = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=SHIFT)
    time_machine.travel(to, tick=True).start()

if __name__ == "__main__":
    # Beat has no option to load a module.
    from celery.__main__ import main

    main()
