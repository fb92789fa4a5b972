"""A real Postgres for tests: one server for all of them, in a folder of its own, stopped by its pid; a database for each test."""

import os
import pwd
import secrets
import select
import shutil
import signal
import socket
import socketserver
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy.engine import Engine

from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.flows import migrate
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.journal.database import open_engine, parse_address
from go_cache_safeguard.journal.shared import SharedJournal
from go_cache_safeguard.journal.store import writer

OWNER, SERVICE = "safeguard_owner", "safeguard"
TEMPLATE = "safeguard_template"
PASSWORDS = {OWNER: "owner's own secret", SERVICE: "service % secret"}
_CONF = """
listen_addresses = ''
unix_socket_directories = '{folder}'
port = 5432
max_connections = 120
shared_buffers = 32MB
max_wal_size = 256MB
checkpoint_timeout = 1h
autovacuum = off
jit = off
"""


def binary(name: str) -> Path:
    """A program of the newest Postgres that is installed; `make setup` installs one."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    assert found, f"{name} is missing: run `make setup`"
    return found[-1]


class Server:
    """A server that can be killed and started again.

    Attributes:
        folder: Everything of it, the socket as well.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def _user(self) -> str | None:
        """It refuses to run as root."""
        if os.geteuid():
            return None
        return next(name for name in ("postgres", "nobody") if _is_user(name))

    def make(self) -> None:
        """Make the files, two roles as an administrator would, and start it."""
        self.folder.mkdir(mode=0o755)
        if self._user:
            shutil.chown(self.folder, self._user)
        self._run("initdb", "-D", self.folder / "data", "-U", "admin", "-A", "scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C",
                  f"--pwfile={self._secret()}", "--no-instructions")  # fmt: skip
        (self.folder / "data/postgresql.conf").write_text(_CONF.format(folder=self.folder))
        self.start()
        with self.admin() as db:
            for role, password in PASSWORDS.items():
                db.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), password))

    def _secret(self) -> Path:
        path = self.folder / "admin"
        path.write_text("admin\n")
        path.chmod(0o644)
        return path

    def _run(self, program: str, *arguments: object) -> None:
        subprocess.run([binary(program), *map(str, arguments)], check=True, capture_output=True, user=self._user, cwd=self.folder)  # fmt: skip

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._child = subprocess.Popen(
                [binary("postgres"), "-D", self.folder / "data"],
                cwd=self.folder, user=self._user, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            try:
                self.admin().close()
            except psycopg.OperationalError:
                assert self._child.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """As a power cut would: all of its processes at once, nothing is flushed."""
        assert self._child
        self._child.send_signal(signal.SIGSTOP)  # so that no more come
        children = _children(self._child.pid)
        for pid in [*children, self._child.pid]:
            _kill(pid)
        self._child.wait(timeout=30)
        deadline = time.monotonic() + 30
        while any(Path(f"/proc/{pid}/root").exists() for pid in children):  # a zombie has none
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGQUIT)  # at once
            self._child.wait(timeout=30)

    def admin(self, database: str = "postgres") -> "psycopg.Connection[Any]":
        """A connection that may do everything."""
        return psycopg.connect(host=str(self.folder), user="admin", password="admin", dbname=database, autocommit=True)  # noqa: S106 - of this server

    @property
    def socket(self) -> str:
        """Where it listens."""
        return f"{self.folder}/.s.PGSQL.5432"


@dataclass(frozen=True)
class Database:
    """One database of the server.

    Attributes:
        server: Where it is.
        name: Of the database.
        folder: For passwords and state.
    """

    server: Server
    name: str
    folder: Path
    _engines: list[Engine] = field(default_factory=list)

    def engine(self, user: str = SERVICE, *, connections: int = 8, host: str = "", migrates: bool = False) -> Engine:
        """Connections as the program makes them; closed with the database."""
        url = parse_address(self.url(user, host))
        made = open_engine(url, lambda: PASSWORDS[user], connections=connections, migrates=migrates)
        self._engines.append(made)
        return made

    def journal(
        self, tenant: str = "main", *, engine: Engine | None = None, read_only: bool = False, log: str = ""
    ) -> SharedJournal:
        """The journal of a tenant."""
        who = writer("uid:1000(alice)", "0.1")
        engine = engine or (self._engines[0] if self._engines else self.engine())
        return SharedJournal(engine, tenant, self.folder / "fleet", writer=who, read_only=read_only, log=log)

    def close(self) -> None:
        for engine in self._engines:
            engine.dispose()

    def url(self, user: str = SERVICE, host: str = "") -> str:
        """How a setting names it."""
        if host:
            return f"postgresql://{user}@{host}/{self.name}?sslmode=disable"
        return f"postgresql://{user}@/{self.name}?host={self.server.folder}"

    def program(self, **more: str) -> Session:
        """What the program knows that works with this database; settings have two underscores for a dot."""
        arguments = {
            "state.dir": str(self.folder / "state"),
            "serve.database": self.url(),
            "serve.database_password_file": str(self.password_file()),
            "serve.database_owner": OWNER,
            "serve.database_owner_password_file": str(self.password_file(OWNER)),
            **{key.replace("__", "."): value for key, value in more.items()},
        }
        where = {"cwd": self.folder, "home": self.folder, "system": self.folder / "none.toml"}
        return Session(load_config(environ={}, arguments=arguments, **where), {}, self.folder)

    def password_file(self, user: str = SERVICE) -> Path:
        path = self.folder / f"{user}.password"
        if not path.exists():
            path.touch(0o600)
            path.write_text(PASSWORDS[user] + "\n")
        return path

    @contextmanager
    def attacker(self) -> Iterator["psycopg.Connection[Any]"]:
        """Somebody who may do everything and knows what triggers are."""
        with self.server.admin(self.name) as db:
            yield db

    @contextmanager
    def session(self, user: str = SERVICE) -> Iterator["psycopg.Connection[Any]"]:
        """A connection of one of the two roles, as somebody with its password would have."""
        with psycopg.connect(
            host=str(self.server.folder), dbname=self.name, user=user, password=PASSWORDS[user], autocommit=True
        ) as db:
            yield db


