"""Builds spin's verifier for one setting of `protocol.pml`, runs it, and reads its verdict."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MODEL = Path(__file__).with_name("protocol.pml")

#: What `make model` says where a tool is missing; nothing is installed.
INSTALL = (
    "The model needs spin and a C compiler, which are not here: "
    "on Debian and Ubuntu `sudo apt-get install spin gcc` installs both."
)

#: What must hold, by its flag: in the order of the columns and of protocol.pml.
CLAIMS: Mapping[str, str] = {
    "P_STALE": "a stale attempt sends nothing",
    "P_ORDER": "no effect out of order",
    "P_TWICE": "created once",
    "P_REPORT": "a stale attempt knows that it is stale",
    "P_RESULT": "the webhook ends as the last job asked",
    "P_ENDS": "every accepted job ends",
}
SAFETY = tuple(name for name in CLAIMS if name != "P_ENDS")

#: The calls that change something, by their numbers in protocol.pml.
CALLS = ("", "POST", "ADD_A", "ADD_B", "DROP_A", "PUT", "DEL")

#: Steps in a run at most; what is deeper is told as not exhaustive.
DEPTH = 100_000
#: MB that one verifier may use.
MEMORY = 4096
#: Seconds for one verifier, on a machine that does other things too.
SECONDS = 1800.0


class NotVerified(Exception):
    """The tools failed; the message has what they said."""


@dataclass(frozen=True)
class Verdict:
    """What a verifier found: `states` stored, the longest run, MB, seconds.

    `story` is what happens in a run that breaks the claim, a line a step; empty if it holds.
    `is_exhaustive` is False where memory was too small for every state.
    """

    states: int
    depth: int
    memory: float
    seconds: float
    story: tuple[str, ...]
    is_exhaustive: bool = True

    @property
    def holds(self) -> bool:
        """Whether no run breaks the claim."""
        return not self.story


def is_installed() -> bool:
    """Whether the tools are here."""
    return all(shutil.which(tool) for tool in ("spin", "cc"))


def verify(*flags: str, is_small: bool = False) -> Verdict:
    """Check the model with these flags (`P_ORDER`, `CASE=2`), every state of it.

    A broken claim is told by one of its shortest runs. Where memory is too small for all
    states, spin's bit states are used, and the verdict says so.

    Args:
        flags: what is defined for protocol.pml.
        is_small: compile in a second instead of six; it then runs three times as long.

    Raises:
        NotVerified: spin, the compiler or the verifier failed, or took longer than `SECONDS`.
    """
    defines = [f"-D{flag}" for flag in flags]
    is_liveness = "P_ENDS" in flags
    build = ["-O0" if is_small else "-O2", "-DNFAIR=8" if is_liveness else "-DSAFETY"]
    run = ["-a", "-f"] if is_liveness else []
    with tempfile.TemporaryDirectory(prefix="protocol-") as folder:
        _output(folder, "spin", "-a", *defines, str(MODEL))
        options = [*build, f"-DMEMLIM={MEMORY}"]
        text = _run(folder, options, run)
        is_exhaustive = "out of memory" not in text
        if not is_exhaustive:
            text = _run(folder, [*build, "-DBITSTATE"], [*run, "-w33"])
        if "errors: 0" not in text and not is_liveness:
            # The first run that was found is long; a search by breadth finds a short one.
            short = _run(folder, [*build, f"-DMEMLIM={MEMORY}", "-DBFS"], [])
            text = short if "errors: 1" in short else _run(folder, options, run)
        story = () if "errors: 0" in text else _story(folder, defines)
    if "max search depth too small" in text:
        raise NotVerified(f"runs are longer than {DEPTH} steps")
    return Verdict(
        states=int(_number(r"(\d+) states, stored", text)),
        depth=int(_number(r"depth reached (\d+)", text)),
        memory=_number(r"([\d.]+)\s+(?:total actual )?memory usage", text),
        seconds=_number(r"elapsed time ([\d.]+)", text),
        story=story,
        is_exhaustive=is_exhaustive,
    )


def _run(folder: str, build: list[str], run: list[str]) -> str:
    _output(folder, "cc", "-w", *build, "-o", "pan", "pan.c")
    depth = [] if "-DBFS" in build else [f"-m{DEPTH}"]
    text = _output(folder, "./pan", *depth, *run)
    if "errors:" not in text and "out of memory" not in text:
        raise NotVerified(text)
    return text


def _story(folder: str, defines: list[str]) -> tuple[str, ...]:
    trail = ["-k", "protocol.pml.trail", *defines, str(MODEL)]
    text = _output(folder, "spin", "-T", *trail)
    lines = (line.strip() for line in text.splitlines())
    told = tuple(line for line in lines if re.match(r"(worker|API|dispatcher|Redis)\b.*:? ", line))
    named = (re.sub(r"\bcall (\d)", lambda found: CALLS[int(found[1])], line) for line in told)
    return tuple(named) or ("no step of the program",)


def _number(pattern: str, text: str) -> float:
    found = re.findall(pattern, text)
    if not found:
        raise NotVerified(f"the verifier did not say {pattern!r}: {text}")
    return float(found[-1])


def _output(folder: str, *command: str) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotVerified(f"{command[0]} took longer than {SECONDS:g} s") from None
    if done.returncode and command[0] != "./pan":
        raise NotVerified(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr
