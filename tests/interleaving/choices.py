"""What is left to chance in a run, each decision drawn by the seed and by its own name.

0 is always what is plain: no fault, no delay, nothing asked for. So a run is told by the few
decisions that are not 0, and leaving one of them out changes no other draw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

#: The decisions of a run that are not 0, by name.
Made = dict[str, int]


class Choices:
    """The decisions of one run.

    Args:
        seed: what is drawn depends on it and on each decision's name.
        forced: the decisions as they are to be, all others being 0; nothing is drawn then.
    """

    def __init__(self, seed: int, forced: Mapping[str, int] | None = None) -> None:
        self._seed, self._forced = seed, forced
        self.made: Made = {}

    def __call__(self, name: str, weights: Sequence[int]) -> int:
        """An index of `weights`, each as likely as its weight says."""
        if self._forced is not None:
            chosen = min(self._forced.get(name, 0), len(weights) - 1)
        else:
            text = f"{self._seed}/{name}".encode()
            drawn = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
            drawn %= sum(weights)
            chosen = 0
            while drawn >= weights[chosen]:
                drawn -= weights[chosen]
                chosen += 1
        if chosen:
            self.made[name] = chosen
        return chosen


def shorter(made: Made, is_broken: Callable[[Made], bool], *, tries: int = 200) -> Made:
    """As few of these decisions as still break the promise: delta debugging.

    Args:
        made: those that do.
        is_broken: whether a run with these does; it is asked `tries` times at most.
    """
    names, size = list(made), max(len(made) // 2, 1)
    while tries > 0:
        at, found = 0, False
        while at < len(names) and tries > 0:
            rest = names[:at] + names[at + size :]
            tries -= 1
            if is_broken({name: made[name] for name in rest}):
                names, found = rest, True
            else:
                at += size
        if size == 1 and not found:
            break
        size = max(size // 2, 1)
    return {name: made[name] for name in names}
