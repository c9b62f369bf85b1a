"""The rules by which calls fail, and the choice of the rule for a call.

A rule names the calls that it matches, how often it fires, and what then happens. Its kinds:

=============== =================================================================================
`status`        answer `status` with `code` and `message`, or with the raw `body`, and `headers`
`cut`           no answer: a TCP reset or, with `reset` false, an orderly close
`garbage`       200 with bytes that are no JSON
`html`          a gateway's HTML page with `status`
`empty`         200 with an empty body
`truncated`     the head and half of the body, then the connection ends
`drip`          the true answer, its body one byte every `seconds_per_byte`; the effect comes first
`drip_headers`  an answer, from its status line on one byte every `seconds_per_byte`
`huge`          200 with a body of `bytes` bytes and no Content-Length
`latency`       the true answer, `seconds` late
`hold`          the true answer once released, or after `seconds`
`redirect`      302 to `location`
`rate_limit`    429 ERR_TOO_MANY_REQUESTS that tells `seconds` in the style of `headers_style`
`echo`          401 whose message repeats the request's headers and body; with `field`, the true
                answer, or for a field of errors one with `status`, in whose `field` ("*" for each
                text) stands `text`, or the request's header `secret`, written as `form` says
`shape`         the true answer, wrapped as `shape` says
=============== =================================================================================

`when` says whether that comes before the operation's effect on the store or after it. Before
means instead of it, except for `latency` and `hold`, which only wait before it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from worker.sandbox.answers import Shape
from worker.sandbox.echo import Form
from worker.sandbox.routes import Operation

Kind = Literal[
    "status",
    "cut",
    "garbage",
    "html",
    "empty",
    "truncated",
    "drip",
    "drip_headers",
    "huge",
    "latency",
    "hold",
    "redirect",
    "rate_limit",
    "echo",
    "shape",
]
HeadersStyle = Literal[
    "retry-after", "retry-after-date", "x-ratelimit", "x-ratelimit-ms", "x-rate-limit", "none"
]

#: How long a call is held that nobody releases.
HOLD_SECONDS: Final = 60.0


class Rule(BaseModel):
    """One rule. Fields that its kind does not read are without meaning."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    kind: Kind
    #: The calls that it matches; None matches any. A create's webhook id is that of its body.
    operation: Operation | None = None
    app_id: str | None = None
    webhook_id: str | None = None
    #: How many calls it fails before it is spent; None for no end.
    times: int | None = Field(default=None, ge=1)
    #: How many matching calls it first lets pass.
    skip: int = Field(default=0, ge=0)
    #: The share of the matching calls that it fails.
    rate: float = Field(default=1.0, ge=0, le=1)
    when: Literal["before", "after"] = "before"

    status: int = Field(default=500, ge=200, le=599)
    code: str | None = None
    message: str = "Something went wrong."
    headers: dict[str, str] = Field(default_factory=dict)
    body: str | None = None
    #: None for 60 where `hold` waits, else 1.
    seconds: float | None = Field(default=None, ge=0, le=3600)
    seconds_per_byte: float = Field(default=1.0, ge=0, le=3600)
    size: int = Field(default=10_000_000, ge=0, alias="bytes")
    reset: bool = True
    location: str = "https://example.com/"
    headers_style: HeadersStyle = "retry-after"
    field: str | None = None
    text: str | None = None
    form: Form = "plain"
    #: How the true answer is wrapped; None for the sandbox's setting.
    shape: Shape | None = None

    @property
    def duration(self) -> float:
        """`seconds`, or what they are where the rule does not say."""
        if self.seconds is not None:
            return self.seconds
        return HOLD_SECONDS if self.kind == "hold" else 1.0

    @property
    def label(self) -> str:
        """The name under which it is counted, such as `status:503:after` or `cut:before`."""
        if self.kind in ("status", "html"):
            return f"{self.kind}:{self.status}:{self.when}"
        return f"{self.kind}:{self.when}"


_rules = TypeAdapter(list[Rule])


def parse_rules(rules: Any) -> list[Rule]:
    """Return the rules of a list of JSON objects.

    Raises:
        ValueError: a rule has a field too many, lacks its kind, or breaks a limit; the message
            names the rule's place in the list and the field.
    """
    try:
        return _rules.validate_python(rules)
    except ValidationError as error:
        problems = (
            f"{'.'.join(map(str, each['loc'])) or 'rules'}: {each['msg']}"
            for each in error.errors()
        )
        raise ValueError("; ".join(problems)) from None


class _Loaded:
    """A rule with what is left of its `skip` and `times`."""

    __slots__ = ("left", "rule", "skip")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.skip = rule.skip
        self.left = rule.times

    def matches(self, operation: Operation, app_id: str, webhook_id: str) -> bool:
        rule = self.rule
        return (
            self.left != 0
            and (rule.operation is None or rule.operation == operation)
            and (rule.app_id is None or rule.app_id == app_id)
            and (rule.webhook_id is None or rule.webhook_id == webhook_id)
        )


class FaultBook:
    """The rules in force, and a count of what they did.

    Args:
        rules: the rules at the start.
        seed: makes the choices of rules with a `rate` repeatable; None for other ones each time.
    """

    def __init__(self, rules: Iterable[Rule] = (), seed: int | None = None) -> None:
        self._seed = seed
        self.served: Counter[str] = Counter()
        self.replace(rules)
        self._random = random.Random(seed)

    def replace(self, rules: Iterable[Rule]) -> None:
        """Put these rules in the place of all others."""
        self._loaded = [_Loaded(rule) for rule in rules]

    def add(self, rules: Iterable[Rule]) -> None:
        """Put these rules behind the others."""
        self._loaded.extend(_Loaded(rule) for rule in rules)

    def remove(self, rules: Iterable[Rule]) -> None:
        """Drop these very rules, not others that are equal to them."""
        gone = {id(rule) for rule in rules}
        self._loaded = [loaded for loaded in self._loaded if id(loaded.rule) not in gone]

    def clear(self) -> None:
        """Drop all rules and counts, and begin the random choices anew."""
        self.replace(())
        self.served.clear()
        self._random = random.Random(self._seed)

    def pick(self, operation: Operation, app_id: str, webhook_id: str) -> Rule | None:
        """Return the first rule that fires for the call, None when it shall succeed.

        Each matching rule in front of that one uses up a `skip` or has its random choice.
        """
        for loaded in self._loaded:
            if not loaded.matches(operation, app_id, webhook_id):
                continue
            if loaded.skip:
                loaded.skip -= 1
                continue
            if loaded.rule.rate < 1 and self._random.random() >= loaded.rule.rate:
                continue
            if loaded.left is not None:
                loaded.left -= 1
            self.served[loaded.rule.label] += 1
            return loaded.rule
        return None
