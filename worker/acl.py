"""`python -m worker acl FILE`: a server's users, made of `config/redis.acl` and fresh passwords."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
from pydantic import SecretStr

import config

SHIPPED = Path(config.__file__).parent / "redis.acl"

_SINCE_7_2 = re.compile(r"\+client\|setinfo |\+waitaof ")

#: Characters of a password: too many to be guessed, so that a plain hash of it is enough.
PASSWORD_BYTES = 32


def fresh_passwords() -> dict[str, SecretStr]:
    """A password for each user that is shipped and may log in."""
    names = (name for name, rights in _users() if "off" not in rights.split())
    return {name: SecretStr(secrets.token_urlsafe(PASSWORD_BYTES)) for name in names}


def acl_file(passwords: Mapping[str, SecretStr], *, db: int = 0, is_old: bool = False) -> str:
    """What a server loads: a line for each user, with the hash of the password if there is one.

    `db` is the database that the URLs name: kombu's channels have it in their names.
    `is_old` is for a server before 7.2, which refuses rights to commands that it lacks.
    """
    lines = (f"user {name} {_login(passwords.get(name))} {rights}" for name, rights in _users())
    text = "".join(line.replace("&/0.", f"&/{db}.") + "\n" for line in lines)
    return _SINCE_7_2.sub("", text) if is_old else text


def _login(password: SecretStr | None) -> str:
    if password is None:
        return "reset"
    digest = hashlib.sha256(password.get_secret_value().encode()).hexdigest()
    return f"reset on #{digest}"


def _users() -> Iterator[tuple[str, str]]:
    """The names and rights that are shipped, without comments."""
    text = "\n".join(line for line in SHIPPED.read_text().splitlines() if not line.startswith("#"))
    for part in re.split(r"^user ", text, flags=re.MULTILINE)[1:]:
        name, *rights = part.split()
        yield name, " ".join(rights)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--db", default=0, show_default=True, help="The database that the URLs name.")
@click.option("--old", is_flag=True, help="For a Redis before 7.2.")
def acl(file: Path, db: int, old: bool) -> None:
    """Write Redis's users with fresh passwords to FILE, and print the passwords, once.

    FILE has their hashes, and is what Redis's setting `aclfile` names.
    """
    passwords = fresh_passwords()
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    except OSError as error:
        raise click.ClickException(f"{file} cannot be made: {error.strerror}") from None
    with os.fdopen(handle, "w") as written:
        written.write(acl_file(passwords, db=db, is_old=old))
    for name, password in passwords.items():
        click.echo(f"{name}:{password.get_secret_value()}")
    click.echo(
        f"\n{file} has the hashes. Let Redis load it (aclfile {file}, then a restart or ACL LOAD) "
        f"and give each process its own: REDIS_URL=rediss://<what stands above>@host:6379/{db}",
        err=True,
    )
