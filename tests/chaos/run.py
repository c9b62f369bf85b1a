"""`python -m tests.chaos.run NAME SEED long|short`: one scenario; its report is the last line.

A process of its own for each, as a process is the producer of one Redis.
"""

from __future__ import annotations

import sys
import traceback

from tests.chaos.harness import Chaos
from tests.chaos.registry import scenario_of


def main(name: str, seed: str, form: str) -> int:
    """Run it, judge it, print its report; 1 if a promise was broken."""
    chaos = Chaos(name, int(seed), long=form == "long")
    try:
        scenario = scenario_of(name)
        scenario.run(chaos)
        if not scenario.apart:
            chaos.stop_workers()
            chaos.judge()
        chaos.require(chaos.report.jobs, "no job was accepted: nothing was shown")
    except Exception as error:  # noqa: BLE001  whatever it is, the row is red
        traceback.print_exc()
        chaos.require(False, f"{type(error).__name__}: {error}")
    finally:
        if chaos.report.problems:
            chaos.show_logs()
        chaos.close()
    print(chaos.report.line(), flush=True)
    return int(not chaos.report.is_good)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