class Cut(Enum):
    """What happens to a connection when COMMIT comes."""

    NOT = "nothing"
    BEFORE = "it is cut, and COMMIT does not go on"
    AFTER = "it is cut when the server has answered"
    LATE = "it is cut, and COMMIT goes on half a second later"


class Line(socketserver.BaseRequestHandler):
    """One connection between a client and the server."""

    server: "Wire"

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as far:
            far.connect(self.server.upstream)
            while True:
                ready, _, _ = select.select([self.request, far], [], [], 60)
                for one in ready:
                    data = one.recv(1 << 16)
                    if not data or (one is self.request and self._is_cut(data, far)):
                        return
                    (far if one is self.request else self.request).sendall(data)

    def _is_cut(self, data: bytes, far: socket.socket) -> bool:
        if b"COMMIT\0" not in data or not self.server.cuts:
            return False
        match self.server.cuts.pop(0):
            case Cut.NOT:
                return False
            case Cut.AFTER:
                far.sendall(data)
                far.recv(1 << 16)
            case Cut.LATE:
                self.request.shutdown(socket.SHUT_RDWR)
                time.sleep(0.5)
                far.sendall(data)
                far.recv(1 << 16)
            case Cut.BEFORE:
                pass
        return True


class Wire(socketserver.ThreadingTCPServer):
    """What stands between clients and the server, and cuts.

    Attributes:
        upstream: The server's socket.
        cuts: What happens at the next COMMITs, in order; nothing after the last.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, upstream: str, *cuts: Cut) -> None:
        super().__init__(("127.0.0.1", 0), Line)
        self.upstream = upstream
        self.cuts = list(cuts)

    @property
    def host(self) -> str:
        """Where clients go."""
        return f"127.0.0.1:{self.server_address[1]}"


@contextmanager
def wire(server: Server, *cuts: Cut) -> Iterator[Wire]:
    """A wire for the length of a block."""
    with Wire(server.socket, *cuts) as made:
        thread = Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            made.shutdown()
            thread.join()


@contextmanager
def running(place: Path | None = None) -> Iterator[Server]:
    """A server in a folder that its user can enter, with a template that has all tables.

    Args:
        place: Where the folder is made; None for where it is quick.
    """
    folder = Path(tempfile.mkdtemp(prefix="gcs-postgres-", dir=place or _quick_place()))
    folder.chmod(0o755)
    server = Server(folder / "server")
    try:
        server.make()
        template = create(server, TEMPLATE, folder, template="template0")
        engine = open_engine(parse_address(template.url(OWNER)), lambda: PASSWORDS[OWNER], connections=2, migrates=True)
        migrate.upgrade(engine, SERVICE)
        engine.dispose()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def _quick_place() -> str | None:
    """Memory, where it is large enough: a killed server's files are there as they would be on a disk, and syncing costs nothing."""
    memory = "/dev/shm"  # noqa: S108 - a new folder is made in it
    return memory if Path(memory).is_dir() and shutil.disk_usage(memory).free > 1 << 30 else None


@contextmanager
def of_its_own(server: Server, folder: Path) -> Iterator[Database]:
    """A database for one test."""
    name = f"test_{secrets.token_hex(8)}"
    made = create(server, name, folder)
    try:
        yield made
    finally:
        made.close()  # it goes with the server: to drop it takes a checkpoint


def create(server: Server, name: str, folder: Path, *, template: str = TEMPLATE) -> Database:
    """A new database that belongs to the owner's role."""
    with server.admin() as db:
        names = {"name": sql.Identifier(name), "owner": sql.Identifier(OWNER), "template": sql.Identifier(template)}
        db.execute(sql.SQL("CREATE DATABASE {name} OWNER {owner} TEMPLATE {template}").format(**names))
    return Database(server, name, folder)


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, 9)
