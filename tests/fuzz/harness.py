"""What every target of the fuzzer has: how many cases, what is too slow or too large, what is told.

A case fails if it raises what it may not, takes more than a second, or needs more than 64 MiB. The
cases of a run follow from FUZZ_SEED; FUZZ_CASES is how many there are in all targets together.
"""

from __future__ import annotations

import gc
import hashlib
import os
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

#: Of a short run, as `make test` has it; `make fuzz` has 100,000.
CASES: Final = int(os.environ.get("FUZZ_CASES", "4000"))
SEED: Final = int(os.environ.get("FUZZ_SEED", "1"))

#: Seconds of one case: of this process's time, and by the clock, as others may use the machine.
MOST_SECONDS: Final = 1.0
HUNG_SECONDS: Final = 20.0
#: KiB that one case may need, and that all of a target may leave behind.
MOST_MEMORY: Final = 64 * 1024

#: KiB below the most that the process had, in which what a case needs is not seen: to begin anew
#: for each case takes longer than the case.
UNSEEN_MEMORY: Final = MOST_MEMORY // 4

#: Kinds of failures after which a run ends.
MOST_FINDINGS: Final = 10

#: What a target's cases came to; told at the end of a run.
REPORT: dict[str, Report] = {}


class Hung(BaseException):
    """A case did not end; no code under test catches this."""


class Report:
    """The extremes of one target."""

    def __init__(self) -> None:
        self.cases = 0
        self.slowest = self.largest = 0.0

    def __str__(self) -> str:
        return (
            f"{self.cases:6} cases, slowest {self.slowest * 1000:5.0f} ms, "
            f"most memory {self.largest / 1024:4.1f} MiB"
        )


def share(of: float) -> int:
    """The cases of a target that has this share of all."""
    return max(round(CASES * of), 1)


def memory(process: int | str = "self") -> tuple[int, int]:
    """KiB that a process has, and the most that it had since `begin_anew`."""
    told = dict(
        line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines()
    )
    return int(told["VmRSS"].split()[0]), int(told["VmHWM"].split()[0])


def begin_anew(process: int | str = "self") -> None:
    """Let the most that a process had be what it has."""
    Path(f"/proc/{process}/clear_refs").write_text("5")


@contextmanager
def watched(name: str, case: Any) -> Iterator[None]:
    """Fail if what runs in this block crashes, hangs or needs too much; the case is kept then."""
    report = REPORT.setdefault(name, Report())
    before, most = memory()
    if most - before > UNSEEN_MEMORY:
        begin_anew()
    seconds = time.process_time()
    signal.signal(signal.SIGALRM, _hung)
    signal.setitimer(signal.ITIMER_REAL, HUNG_SECONDS)
    try:
        yield
    except Exception as error:
        error.add_note(kept(name, case))
        raise
    except Hung:
        raise AssertionError(f"hung: {kept(name, case)}") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    seconds = time.process_time() - seconds
    grown = memory()[1] - before
    report.cases += 1
    report.slowest, report.largest = max(report.slowest, seconds), max(report.largest, grown)
    assert seconds <= MOST_SECONDS, f"took {seconds:.1f} s: {kept(name, case)}"
    assert grown <= MOST_MEMORY, f"needed {grown} KiB: {kept(name, case)}"


def _hung(*_: object) -> None:
    raise Hung


def kept(name: str, case: Any) -> str:
    """Where the case is, to be made a test."""
    raw = case if isinstance(case, bytes) else repr(case).encode(errors="backslashreplace")
    path = Path(tempfile.gettempdir()) / f"fuzz-{name}-{hashlib.sha256(raw).hexdigest()[:12]}"
    path.write_bytes(raw)
    return f"a case of {name}, {len(raw)} bytes, kept in {path}: {raw[:500]!r}"


def run(name: str, cases: Iterator[Any], attempt: Callable[[Any], object]) -> None:
    """Let a target meet each case; those that fail are told at the end, one of each kind."""
    before, _ = memory()
    failed: dict[tuple[Any, ...], Exception] = {}
    for case in cases:
        try:
            with watched(name, case):
                attempt(case)
        except Exception as error:  # noqa: BLE001  whatever it is, it is a finding
            place = traceback.extract_tb(error.__traceback__)[-1]
            failed.setdefault((type(error), place.filename, place.lineno), error)
            if len(failed) == MOST_FINDINGS:
                break
    if failed:
        raise ExceptionGroup(f"{name}: {len(failed)} kinds of failures", list(failed.values()))
    gc.collect()
    left = memory()[0] - before
    assert left <= MOST_MEMORY, f"{name}: all cases together leave {left} KiB behind"


def explore(
    name: str, strategy: SearchStrategy[Any], attempt: Callable[[Any], object], count: int
) -> None:
    """Let a target meet what Hypothesis makes of a strategy, and the least of what fails."""

    @seed(SEED)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def each(case: Any) -> None:
        with watched(name, case):
            attempt(case)

    each()
