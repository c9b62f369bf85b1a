"""Passwords at rest: sealed before they go to Redis, opened in the worker for the call alone.

A sealed password is `<key id>.<base64>`: a box to the private half of a pair (NaCl's crypto_box).
It is bound to what it was given for (see `binding`): beside any other webhook, URL or job it does
not open, so that whoever can write to Redis cannot have a password sent to an address of their own.

A *mark* tells whether two passwords of one webhook are the same without opening either: a keyed
hash. Who reads Redis alone can try no guesses against it, as the key is in the settings; a
producer's key can, and so a password that can be guessed is not safe from someone who owns a
producer and may read records. It is different for each webhook, so that equal passwords do not look
equal.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from nacl.exceptions import CryptoError
from nacl.public import Box, PrivateKey, PublicKey
from pydantic import SecretBytes, SecretStr

from config.sealing_keys import SealingKey, read_sealing_key
from config.secrets import Secret, known_secrets
from config.settings import get_settings
from config.shared import shared
from tasks.errors import SealedPasswordChanged, SealingUnavailable

#: A producer's own half of a box is made anew after so many seconds: making one for each password
#: takes a tenth of an enqueue's time.
SENDER_SECONDS: Final = 60.0

#: Senders' halves for which a worker keeps a box.
SENDERS: Final = 64

_BOUND: Final = 32  # bytes of a binding, before the password in what is sealed
_PUBLIC: Final = 32  # bytes of the sender's half, before a box
#: Made once: `json.dumps` makes one for each text that is not as by default.
_canonical: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def binding(
    *, account: str, app_id: str, action: str, job_id: str, webhook: Mapping[str, Any]
) -> SecretBytes:
    """What a sealed password is bound to: all that goes to CometChat with it.

    `job_id` is the id of the webhook's create job if that is the action, else the job's own.
    """
    text = _canonical([account, app_id, action, job_id, webhook])
    return SecretBytes(hashlib.blake2b(text.encode(), digest_size=_BOUND).digest())


class _Pair:
    """One pair: its public half seals, its private half, if it is there, opens."""

    def __init__(self, key: SealingKey) -> None:
        self.id, self._private = key.id, None
        if key.kind == "private":
            self._private = PrivateKey(key.key.get_secret_value())
            self._public = self._private.public_key
        else:
            self._public = PublicKey(key.key.get_secret_value())
        self._sender: tuple[float, bytes, Box] | None = None
        # A box takes most of an opening's time, and a producer's passwords come by the same.
        self._box_from = lru_cache(maxsize=SENDERS)(self._new_box)

    def _new_box(self, sender: bytes) -> Box:
        if self._private is None:
            raise SealingUnavailable(
                "This process can seal passwords and not open them: it has no SEALING_PRIVATE_KEYS."
            )
        return Box(self._private, PublicKey(sender))

    def seal(self, plain: bytes) -> bytes:
        sender = self._sender
        if sender is None or time.monotonic() > sender[0]:
            own = PrivateKey.generate()
            until = time.monotonic() + SENDER_SECONDS
            sender = self._sender = until, bytes(own.public_key), Box(own, self._public)
        return sender[1] + bytes(sender[2].encrypt(plain))

    def open(self, sealed: bytes) -> bytes:
        return self._box_from(sealed[:_PUBLIC]).decrypt(sealed[_PUBLIC:])


class Sealer:
    """Seals with the newest key, and opens with whichever is there.

    Args:
        public: SEALING_PUBLIC_KEY, the newest first; it seals if it is there.
        private: SEALING_PRIVATE_KEYS, likewise; they open, and seal where no public one is there.
    """

    def __init__(
        self, *, public: Sequence[SecretStr] = (), private: Sequence[SecretStr] = ()
    ) -> None:
        keys = [read_sealing_key(text, "public") for text in public]
        keys += [read_sealing_key(text, "private") for text in private]
        # Of a pair that is there twice the private half, which can do both, is the one that stays.
        self._pairs = {key.id: _Pair(key) for key in keys}
        self._comparing = {key.id: key.comparing for key in keys}

    def is_newest(self, sealed: str) -> bool:
        """Whether the key that seals now has sealed it."""
        return bool(self._comparing) and sealed.partition(".")[0] == self.ids[0]

    @property
    def ids(self) -> tuple[str, ...]:
        """The keys that are there, the one that seals first."""
        return tuple(self._comparing)

    def require(self) -> None:
        """Raise `SealingUnavailable` if there is no key."""
        if not self._comparing:
            raise SealingUnavailable(
                "A webhook with a password needs SEALING_PUBLIC_KEY where it is enqueued, and "
                "SEALING_PRIVATE_KEYS in the worker: `python -m worker keys new` prints both."
            )

    def seal(self, password: SecretStr, bound_to: SecretBytes) -> str:
        """Encrypt and sign a password. Raises `SealingUnavailable` when there is no key."""
        self.require()
        key = self._pairs[self.ids[0]]
        plain = bound_to.get_secret_value() + password.get_secret_value().encode()
        return f"{key.id}.{base64.urlsafe_b64encode(key.seal(plain)).decode()}"

    def open(self, sealed: str, bound_to: SecretBytes) -> SecretStr:
        """Decrypt a sealed password. Raises `SealingUnavailable` that says why it does not open."""
        self.require()
        key_id, _, text = sealed.partition(".")
        if key_id not in self._pairs:
            raise SealingUnavailable(
                f"A password was sealed with key {key_id[:8]!r}, which is none of "
                "SEALING_PRIVATE_KEYS: put that key back."
            )
        try:
            plain = self._pairs[key_id].open(base64.b64decode(text, altchars=b"-_", validate=True))
            if hmac.compare_digest(plain[:_BOUND], bound_to.get_secret_value()):
                return known_secrets.opened(Secret(plain[_BOUND:].decode()))
            problem = "was sealed for another webhook, job or address"
        except (CryptoError, ValueError, TypeError):
            problem = "was changed after it was sealed"
        raise SealedPasswordChanged(
            f"A password {problem}: find out who else writes to Redis, forget the job and enqueue "
            "its webhook again."
        )

    def marks(self, password: SecretStr, webhook: str) -> tuple[str, ...]:
        """What tells whether passwords of this webhook are the same, by each key that is there.

        Args:
            password: as it was given.
            webhook: the id of the webhook's create job.
        """
        told = webhook.encode() + b"\0" + password.get_secret_value().encode()
        return tuple(
            f"{key_id}.{_mark(told, comparing)}" for key_id, comparing in self._comparing.items()
        )


def same_password(mark: str, marks: Sequence[str]) -> bool | None:
    """Whether a record's mark is among those of a password; None if its key is none of theirs."""
    key_id = mark.partition(".")[0]
    for one in marks:
        if one.partition(".")[0] == key_id:
            return hmac.compare_digest(one, mark)
    return None


def _mark(told: bytes, comparing: SecretBytes) -> str:
    key = comparing.get_secret_value()
    digest = hashlib.blake2b(told, key=key, person=b"password mark", digest_size=16).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


@shared
def get_sealer() -> Sealer:
    """The process's sealer, from the settings."""
    settings = get_settings()
    return Sealer(public=settings.sealing_public_key, private=settings.sealing_private_keys)
