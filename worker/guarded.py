"""The stack's Redis as it should be in production: users with least rights, TLS both ways."""

from __future__ import annotations

import socket
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlencode

from pydantic import SecretStr

from tasks.jobs import JobStore
from worker.acl import acl_file, fresh_passwords
from worker.certificates import Authority
from worker.stack import HOST, Part, RedisServer, free_port


class GuardedRedis(RedisServer):
    """A server whose clients need a user and a certificate.

    `url` is the administrator's, for redis-py; `env` has the settings that all processes need
    beside their own REDIS_URL, which is `url_for` their kind.
    """

    def __init__(self, folder: Path, *, options: tuple[str, ...] = ()) -> None:
        folder = Path(tempfile.mkdtemp(prefix="redis-", dir=folder))
        authority = Authority(folder)
        self._server = authority.issue("server", HOST)
        client = authority.issue("client", "client")
        self.env = {
            "REDIS_CA_FILE": str(authority.file),
            "REDIS_CERT_FILE": str(client.certificate),
            "REDIS_KEY_FILE": str(client.key),
        }
        self._passwords = fresh_passwords()
        users = folder / "users.acl"
        users.write_text(acl_file(self._passwords))
        super().__init__(folder, options=("--aclfile", str(users), *options))
        self.tls_port = free_port()
        files = self._server.certificate, self._server.key, authority.file
        self._front = Part(
            "tls",
            [
                *(sys.executable, "-m", "worker.tls_front", str(self.tls_port), str(self.port)),
                *map(str, files),
            ],
            folder,
        )
        self._front.wait_for(self._is_fronted)
        named = {
            "ssl_ca_certs": authority.file,
            "ssl_certfile": client.certificate,
            "ssl_keyfile": client.key,
        }
        self.url = f"{self.url_for('admin')}?{urlencode(named)}"

    @property
    def public_port(self) -> int:
        """Where processes of the program connect to."""
        return self.tls_port

    def url_for(self, user: str, port: int | None = None) -> str:
        """A user's REDIS_URL, or the same by way of another port."""
        return f"rediss://{self._login(user)}@{HOST}:{port or self.public_port}/0"

    def load_steps(self) -> None:
        """Load the Lua steps, as the first worker does: others may not, and may start before it."""
        url = SecretStr(f"redis://{self._login('worker')}@{HOST}:{self.port}/0")
        JobStore(url, pipe_size=1, result_ttl=1, patience=1.0).prepare()

    def _login(self, user: str) -> str:
        return f"{user}:{self._passwords[user].get_secret_value()}"

    def end(self) -> None:
        """End what is in front of the server, too."""
        super().end()
        self._front.kill()

    def _is_fronted(self) -> bool:
        try:
            socket.create_connection((HOST, self.tls_port), timeout=1).close()
        except OSError:
            return False
        return True
