"""The allocator's arenas are few, however many threads a worker has."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

#: Each thread holds memory while all of them do; then glibc writes down what arenas it has.
ARENAS_OF_THREADS = """
import ctypes, sys, threading
from worker.memory import bound_arenas

if sys.argv[2] == "bound":
    bound_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
together = threading.Barrier(32)

def hold():
    libc.malloc(ctypes.c_size_t(10_000))
    together.wait(10)

threads = [threading.Thread(target=hold) for _ in range(32)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


def arenas(folder: Path, how: str, **env: str) -> int:
    path = folder / "arenas.xml"
    command = [sys.executable, "-c", ARENAS_OF_THREADS, str(path), how]
    others = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    subprocess.run(command, check=True, timeout=30, env={**others, **env})
    return path.read_text().count("<heap nr=")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is glibc's")
def test_threads_share_few_arenas(tmp_path: Path) -> None:
    assert arenas(tmp_path, "bound") <= 2 < arenas(tmp_path, "as it comes")
    assert arenas(tmp_path, "bound", MALLOC_ARENA_MAX="5") == 5
