"""Whatever an import file holds, its good lines are read and each other one has a reason."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tasks.__main__ import main
from tasks.errors import InvalidInput
from tasks.importing import Format, Import
from tests.conftest import use_environment
from tests.fuzz.harness import SEED, run, share
from tests.fuzz.mutation import mutations
from tests.sealed import new_keys

#: Characters of what is told of one line.
LONGEST: Final = 10_000
PASSWORD: Final = "hunter2hunter2"
ROW: Final[dict[str, Any]] = {
    "app_id": "acme",
    "id": "orders",
    "name": "Orders",
    "webhookURL": "https://shop.example.com/hook",
    "enabled": True,
    "retryOnFailure": False,
    "useBasicAuth": True,
    "username": "chat",
    "password": PASSWORD,
    "triggers": ["message_sent", "user_blocked"],
}
FORMULAS: Final = {"name": "=cmd|' /C calc'!A0", "id": "@SUM(1+1)", "app_id": "+1"}


def line(**fields: Any) -> bytes:
    return json.dumps({**ROW, **fields}).encode()


def row(**fields: Any) -> bytes:
    cells = {**ROW, "triggers": "message_sent|user_blocked", **fields}
    return ",".join(f'"{value}"' for value in cells.values()).encode()


HEADER: Final = ",".join(ROW).encode()
GOOD: Final[dict[Format, list[bytes]]] = {
    "jsonl": [
        line() + b"\n" + line(id="other") + b"\n",
        line(triggers=None, username="", password="", useBasicAuth=None),
        line(surprise={"a": [1, {"b": None}]}) + b"\n\n" + line(**FORMULAS),
        b"\xef\xbb\xbf" + line() + b"\r\n",
        line().replace(b'"orders"', b'"\\u0061\\ud83d\\ude00"'),
        line().decode().encode("utf-16"),
        b"\n".join(line(id=f"w{number}") for number in range(20)),
    ],
    "csv": [
        HEADER + b"\n" + row() + b"\n" + row(id="other") + b"\n",
        HEADER + b"\n" + row(**FORMULAS) + b"\n,,,,,,,,,\n",
        b"\xef\xbb\xbf" + HEADER + b"\r\n" + row() + b"\r\n",
        HEADER.replace(b",", b";") + b"\n" + row().replace(b",", b";"),
        HEADER + b"\n" + row().replace(b"Orders", b"Or\nders"),
        HEADER + "\nacme,ö,Ö,https://a.example,,,,,,\n".encode("latin-1"),
        HEADER + b"," + b",".join(b"c%d" % number for number in range(10_000)) + b"\n" + row(),
        b"\n".join([HEADER, *(row(id=f"w{number}") for number in range(20))]),
    ],
}


def cases(count: int) -> Iterator[tuple[Format, bytes]]:
    chance = random.Random(SEED)
    spoiled = {form: mutations(good, SEED, count) for form, good in GOOD.items()}
    for _ in range(count):
        form: Format = chance.choice(("jsonl", "csv"))
        yield form, next(spoiled[form])


def check(case: tuple[Format, bytes]) -> None:
    """Read it as `import` does before it enqueues."""
    form, data = case
    told: list[str] = []
    one = Import(form, on_bad=lambda bad: told.append(bad.reason), on_lines=lambda _: None)
    try:
        one.check(io.BytesIO(data), report=True)
    except InvalidInput as error:
        told.append(str(error))
    for reason in told:
        assert PASSWORD not in reason
        assert len(reason) < LONGEST
        assert reason.isprintable(), reason
    assert one.lines <= data.count(b"\n") + 1


def test_any_file_is_read_or_told_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    use_environment(new_keys())
    run("imports", cases(share(0.16)), check)


def test_the_command_ends_with_a_sentence(
    redis_server: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    use_environment(new_keys())
    monkeypatch.setattr("config.logging.configure_logging", lambda _settings: None)

    def ask(case: tuple[Format, bytes]) -> None:
        form, data = case
        path = tmp_path / "file"
        path.write_bytes(data)
        with pytest.raises(SystemExit) as ended:
            main(["import", str(path), "--format", form, "--skip-bad"])
        said = capsys.readouterr()
        assert (ended.value.code or 0) in (0, 2)
        assert PASSWORD not in said.out + said.err
        assert len(said.err) < LONGEST * (data.count(b"\n") + 2)

    run("imports (command)", cases(share(0.02)), ask)
