"""produce.py MODULE COUNT RATE FIRST: enqueue jobs, at most RATE a second (0 for no end).

Prints how many seconds each enqueue took, as JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
import time


def main(module: str, count: int, rate: float, first: int) -> list[float]:
    enqueue = importlib.import_module(module).enqueue
    took: list[float] = []
    began = time.monotonic()
    for number in range(count):
        if rate:
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
        start = time.perf_counter()
        enqueue(first + number)
        took.append(time.perf_counter() - start)
    return took


if __name__ == "__main__":
    module, count, rate, first = sys.argv[1:]
    print(json.dumps(main(module, int(count), float(rate), int(first))))
