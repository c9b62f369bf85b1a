"""TLS to Redis, and what each library makes of it.

A URL says that there is TLS, `rediss://`; files say whom to trust and who we are. Certificates and
host names are always verified, and TLS is 1.2 or later: no option can change that.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

SCHEME: Final = "rediss://"

Problems = list[tuple[str, str]]


class RedisTls(NamedTuple):
    """Whom to trust and who we are.

    Args:
        ca_file: the authorities of Redis's certificate; by default the system's.
        cert_file: the certificate to show, for servers that ask for one.
        key_file: its key.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def options(self, url: str) -> dict[str, Any]:
        """What redis-py, and so Celery, redbeat and Flower, call this; nothing without TLS."""
        if not _has_tls(url):
            return {}
        files = {
            "ssl_ca_certs": self.ca_file,
            "ssl_certfile": self.cert_file,
            "ssl_keyfile": self.key_file,
        }
        return {
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
            "ssl_check_hostname": True,
            "ssl_min_version": ssl.TLSVersion.TLSv1_2,
            **{name: str(file) for name, file in files.items() if file is not None},
        }

    def problems(self, *urls: str) -> Problems:
        """The files that do not fit together, or are for no one of these URLs: name and why."""
        files = {
            "REDIS_CA_FILE": self.ca_file,
            "REDIS_CERT_FILE": self.cert_file,
            "REDIS_KEY_FILE": self.key_file,
        }
        given = [name for name, file in files.items() if file is not None]
        if given and not any(map(_has_tls, urls)):
            return [(name, f"is set, but no URL of Redis begins with {SCHEME}") for name in given]
        context = ssl.create_default_context()
        found: Problems = []
        if self.ca_file is not None:
            found += _problem(
                "REDIS_CA_FILE", "certificates in PEM", context.load_verify_locations, self.ca_file
            )
        if self.cert_file is None or self.key_file is None:
            pair = {"REDIS_CERT_FILE", "REDIS_KEY_FILE"}
            missing = sorted(pair - set(given)) if pair & set(given) else []
            return found + [(name, "is missing: a certificate needs its key") for name in missing]

        # Without the empty password OpenSSL would ask for one at the terminal.
        load = partial(
            context.load_cert_chain,
            keyfile=self.key_file,
            password="",  # nosec B106  # it is none
        )
        what = "a certificate in PEM, and REDIS_KEY_FILE its key, not encrypted"
        return found + _problem("REDIS_CERT_FILE", what, load, self.cert_file)


#: No files: the system's authorities are trusted, and no certificate is shown.
DEFAULT_TLS: Final = RedisTls()


def _has_tls(url: str) -> bool:
    return any(part.startswith(SCHEME) for part in url.split(";"))  # Celery takes several


def _problem(name: str, what: str, load: Callable[[Path], Any], file: Path) -> Problems:
    try:
        load(file)
    except ssl.SSLError:
        return [(name, f"has to hold {what}")]
    except OSError as error:
        return [(name, f"cannot be read: {error.strerror}")]
    return []


def refuse_tls_options(url: str) -> None:
    """Raise `ValueError` if a URL has options that could weaken TLS."""
    for part in url.split(";"):  # Celery takes several
        if not part.startswith(("redis", "sentinel")):
            continue
        query = part.partition("?")[2]  # what takes URLs apart may raise a part of the password
        if any(name.startswith("ssl") for name, _ in parse_qsl(query, keep_blank_values=True)):
            raise ValueError("must have no ssl_ options: use REDIS_CA_FILE and the like")
