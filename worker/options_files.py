"""Celery's options that name files, modules and users: whether they are there, before a start.

Who detaches has nobody to tell later: Celery's parent ends with 0 whatever becomes of its child.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from celery.platforms import parse_gid, parse_uid

#: By the option's name in Celery; beat has the first two.
FILES: Final = {"logfile": "--logfile", "pidfile": "--pidfile", "statedb": "--statedb"}


def file_problems(options: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each option that cannot be obeyed.

    Args:
        options: the values, by Celery's names; those that were not given are None or empty.
    """
    for name, option in FILES.items():
        if problem := _problem(options.get(name)):
            yield f"{option} {options[name]} cannot be written: {problem}."
    for module in options.get("include") or ():
        if not _is_there(module):
            yield f"--include {module} is no module that can be imported."
    for name, parse in (("uid", parse_uid), ("gid", parse_gid)):
        try:
            if value := options.get(name):
                parse(value)
        except (KeyError, ValueError):
            yield f"--{name} {options[name]} is not known to this machine."


def _problem(file: object) -> str:
    """Why a file cannot be written; its name may hold what Celery replaces, as %n.log does."""
    if not isinstance(file, str | Path) or not str(file):
        return ""
    path = Path(file)
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    if path.is_dir():
        return "it is a folder"
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        return "permission denied"
    return ""


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
