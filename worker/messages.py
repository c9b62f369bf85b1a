"""Which messages are looked at, what of them, and the one line about those that are not.

A message may come from anybody who can write to the broker, and hold anything: nothing of what is
in it gets into a log line but the name of the task that it is for, and to Celery what a hint has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container
from typing import Any, Final

import structlog

from config.broker import QUEUE
from tasks.pipe import IDS, TASK, TASKS

log = structlog.get_logger("messages")

#: What Celery looks at of the other headers.
_USED = ("task", "shadow", "root_id", "parent_id", "argsrepr", "kwargsrepr", "retries", "group")

#: Of Celery's own tasks, the one that its beat sends if a result backend needs it.
_BUILT_IN = ("celery.backend_cleanup",)

#: Arguments that are bound already, by position.
_BOUND = frozenset({"self", "job_id"})

#: Such as ours, Celery's and what people call theirs.
_TASK = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}", re.ASCII)
_LONGEST_ID = 255
#: Other ids that Flower shows of a task.
_RELATED = ("root_id", "parent_id")

JSON = "application/json"
_ENCODINGS = ("utf-8", "UTF-8")

#: Bytes; a hint has some hundreds.
_MOST = 65_536

#: Of a task that is not this program's: its sender has no error, so the worker's log must be clear.
LIKELY_CAUSE: Final = (
    f"another program's Celery app sends to this broker's queue {QUEUE!r}, or took this program's "
    "app for its own: give it a broker URL, or a task_default_queue, of its own. If the task is "
    "one of this program's, its sender has a newer version: restart the workers with that"
)

#: How a message was encoded that is not read, as it unpacks to whatever size.
COMPRESSED: Final = "compressed"


def foreign_task(message: Any, known: Container[str]) -> str | None:
    """What is wrong with the task that a message is for, if that is not one of this program's.

    Nothing else of the message counts: other programs encode theirs in other ways.

    Args:
        message: a `kombu.Message` that may be anything inside.
        known: the names of the tasks that this worker has.
    """
    if isinstance(task := _task_of(message), str):
        if task.startswith("celery.") and task not in _BUILT_IN:
            return "is for a task that is not used here"
        if task not in known and task != TASKS:
            return "is for a task that is not known here"
    return None


def _task_of(message: Any) -> object:
    """The name of its task: in the headers, or in the body, as old Celery and others write it."""
    if "task" in message.headers:
        return message.headers["task"]
    body = message.body or b""
    if message.content_type != JSON or len(body) > _MOST:
        return None
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content.get("task") if isinstance(content, dict) else None


def problem_with(message: Any) -> str | None:
    """What is wrong with a message's form, if anything.

    Args:
        message: a `kombu.Message` that may be anything inside.

    Raises:
        Exception: of any kind, if its body cannot be decoded.
    """
    headers = message.headers
    task = headers.get("task")
    if not isinstance(task, str):
        return "names no task"
    # Redis takes no other text than this for a key, nor does a log line.
    if not _is_id(task_id := headers.get("id")):
        return "has no id"
    if any(isinstance(headers.get(name), dict | list) for name in _USED):
        return "has headers of wrong types"
    if len(message.body or b"") + sum(len(str(headers.get(name))) for name in _USED) > _MOST:
        return "is too large"
    # Before it is decoded: the sender's choice might unpack it.
    if message.content_type != JSON or message.content_encoding not in _ENCODINGS:
        return "is no JSON in UTF-8"
    match message.payload:
        case [[list(ids), *_], dict(), dict() | None] if task == TASKS:
            is_fit = 0 < len(ids) <= IDS and all(map(_is_id, ids))
            return None if is_fit else "has arguments of wrong types"
        # Others may come after it: a later version's.
        case [[str(job_id), *_], dict(), dict() | None] if task == TASK and job_id != task_id:
            return "has another id than its job"
        case [list(), dict(), dict() | None] if task == TASKS:
            pass
        case [list(), dict() as named, dict() | None] if not _BOUND & named.keys():
            return None
    return "has arguments of wrong types"


def job_ids(message: Any) -> list[str] | None:
    """The jobs that a message hints at, which has no problem; nothing if it is for another task."""
    match message.headers["task"], message.payload:
        case str(task), [[list(ids), *_], *_] if task == TASKS:
            return ids
        case str(task), [[str(job_id), *_], *_] if task == TASK:
            return [job_id]
    return None


def strip(message: Any) -> None:
    """Leave of a message, which has no problem, what a hint has.

    Celery would obey the rest: send what the sender likes to whatever queue when the task ends,
    store its result where it likes, or run it when its clock says so.
    """
    headers, [args, *_] = message.headers, message.payload
    task, retries = headers["task"], headers.get("retries")
    args = args[:1] if task in (TASK, TASKS) else []
    message.headers = {
        "lang": "py",
        "task": task,
        "id": headers["id"],
        **{name: one if _is_id(one := headers.get(name)) else None for name in _RELATED},
        "retries": retries if type(retries) is int and 0 <= retries < _MOST else 0,
        "argsrepr": repr(tuple(args))[:_LONGEST_ID],
        "kwargsrepr": "{}",
    }
    # As it goes back into the queue, should this worker be told to stop before it has a thread.
    message.delivery_info = {"exchange": "", "routing_key": QUEUE}
    message.properties = {
        "body_encoding": "base64",
        "delivery_tag": message.delivery_tag,
        "delivery_info": message.delivery_info,
        "delivery_mode": 2,
        "priority": 0,
    }
    message.body = json.dumps([args, {}, None]).encode()
    message._decoded_cache = [args, {}, None]  # what its body is now


def _is_id(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and len(value) <= _LONGEST_ID


def log_dropped(problem: str, error: BaseException | None = None, message: Any = None) -> None:
    """Say that a message was dropped, and why."""
    log.warning("message dropped", **_about(problem, error, message))


def log_foreign(problem: str, message: Any) -> None:
    """Say that a task of somebody else's was refused, and how it may have come here."""
    log.error("message dropped", **_about(problem, None, message), likely_cause=LIKELY_CAUSE)


def _about(problem: str, error: BaseException | None, message: Any) -> dict[str, Any]:
    about: dict[str, Any] = {"problem": problem}
    if error is not None:
        about |= {"error": type(error).__name__, "at": _place(error)}
    if message is not None:
        about["bytes"] = len(message.body or b"")
        task = _task_of(message)
        if isinstance(task, str) and _TASK.fullmatch(task):
            about["task"] = task
    return about


def _place(error: BaseException) -> str:
    """Where in the code it was raised: what a traceback tells without any content."""
    trace = error.__traceback__
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}"
