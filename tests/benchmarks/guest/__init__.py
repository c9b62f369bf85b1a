"""A good guest at the API: what its bad days cost, measured at the sandbox. `make bench-guest`.

Each day starts a stack of its own (Redis, the sandbox, four workers as processes), plays a timeline
and counts the calls of each second where they arrive.
"""
