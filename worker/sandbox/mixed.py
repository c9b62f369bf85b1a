"""The ready set of faults: a bit of everything that ends quickly."""

from __future__ import annotations

from typing import Any

#: Each fault with its share among the faults. The rate limit is rare: one tells every caller
#: to wait a second, so a few of them already slow a whole account down.
_SHARES: tuple[tuple[float, dict[str, Any]], ...] = (
    (2, {"kind": "status", "status": 500, "code": "ERR_EXCEPTION"}),
    (2, {"kind": "status", "status": 500, "code": "ERR_EXCEPTION", "when": "after"}),
    (2, {"kind": "status", "status": 500, "code": "ERR_MISSION_FAILED"}),
    (2, {"kind": "status", "status": 500, "code": "ERR_OPERATION_FAILED", "when": "after"}),
    (2, {"kind": "html", "status": 502}),
    (2, {"kind": "html", "status": 502, "when": "after"}),
    (2, {"kind": "status", "status": 503}),
    (2, {"kind": "status", "status": 503, "when": "after"}),
    (2, {"kind": "cut"}),
    (2, {"kind": "cut", "when": "after"}),
    (2, {"kind": "cut", "when": "after", "reset": False}),
    (2, {"kind": "garbage", "when": "after"}),
    (2, {"kind": "truncated", "when": "after"}),
    (2, {"kind": "empty", "when": "after"}),
    (2, {"kind": "latency", "seconds": 0.2}),
    (0.5, {"kind": "rate_limit", "headers_style": "retry-after", "seconds": 1}),
)


def mixed_faults(rate: float) -> list[dict[str, Any]]:
    """Return rules that together fail the share `rate` (0 to 1) of all calls, in every way.

    Raises:
        ValueError: the rate is not between 0 and 1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"The rate of the mixed faults must be between 0 and 1, not {rate}.")
    total = sum(share for share, _ in _SHARES)
    rules: list[dict[str, Any]] = []
    # Rules are tried in turn, so a later one sees only the calls that the earlier ones let pass.
    passed = 1.0
    for share, fault in _SHARES:
        wanted = rate * share / total
        rules.append({**fault, "rate": min(1.0, wanted / passed) if passed > 0 else 1.0})
        passed -= wanted
    return rules
