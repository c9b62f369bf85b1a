"""The file `.env`: what is read of it, and what is said of one that is no good."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

import pytest

from config.accounts import DEFAULT
from config.settings import Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment that has no settings, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def refusal() -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return caught.value


ODD_FILES: dict[str, tuple[bytes, str]] = {
    "UTF-16": ("PIPE_SIZE=7\n".encode("utf-16"), "is UTF-16"),
    "UTF-16, big end first": (codecs.BOM_UTF16_BE + "A=7\n".encode("utf-16-be"), "is UTF-16"),
    "UTF-16 without a mark": ("PIPE_SIZE=7\n".encode("utf-16-le"), "is UTF-16, or has zero bytes"),
    "UTF-32": ("PIPE_SIZE=7\n".encode("utf-32"), "is UTF-16"),
    "Latin-1": ("# für alle\nPIPE_SIZE=7\n".encode("latin-1"), "is not UTF-8 (line 1)"),
    "Latin-1 further down": ("A=1\r\nB=hübsch".encode("cp1252"), "is not UTF-8 (line 2)"),
    "a quote that is open": (b"PIPE_SIZE=7\nLOG_LEVEL='info\n", "line 2 is not NAME=value"),
    "much": (b"#" * (2**20 + 1), "has more than 1048576 bytes"),
}


class TestAFileThatIsNoGood:
    @pytest.mark.parametrize(("data", "words"), ODD_FILES.values(), ids=ODD_FILES)
    def test_is_refused_in_a_sentence(self, data: bytes, words: str) -> None:
        Path(".env").write_bytes(data)
        error = refusal()
        assert f"  .env: {words}" in str(error)
        assert len(error.problems) == 1

    def test_is_told_from_none(self) -> None:
        Path(".env").symlink_to("nowhere")
        assert ".env: is a link to a file that is not there" in str(refusal())
        Path(".env").unlink()
        Path(".env").mkdir()
        assert ".env: is a directory" in str(refusal())

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
    def test_that_others_alone_may_read(self) -> None:
        Path(".env").write_text("PIPE_SIZE=7\n")
        Path(".env").chmod(0)
        assert ".env: cannot be read (Permission denied)" in str(refusal())

    @pytest.mark.parametrize(
        "line",
        ["COMETCHAT_SECRET=a${HOME}b", 'COMETCHAT_SECRET="a${HOME}b"', "COMETCHAT_SECRET=${X:-y}"],
    )
    def test_has_something_to_be_expanded(self, line: str) -> None:
        Path(".env").write_text(f"{line}\nPIPE_SIZE=${{SIZE}}\nOTHER=${{HOME}}\n")
        error = refusal()
        assert [one.partition(":")[0] for one in error.problems] == [
            "COMETCHAT_SECRET",
            "PIPE_SIZE",
        ]
        assert "COMETCHAT_SECRET: has a ${...} in .env, where nothing is expanded" in str(error)
        assert line.partition("=")[2].strip('"') not in str(error)
        assert error.__cause__ is error.__context__ is None

    def test_unless_the_environment_has_the_setting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path(".env").write_text("PIPE_SIZE=${SIZE}\n")
        monkeypatch.setenv("PIPE_SIZE", "8")
        assert load_settings().pipe_size == 8


class TestAFileThatIsGood:
    @pytest.mark.parametrize(
        "data",
        [
            codecs.BOM_UTF8 + b"PIPE_SIZE=7\r\nLOG_LEVEL=debug\r\n",
            b"export PIPE_SIZE = '7' # a comment\r\rLOG_LEVEL=debug",
            'PIPE_SIZE="7"\n# für alle →\nLOG_LEVEL=debug\nlog_format'.encode(),
        ],
        ids=["with a mark, from Windows", "exported, from an old Mac", "in UTF-8"],
    )
    def test_is_read(self, data: bytes) -> None:
        Path(".env").write_bytes(data)
        settings = load_settings()
        assert (settings.pipe_size, settings.log_level) == (7, "debug")

    def test_has_values_as_they_stand_in_single_quotes(self) -> None:
        Path(".env").write_text("COMETCHAT_KEY=k$HOME\nCOMETCHAT_SECRET = 'a${HOME}b'\n")
        [pair] = load_settings().credentials(DEFAULT)
        assert pair.key.get_secret_value() == "k$HOME"
        assert pair.secret.get_secret_value() == "a${HOME}b"

    def test_is_left_alone_where_none_is_wanted(self) -> None:
        Path(".env").mkdir()
        assert load_settings(_env_file=None).pipe_size == 256
