"""Under which licence a package comes, by its own words, and whether that fits ours (MIT)."""

from __future__ import annotations

import re
from importlib.metadata import metadata

#: What may be used and given on along with a program under MIT, unchanged, as it is here. MPL-2.0
#: binds those who change its files.
COMPATIBLE = frozenset(
    {
        *("MIT", "MIT-0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC", "Zlib"),
        *("Apache-2.0", "PSF-2.0", "MPL-2.0", "Unlicense"),
    }
)
#: What packages from before there were expressions say instead of them.
OLD_NAMES = {
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "New BSD": "BSD-3-Clause",
}


def licence_of(name: str) -> str:
    """An installed package's licence, such as "MIT OR Apache-2.0"; '' if it names none.

    "BSD" is one of that family, if the package does not say which.

    Raises `importlib.metadata.PackageNotFoundError`.
    """
    about = metadata(name)
    if expression := about.get("License-Expression"):
        return str(expression)
    said = (about.get("License") or "").strip()
    if (known := OLD_NAMES.get(said, said)) in COMPATIBLE:
        return known
    classes = [one for one in about.get_all("Classifier") or [] if one.startswith("License ::")]
    names = [one.rpartition(" :: ")[2] for one in classes]
    return " OR ".join(OLD_NAMES.get(one, one) for one in names) or said


def is_compatible(expression: str) -> bool:
    """Whether a licence fits. What is more than a chain of AND and OR is for a person to read."""
    needed = re.split(r" AND ", expression)
    return all(any(one in COMPATIBLE for one in part.split(" OR ")) for part in needed)
