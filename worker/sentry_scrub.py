"""What leaves for Sentry is searched for known secrets, twice: as the SDK offers each thing to be
changed (`HOOKS`), and as whole envelopes (`ScrubbingTransport`), which is all that is ever sent.

What cannot be searched is not sent: an event is replaced by a bare one that says so, with its id,
its level and our own tags; anything else is dropped.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from sentry_sdk.envelope import Envelope, Item, PayloadRef
from sentry_sdk.transport import HttpTransport

from config.scrub import REDACTED, Unsearchable
from config.secrets import known_secrets

log = structlog.get_logger("sentry")

_FORMAT: Final = """
    _meta abs_path attributes body breadcrumbs category check_in_id content_type context_line
    contexts crashed current data description discarded_events dist duration environment
    event_id exception extra filename fingerprint formatted frames function handled id in_app
    integrations item_count items kind length level lineno logentry logger main mechanism
    message module modules monitor_config monitor_slug name op packages params parent_span_id
    platform post_context pre_context quantity reason release request sdk sent_at server_name
    severity_number severity_text source span_id spans stacktrace start_timestamp status tags
    threads timestamp trace trace_id transaction transaction_info type unit user value values
    vars version
"""
#: Names of Sentry's own format, which stay even if a password is the same word.
FORMAT: Final = frozenset(_FORMAT.split())
#: The tags that this program sets (worker/sentry.py).
OUR_TAGS: Final = frozenset(
    {"account", "app", "attempts", "class", "code", "job", "status", "webhook"}
)
LEVELS: Final = frozenset({"debug", "info", "warning", "error", "fatal"})
_EVENT_ID: Final = re.compile("[0-9a-f]{32}")

Thing = dict[str, Any]


def scrubbed(value: Any) -> Any:
    """A copy without secrets; raises whatever an object raises that cannot be searched."""
    return known_secrets.all().value(value, keep=FORMAT)


def scrub_event(event: Any) -> Thing:
    """An event or transaction without secrets, or a bare one in its place; never raises."""
    try:
        clean = scrubbed(event)
        if not isinstance(clean, dict):
            raise Unsearchable("of an unknown kind")
        if clean.get("event_id", "") != event.get("event_id", ""):
            clean["event_id"] = uuid.uuid4().hex  # Sentry takes none without one
        return clean
    except Exception as error:  # noqa: BLE001  whatever it is, the event may hold secrets
        return bare_event(event, error)


def bare_event(event: Any, error: Exception) -> Thing:
    """What is sent in the place of an event that cannot be searched; never raises."""
    found = event if isinstance(event, dict) else {}
    why = str(error) if isinstance(error, Unsearchable) else type(error).__name__
    event_id, level = _text(found, "event_id"), _text(found, "level")
    return {
        "event_id": event_id if _EVENT_ID.fullmatch(event_id) else uuid.uuid4().hex,
        "level": level if level in LEVELS else "error",
        "timestamp": datetime.now(UTC).isoformat(),
        "platform": "python",
        "logger": "sentry",
        "message": f"An event that could not be searched for secrets was not sent: it is {why}.",
        "fingerprint": ["unsearchable"],
        "tags": _our_tags(found),
    }


def _our_tags(event: Mapping[str, Any]) -> dict[str, str]:
    tags = event.get("tags")
    if not isinstance(tags, dict):
        return {}
    return {name: tag for name in sorted(OUR_TAGS) if (tag := _text(tags, name))}


def _text(values: Mapping[str, Any], name: str) -> str:
    """A short text without secrets; nothing if it is none."""
    value = values.get(name)
    if type(value) is not str or len(value) > 200:
        return ""
    try:
        return known_secrets.all().text(value)
    except Exception:  # noqa: BLE001
        return REDACTED


def before_send(event: Any, _: Any) -> Thing | None:
    """Events, and the check-ins of monitors."""
    if isinstance(event, dict) and event.get("type") == "check_in":
        return _or_none(event)
    return scrub_event(event)


def before_send_transaction(event: Any, _: Any) -> Thing | None:
    """Transactions, with their spans."""
    return _or_none(event)


def before_other(thing: Any, _: Any) -> Thing | None:
    """Breadcrumbs, logs and metrics."""
    return _or_none(thing)


def _or_none(thing: Any) -> Thing | None:
    try:
        clean: Thing = scrubbed(thing)
    except Exception:  # noqa: BLE001  whatever it is, it may hold secrets
        return None
    return clean


#: The SDK's options that show what is sent before it is; one of spans alone would do nothing here.
HOOKS: Final[dict[str, Callable[[Any, Any], Thing | None]]] = {
    "before_send": before_send,
    "before_send_transaction": before_send_transaction,
    "before_breadcrumb": before_other,
    "before_send_log": before_other,
    "before_send_metric": before_other,
}


class ScrubbingTransport(HttpTransport):
    """The SDK's transport (its documented option `transport`), for envelopes without secrets."""

    def capture_envelope(self, envelope: Envelope) -> None:
        """Send all of an envelope that can be searched."""
        super().capture_envelope(scrub_envelope(envelope))


def scrub_envelope(envelope: Envelope) -> Envelope:
    """A copy without secrets, and without what cannot be searched; never raises."""
    try:
        headers = scrubbed(envelope.headers)
    except Exception:  # noqa: BLE001
        headers = {}
    items = [item for item in map(_scrubbed_item, envelope.items) if item]
    for item in items:
        if (event := item.get_event() or item.get_transaction_event()) is not None:
            headers["event_id"] = event.get("event_id")
    return Envelope(headers, items)


def _scrubbed_item(item: Item) -> Item | None:
    if item.type == "event":
        # Always searched as an object: bytes could hide what is said of it.
        return Item(PayloadRef(json=scrub_event(item.payload.json)), type="event")
    try:
        return Item(_scrubbed_payload(item.payload), headers=scrubbed(item.headers))
    except Exception as error:  # noqa: BLE001  whatever it is, it may hold secrets
        log.warning("not sent to Sentry", what=str(item.type), problem=type(error).__name__)
        return None


def _scrubbed_payload(payload: PayloadRef) -> PayloadRef:
    if payload.bytes is None and payload.path is None:
        return PayloadRef(json=scrubbed(payload.json))
    try:
        text = payload.get_bytes().decode()
    except UnicodeDecodeError:
        raise Unsearchable("no text") from None
    if "\0" in text:  # in other encodings than UTF-8 every other byte may be one
        raise Unsearchable("no text")
    return PayloadRef(bytes=known_secrets.all().text(text).encode())
