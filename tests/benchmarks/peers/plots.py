"""plots.py FOLDER: draws what is in its bench.json, as PNG files beside that."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

OURS = "this program"
PLOTS = {
    "throughput": ("jobs_per_second", "jobs a second on one core"),
    "worker": ("worker", "worker's processor, ms a job"),
    "redis": ("redis", "Redis's processor, ms a job"),
}


def main(folder: Path) -> None:
    measured: dict[str, dict[str, Any]] = json.loads((folder / "bench.json").read_text())
    days = {name: runs for name, runs in measured.items() if name.endswith("latency")}
    for plot, (field, words) in PLOTS.items():
        figure, axes = pyplot.subplots(1, len(days), figsize=(4 * len(days), 3.2), sharey=True)
        for axis, (name, runs) in zip(axes, days.items(), strict=True):
            values = {
                one: statistics.median(r[field] for r in found) for one, found in runs.items()
            }
            colors = ["tab:blue" if one == OURS else "tab:gray" for one in values]
            bars = axis.barh(list(values), list(values.values()), color=colors)
            axis.bar_label(bars, fmt="%.3g", padding=2)
            axis.set_title(name)
            axis.invert_yaxis()
            axis.margins(x=0.2)
            axis.spines[["top", "right"]].set_visible(False)
        figure.suptitle(words)
        figure.tight_layout()
        figure.savefig(folder / f"{plot}.png", dpi=120)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
