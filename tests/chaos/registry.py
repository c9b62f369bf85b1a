"""The scenarios by name, each a row of the table."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import tests.chaos.scenarios
from tests.chaos.harness import Chaos


@dataclass(frozen=True)
class Scenario:
    """One fault: what to run, and how it shares the machine."""

    name: str
    fault: str
    run: Callable[[Chaos], None]
    #: It needs all cores: runs beside light ones only.
    heavy: bool
    #: With how many seeds the long form runs it, if not with all.
    seeds: int | None
    #: It judges itself, and has a short form among the other tests.
    apart: bool = False
    #: `make test` runs its short form, too.
    short: bool = True


_SCENARIOS: dict[str, Scenario] = {}


def scenario(
    fault: str,
    *,
    heavy: bool = False,
    seeds: int | None = None,
    apart: bool = False,
    short: bool = True,
) -> Callable[[Callable[[Chaos], None]], Callable[[Chaos], None]]:
    """Make a function a row of the table; its name is what `--only` takes.

    Args:
        fault: what happens, for people.
        heavy, seeds, apart, short: as in `Scenario`.
    """

    def register(run: Callable[[Chaos], None]) -> Callable[[Chaos], None]:
        name = run.__name__.replace("_", "-")
        _SCENARIOS[name] = Scenario(name, fault, run, heavy, seeds, apart, short)
        return run

    return register


def scenarios() -> dict[str, Scenario]:
    """All of them, in the order of their files and lines."""
    for _ in _loading():
        pass
    return dict(_SCENARIOS)


def scenario_of(name: str) -> Scenario:
    """That of this name; files behind its own are not loaded. Raises `KeyError`."""
    for _ in _loading():
        if name in _SCENARIOS:
            break
    return _SCENARIOS[name]


def _loading() -> Iterator[None]:
    for module in pkgutil.iter_modules(tests.chaos.scenarios.__path__):
        importlib.import_module(f"tests.chaos.scenarios.{module.name}")
        yield
