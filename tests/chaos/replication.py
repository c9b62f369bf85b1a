"""One Redis primary, its replicas and their sentinels, each a process that can be killed."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.conftest import eventually
from worker.stack import HOST, Part, find_redis_server, free_port

SERVICE = "jobs"
#: Seconds without an answer after which a server counts as down. Sentinels ask once a second, and
#: who was just promoted was not asked yet: with 1, every tenth fail-over was followed by another.
DOWN_AFTER = 2
#: Of the servers and of the sentinels; each has characters that a URL must encode.
PASSWORD, SENTINEL_PASSWORD = "s/r:v@r?#%;,+ 1", "s/nt:n@l?#%;,+ 2"


class Node:
    """A server or a sentinel: a folder with a configuration that it rewrites itself."""

    def __init__(self, folder: Path, name: str, password: str, *settings: str) -> None:
        self.name = name
        self.port = free_port()
        self.password = password
        self._folder = folder / name
        self._folder.mkdir()
        self._is_sentinel = name.startswith("sentinel")
        lines = f"port {self.port}", f"bind {HOST}", f"dir {self._folder}", *settings
        (self._folder / "conf").write_text("\n".join(lines) + "\n")
        self.client: Any = redis.Redis(
            host=HOST,
            port=self.port,
            password=password,
            decode_responses=True,
            socket_timeout=1,
            retry=Retry(NoBackoff(), 0),
        )
        self.start()

    def start(self) -> None:
        """Start the process, for the first time or again."""
        command = [find_redis_server(), str(self._folder / "conf")]
        self.part = Part(
            self.name, command + ["--sentinel"] * self._is_sentinel, self._folder.parent
        )
        self.part.wait_for(self.answers)

    def answers(self) -> bool:
        """Whether it is there."""
        with contextlib.suppress(redis.RedisError):
            return bool(self.client.ping())
        return False

    def role(self) -> str:
        """What it is: "master", "slave", or nothing if it does not answer."""
        with contextlib.suppress(redis.RedisError):
            return str(self.client.role()[0])
        return ""


class Group:
    """A primary, its replicas, and sentinels that choose another primary when it is away.

    Args:
        folder: where the processes have their data.
    """

    def __init__(self, folder: Path, *, servers: int = 3, sentinels: int = 3) -> None:
        quoted = f'"{PASSWORD}"'
        common = (
            *(f"requirepass {quoted}", f"masterauth {quoted}", 'save ""'),
            *("appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction"),
            # At once, as all is on one machine.
            "repl-diskless-sync-delay 0",
        )
        self.servers = [Node(folder, "server-0", PASSWORD, *common)]
        follow = f"replicaof {HOST} {self.servers[0].port}"
        self.servers += [
            Node(folder, f"server-{number}", PASSWORD, *common, follow)
            for number in range(1, servers)
        ]
        watch = (
            f'requirepass "{SENTINEL_PASSWORD}"',
            f"sentinel monitor {SERVICE} {HOST} {self.servers[0].port} {sentinels // 2 + 1}",
            f"sentinel auth-pass {SERVICE} {quoted}",
            f'sentinel sentinel-pass "{SENTINEL_PASSWORD}"',
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER * 1000}",
            f"sentinel failover-timeout {SERVICE} {DOWN_AFTER * 5000}",
        )
        self.sentinels = [
            Node(folder, f"sentinel-{number}", SENTINEL_PASSWORD, *watch)
            for number in range(sentinels)
        ]
        hosts = ",".join(f"{HOST}:{node.port}" for node in self.sentinels)
        self.url = (
            f"redis+sentinel://:{quote(PASSWORD, safe='')}@{hosts}/{SERVICE}/0"
            f"?sentinel_password={quote(SENTINEL_PASSWORD, safe='')}"
        )
        eventually(self.is_whole, 30)

    @property
    def part(self) -> Part:
        """The process of the server that was the first primary."""
        return self.servers[0].part

    def is_whole(self) -> bool:
        """Whether all sentinels agree on one primary, with all others as its replicas in step."""
        primary = self.primary()
        if primary is None or [node.role() for node in self.servers].count("master") != 1:
            return False
        replicas = len(self.servers) - 1
        try:
            for node in self.sentinels:
                seen = node.client.sentinel_master(SERVICE)
                others = node.client.sentinel_slaves(SERVICE)
                if int(seen["port"]) != primary.port or seen["is_sdown"] or seen["is_odown"]:
                    return False
                if seen["num-other-sentinels"] != len(self.sentinels) - 1:
                    return False
                up = [one for one in others if one["master-link-status"] == "ok"]
                if len(up) != replicas or any(one["is_sdown"] for one in up):
                    return False
            facts = primary.client.info("replication")
        except redis.RedisError:
            return False
        return all(facts.get(f"slave{n}", {}).get("state") == "online" for n in range(replicas))

    def primary(self) -> Node | None:
        """The server that says that it is the primary, and that the sentinels take for it."""
        told = set()
        for node in self.sentinels:
            with contextlib.suppress(redis.RedisError):
                told.add(node.client.sentinel_get_master_addr_by_name(SERVICE))
        if len(told) != 1:
            return None
        [address] = told
        for node in self.servers:
            if address == (HOST, node.port) and node.role() == "master":
                return node
        return None

    def replicas(self) -> int:
        """How many replicas the primary has that are in step with it."""
        primary = self.primary()
        if primary is None:
            return 0
        with contextlib.suppress(redis.RedisError):
            facts = primary.client.info("replication").values()
            return sum(isinstance(one, dict) and one.get("state") == "online" for one in facts)
        return 0

    def fail(self, how: signal.Signals) -> Node:
        """SIGKILL or SIGSTOP the primary; the server that was it."""
        node = self.primary()
        assert node is not None
        if how == signal.SIGKILL:
            node.part.kill()
        else:
            node.part.signal(how)
        return node

    def bring_back(self, node: Node) -> None:
        """Let a server that failed come back; the sentinels make it a replica by themselves."""
        if node.part.process.poll() is None:
            node.part.signal(signal.SIGCONT)
        else:
            node.start()

    def url_for(self, user: str, port: int | None = None) -> str:
        """What any process connects to."""
        return self.url

    def end(self) -> None:
        """End all processes."""
        self.kill()

    def kill(self) -> None:
        """End all processes."""
        for node in (*self.sentinels, *self.servers):
            node.client.close()
            node.part.kill()
