"""Loaded into a worker (`-I tests.benchmarks.guest.switching`); see `switched`."""

from tests.benchmarks.guest.switched import switch

switch()
