"""Interleavings of whole attempts, producers, people and dispatchers, held to the promises.

The program's own Python code runs, in threads of which one at a time has the baton: it goes from
one to the other at every command to Redis, every call's sending and every sleep (`scheduler.py`).
Redis is real, and its clock is the test's (`clock.lua`); CometChat is the sandbox's own operations
with effects that may come late (`api.py`). Every decision is drawn by a seed and its own name
(`choices.py`), so a seed is one history, and a history that breaks a promise (`judge.py`) can be
made shorter by leaving decisions out.

    python -m tests.interleaving --seed 12 --show
"""
