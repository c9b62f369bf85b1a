"""How Redis's users come onto a server, and how their passwords are changed."""

from __future__ import annotations

import stat
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import redis

from tests.integration.commands import REPOSITORY
from tests.integration.users import USERS, Guarded, guarded_fixture, server_fixture
from worker.stack import HOST, RedisServer, Stack

server, guarded = server_fixture, guarded_fixture


class TestTheCommand:
    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "worker", "acl", *arguments],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def test_makes_a_file_that_a_server_loads(self, tmp_path: Path) -> None:
        file = tmp_path / "users.acl"
        done = self.run(str(file), "--db", "3")
        assert done.returncode == 0
        logins = dict(line.split(":") for line in done.stdout.split())
        assert set(logins) == {*USERS, "admin"} and len(set(logins.values())) == len(logins)
        text = file.read_text()
        assert "&/3.celery.pidbox" in text and "&/0." not in text
        assert not [password for password in logins.values() if password in text]
        assert stat.S_IMODE(file.stat().st_mode) & 0o007 == 0
        # Each logs in, at a server that has loaded it.
        with Stack() as stack:
            server = RedisServer(stack.folder, options=("--aclfile", str(file)))
            for user, password in logins.items():
                url = f"redis://{user}:{password}@{HOST}:{server.port}/3"
                assert redis.Redis.from_url(url).ping()
            server.end()

    def test_leaves_out_what_an_older_server_does_not_know(self, tmp_path: Path) -> None:
        """Redis 7.0 refuses a file with rights to commands that it lacks."""
        file = tmp_path / "users.acl"
        assert self.run(str(file), "--old").returncode == 0
        text = file.read_text()
        assert "waitaof" not in text and "setinfo" not in text and "+evalsha" in text

    def test_writes_over_no_file(self, tmp_path: Path) -> None:
        file = tmp_path / "users.acl"
        file.write_text("mine")
        done = self.run(str(file))
        assert done.returncode == 1 and "cannot be made: File exists" in done.stderr
        assert file.read_text() == "mine" and not done.stdout


def test_a_password_is_changed_while_all_go_on(guarded: Guarded) -> None:
    """As SECURITY.md tells: a second password, everybody restarted with it, the first one taken."""
    client, admin = guarded.client("producer"), guarded.admin
    old = guarded.url("producer").partition("@")[0].rpartition(":")[2]
    admin.execute_command("ACL", "SETUSER", "producer", f"#{sha256(b'new').hexdigest()}")
    admin.execute_command("ACL", "SAVE")
    anew = redis.Redis(host=HOST, port=guarded.server.port, username="producer", password="new")
    assert client.ping() and anew.ping()
    admin.execute_command("ACL", "SETUSER", "producer", f"!{sha256(old.encode()).hexdigest()}")
    with pytest.raises(redis.exceptions.AuthenticationError):
        guarded.client("producer").ping()
    assert anew.ping()
    admin.execute_command("ACL", "SETUSER", "producer", f"#{sha256(old.encode()).hexdigest()}")
