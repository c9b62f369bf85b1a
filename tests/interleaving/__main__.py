"""Run histories by their seeds: `python -m tests.interleaving --help`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.interleaving.run import kind_of, staged, told
from worker.stack import Stack


def main() -> int:
    """Exit with 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.interleaving")
    parser.add_argument(
        "--seed", type=int, help="run this one alone; if it breaks, show as little as breaks it"
    )
    parser.add_argument("--show", action="store_true", help="with --seed: its whole story")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first of many seeds")
    parser.add_argument("--runs", type=int, default=1_000, help="how many seeds")
    parser.add_argument("--play", help="of this play alone (tests/interleaving/people.py)")
    options = parser.parse_args()
    with Stack() as stack, staged(stack.start_redis("--appendonly", "no").url) as stage:
        if options.seed is not None:
            run = stage.run(options.seed, play=options.play, shows=True)
            if run.broken and not options.show:
                run = stage.shortest(run)
            print(told(run))
            return bool(run.broken)
        began, kinds, commands = time.monotonic(), Counter[str](), 0
        for seed in range(options.first, options.first + options.runs):
            run = stage.run(seed, play=options.play)
            commands += run.commands
            if run.broken:
                kinds[kind_of(run)] += 1
                if kinds[kind_of(run)] == 1:
                    after = f"after {seed - options.first + 1} runs: seed {seed}, {run.play}"
                    print(f"{after}: {run.broken[0]}", flush=True)
        took = time.monotonic() - began
        print(f"{options.runs} runs, {commands} commands, {took:.0f} s")
        for kind, number in kinds.most_common():
            print(f"{number:6}  {kind}")
        return bool(kinds)


sys.exit(main())
