"""The keys that seal passwords at rest, as they are written in the settings.

A key is a pair, so that producers seal what workers alone can open: X25519, of which
SEALING_PUBLIC_KEY has the public half and SEALING_PRIVATE_KEYS the private one. Both texts also
hold the same 32 bytes, for comparing passwords without opening them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from nacl.public import PrivateKey
from pydantic import SecretBytes, SecretStr

_SIZE: Final = 32  # bytes of each key, as X25519, XSalsa20 and BLAKE2b have them

Kind = Literal["public", "private"]
_PREFIXES: Final[dict[Kind, str]] = {"public": "sealpub_", "private": "sealpriv_"}
_SETTINGS: Final[dict[Kind, str]] = {
    "public": "SEALING_PUBLIC_KEY",
    "private": "SEALING_PRIVATE_KEYS",
}


class SealingKey(NamedTuple):
    """Half of a pair.

    `key` is what its kind says, `comparing` what passwords are compared with; `id` names the pair,
    and tells nothing of it.
    """

    kind: Kind
    id: str
    key: SecretBytes
    comparing: SecretBytes


def read_sealing_key(text: SecretStr, kind: Kind) -> SealingKey:
    """The key that a text is. Raises `ValueError`, whose words show nothing of it."""
    given = text.get_secret_value()
    found = next((one for one, prefix in _PREFIXES.items() if given.startswith(prefix)), None)
    if found is None:
        raise ValueError(f"is no {kind} sealing key, which begins with {_PREFIXES[kind]}")
    if found != kind:
        raise ValueError(f"is a {found} key, which belongs into {_SETTINGS[found]}")
    raw = _decoded(given.removeprefix(_PREFIXES[kind]))
    if len(raw) != 2 * _SIZE:
        raise ValueError("is cut, or has been changed")
    half, comparing = raw[:_SIZE], raw[_SIZE:]
    public = bytes(PrivateKey(half).public_key) if kind == "private" else half
    its_id = hashlib.blake2b(public, person=b"key id", digest_size=4).hexdigest()
    return SealingKey(kind, its_id, SecretBytes(half), SecretBytes(comparing))


def check_sealing_keys(texts: Sequence[SecretStr], kind: Kind) -> tuple[SecretStr, ...]:
    """The texts, if each is a key of this kind. Raises `ValueError` naming which is not."""
    for number, text in enumerate(texts, 1):
        try:
            read_sealing_key(text, kind)
        except ValueError as error:
            problem = str(error)
        else:
            continue
        raise ValueError(f"key {number} {problem}; `python -m worker keys new` prints new ones")
    return tuple(texts)


def new_pair() -> tuple[SecretStr, SecretStr]:
    """A new public and private half, as the settings take them."""
    private, comparing = PrivateKey.generate(), bytes(PrivateKey.generate())

    def text(kind: Kind, half: bytes) -> SecretStr:
        return SecretStr(_PREFIXES[kind] + base64.urlsafe_b64encode(half + comparing).decode())

    return text("public", bytes(private.public_key)), text("private", bytes(private))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeError):
        return b""
