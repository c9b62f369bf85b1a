"""Logs: JSON lines, or coloured lines at a terminal.

Ours are structured (`structlog`) and have one line per attempt; what Celery and other libraries
say through the standard library's logging comes out in the same form.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from config.settings import Settings

#: Celery's two lines per message say less than our one, and cost a fifth of the throughput.
#: Libraries that print requests and connections at debug level would show headers.
QUIET = {
    "celery.app.trace": logging.ERROR,
    "celery.worker.strategy": logging.WARNING,
    "urllib3": logging.INFO,
    "kombu": logging.INFO,
    "redis": logging.INFO,
}

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


#: How Redis says that it does not know a command; HELLO comes with the password.
_ARGUMENTS = re.compile(r",? with args beginning with:.*")


def without_arguments(text: str) -> str:
    """What a Redis server said, without the command's arguments that it repeats."""
    return _ARGUMENTS.sub("", text)


def _all_without_arguments(
    _: Any, __: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str) and "with args" in value:
            event[name] = without_arguments(value)
    return event


def configure_logging(settings: Settings) -> None:
    """Send every log record of this process to standard error, in LOG_FORMAT from LOG_LEVEL up."""
    as_json = settings.log_format == "json" or (
        settings.log_format == "auto" and not sys.stderr.isatty()
    )
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if as_json
        # Its other formatters print local variables.
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    finish: list[Any] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        _all_without_arguments,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[*finish, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for name, level in QUIET.items():
        logging.getLogger(name).setLevel(max(level, root.level))
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        cache_logger_on_first_use=True,
    )
