"""A real PostgreSQL server on a Unix socket, for the time of a test. It keeps nothing from others on this machine."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text


def _program(name: str) -> str:
    """A server program of this machine. Skips the test where there is none."""
    known = [shutil.which(name), *sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), reverse=True)]
    found = next((path for path in known if path), None)
    if found is None:
        pytest.skip(f"PostgreSQL is not installed: {name} is neither on PATH nor in /usr/lib/postgresql/*/bin")
    return os.path.realpath(found)


def _user() -> str:
    """Who the server runs as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return getpass.getuser()
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    pytest.skip("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


def _run(user: str, *command: str) -> None:
    """Run a program as a user, outside any directory that this user may not enter."""
    identity = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60, check=False, **identity)  # type: ignore[call-overload]
    assert done.returncode == 0, (command, done.stdout, done.stderr)


class PostgresServer:
    """A server that can be stopped and started again; ``url``: of its database, ``data``: its directory."""

    def __init__(self, directory: Path) -> None:
        self._user, self._directory = _user(), directory
        self._initdb, self._pg_ctl = _program("initdb"), _program("pg_ctl")
        self.data = directory / "data"
        self.url = f"postgresql://{self._user}@/postgres?host={directory}"

    def make(self) -> None:
        if os.geteuid() == 0:
            os.chown(self._directory, pwd.getpwnam(self._user).pw_uid, -1)
        _run(self._user, self._initdb, "-D", str(self.data), "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def start(self) -> None:
        # What a test does not look at is not waited for: a power cut.
        options = f"-k {self._directory} -c listen_addresses='' -c fsync=off -c max_connections=60"
        log = str(self._directory / "log")
        _run(self._user, self._pg_ctl, "-D", str(self.data), "-l", log, "-w", "-o", options, "start")

    def stop(self) -> None:
        """End it at once, connections included, as a crash would."""
        _run(self._user, self._pg_ctl, "-D", str(self.data), "-m", "immediate", "-w", "stop")

    def kill(self) -> None:
        """kill -9 of the whole server, if it runs."""
        try:
            number = int((self.data / "postmaster.pid").read_text().split()[0])
            os.kill(number, signal.SIGQUIT)
        except (OSError, ValueError, IndexError):
            return


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server with an empty database."""
    # The path of a socket has 107 characters at most, so it is not where pytest keeps things.
    directory = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        server = PostgresServer(directory)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def emptied(server: PostgresServer) -> str:
    """The URL of a server, without the tables of an earlier test."""
    engine = create_engine(server.url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        for table in ("schema", "tasks", "edges", "leaders"):
            connection.execute(text(f"DROP TABLE IF EXISTS dispatch_{table}"))
    engine.dispose()
    return server.url
