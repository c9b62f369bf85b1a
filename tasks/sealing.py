"""Passwords at rest: sealed before they go to Redis, opened in the worker for the call alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr

from config.settings import get_settings
from tasks.errors import SealingUnavailable


class Sealer:
    """Seals with the first of SEALING_KEYS and opens with any of them."""

    def __init__(self, keys: Sequence[SecretStr]) -> None:
        self._fernet = (
            MultiFernet([Fernet(key.get_secret_value()) for key in keys]) if keys else None
        )

    def seal(self, password: SecretStr) -> str:
        """Encrypt and sign a password. Raises `SealingUnavailable` when there is no key."""
        return self._keys().encrypt(password.get_secret_value().encode()).decode()

    def open(self, sealed: str) -> SecretStr:
        """Decrypt a sealed password. Raises `SealingUnavailable` when no key fits."""
        fernet = self._keys()
        try:
            return SecretStr(fernet.decrypt(sealed).decode())
        except (InvalidToken, ValueError):
            pass
        raise SealingUnavailable(
            "A sealed password opens with none of SEALING_KEYS: put back the key that sealed it."
        )

    def _keys(self) -> MultiFernet:
        if self._fernet is None:
            raise SealingUnavailable(
                "A webhook with a password needs SEALING_KEYS: `python -m worker key` prints one; "
                "producers and workers share it."
            )
        return self._fernet


@lru_cache(maxsize=1)
def get_sealer() -> Sealer:
    """The process's sealer, from the settings."""
    return Sealer(get_settings().sealing_keys)
