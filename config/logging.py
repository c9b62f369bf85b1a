"""Logs: JSON lines, or coloured lines at a terminal.

Ours are structured (`structlog`) and have one line per attempt; what Celery and other libraries
say through the standard library's logging comes out in the same form. Behind all that keeps secrets
out of lines, each known one is looked for in each line by its value.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from logging.handlers import WatchedFileHandler
from typing import Any

import structlog

from config.scrub import Scrubber, without_arguments
from config.secret_settings import WHITE_SPACE, secrets_of, trimmed_variables
from config.secrets import known_secrets
from config.settings import Settings

#: Names of fields that each line has, also if a password is the same word.
FIELDS = frozenset({"event", "level", "timestamp", "exception"})

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


def _all_without_arguments(
    _: Any, __: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str) and "with args" in value:
            event[name] = without_arguments(value)
    return event


def _all_without_secrets(
    _: Any, __: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    try:
        return without_secrets(known_secrets.in_use(), event)
    except Exception as error:  # noqa: BLE001  whatever it is, the line may hold secrets
        words = f"a line that could not be searched for secrets ({type(error).__name__})"
        kept = {name: event.get(name) for name in ("level", "timestamp")}
        return {"event": words, **{n: v for n, v in kept.items() if isinstance(v, str)}}


def without_secrets(
    scrubber: Scrubber, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A line's fields without the secrets, even if they are objects that are yet to be shown."""
    shown = [value if type(value) is str else repr(value) for value in event.values()]
    # Mostly there is none: then one look is enough.
    if not scrubber.finds("\n".join((*event, *shown))):
        return event
    cleaned: dict[str, Any] = scrubber.value(dict(event), keep=FIELDS, show=repr)
    return cleaned


#: What a terminal would obey: names in records and messages are somebody else's.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def _fit_for_a_terminal(
    _: Any, __: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str) and _CONTROLS.search(value):
            event[name] = _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], value)
    return event


class _Through:
    """Where structlog writes a line: into a handler's stream, in its turn, as the handler does.

    A line that cannot be written ends nothing.
    """

    def __init__(self, handler: Any) -> None:
        self._handler = handler

    def write(self, line: str) -> None:
        """Write a line with its end."""
        with self._handler.lock, suppress(OSError, ValueError):
            self._handler.stream.write(line)
            self._handler.stream.flush()

    def flush(self) -> None:
        """It was flushed."""


def configure_logging(
    settings: Settings, *, file: str | None = None, level: int | None = None
) -> None:
    """Send every log record of this process to one place, in LOG_FORMAT.

    Args:
        settings: which secrets are to be kept out, and the form.
        file: where to, instead of to standard error; it may be moved away while it is written to.
        level: from which level up, instead of from LOG_LEVEL.

    Raises:
        OSError: the file cannot be written.
    """
    handler: logging.Handler = (
        WatchedFileHandler(file, encoding="utf-8") if file else logging.StreamHandler(sys.stderr)
    )
    known_secrets.learn(secrets_of(settings))
    is_terminal = not file and sys.stderr.isatty()
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not is_terminal)
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=not file,
            # Its other formatters print local variables.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    finish: list[Any] = [
        structlog.processors.format_exc_info,
        _all_without_arguments,
        _all_without_secrets,
        *(() if as_json else (_fit_for_a_terminal,)),
        renderer,
    ]
    forget = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[forget, *finish],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level or settings.log_level.upper())
    for name, level in QUIET.items():
        logging.getLogger(name).setLevel(max(level, root.level))
    # The standard library's way takes as long again: a line for each attempt goes past it, if there
    # is no file to be watched.
    through: Any = _Through(handler)
    last = [structlog.stdlib.ProcessorFormatter.wrap_for_formatter] if file else finish
    structlog.configure(
        processors=[*_SHARED, *last],
        logger_factory=structlog.stdlib.LoggerFactory()
        if file
        else structlog.WriteLoggerFactory(through),
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        cache_logger_on_first_use=True,
    )
    for name in trimmed_variables():
        logging.getLogger("settings").warning("%s: %s", name, WHITE_SPACE)
