"""The keys that seal passwords at rest, as they are written in the settings.

A *pair* lets producers seal what workers alone can open: X25519, of which SEALING_PUBLIC_KEY has
the public half and SEALING_PRIVATE_KEYS the private one. A *shared* key (SEALING_KEYS) does both.
Each text also has, or yields, 32 bytes for comparing passwords without opening them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from nacl.public import PrivateKey
from pydantic import SecretBytes, SecretStr

PUBLIC_PREFIX: Final = "sealpub_"
PRIVATE_PREFIX: Final = "sealpriv_"
_SIZE: Final = 32  # bytes of each key, as X25519, XSalsa20 and BLAKE2b have them

Kind = Literal["public", "private", "shared"]
_SETTINGS: Final[dict[Kind, str]] = {
    "public": "SEALING_PUBLIC_KEY",
    "private": "SEALING_PRIVATE_KEYS",
    "shared": "SEALING_KEYS",
}


class SealingKey(NamedTuple):
    """One key.

    `key` is what its kind says, `comparing` what passwords are compared with; `id` names the pair
    or the shared key, and tells nothing of it.
    """

    kind: Kind
    id: str
    key: SecretBytes
    comparing: SecretBytes


def read_sealing_key(text: SecretStr, kind: Kind) -> SealingKey:
    """The key that a text is. Raises `ValueError`, whose words show nothing of it."""
    given = text.get_secret_value()
    found = _kind_of(given)
    if found != kind:
        raise ValueError(f"is a {found} key, which belongs into {_SETTINGS[found]}")
    raw = _decoded(given.removeprefix(PUBLIC_PREFIX).removeprefix(PRIVATE_PREFIX))
    if kind == "shared":
        if len(raw) != _SIZE:
            raise ValueError("is not 32 bytes in URL-safe base64")
        comparing = hashlib.blake2b(key=raw, person=b"compare", digest_size=_SIZE).digest()
        return _key(kind, raw, comparing, names=comparing)
    if len(raw) != 2 * _SIZE:
        raise ValueError("is cut, or has been changed")
    half, comparing = raw[:_SIZE], raw[_SIZE:]
    public = bytes(PrivateKey(half).public_key) if kind == "private" else half
    return _key(kind, half, comparing, names=public)


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
    private = PrivateKey.generate()
    comparing = bytes(PrivateKey.generate())
    halves = (PUBLIC_PREFIX, bytes(private.public_key)), (PRIVATE_PREFIX, bytes(private))
    public, secret = (SecretStr(prefix + _encoded(half + comparing)) for prefix, half in halves)
    return public, secret


def new_shared_key() -> SecretStr:
    """A new shared key, as SEALING_KEYS takes it."""
    return SecretStr(_encoded(bytes(PrivateKey.generate())))


def _kind_of(text: str) -> Kind:
    if text.startswith(PUBLIC_PREFIX):
        return "public"
    return "private" if text.startswith(PRIVATE_PREFIX) else "shared"


def _key(kind: Kind, key: bytes, comparing: bytes, *, names: bytes) -> SealingKey:
    its_id = hashlib.blake2b(names, person=b"key id", digest_size=4).hexdigest()
    return SealingKey(kind, its_id, SecretBytes(key), SecretBytes(comparing))


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeError):
        return b""
