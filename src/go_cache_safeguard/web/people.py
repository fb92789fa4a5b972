"""People of `serve`, their sessions and API tokens, and how often somebody tried to come in.

Knows:     the tables, which are the same in a SQLite file and in a shared database, and that each belongs to a tenant.
Called by: `web.site`, `web.login`, `web.oidc`, and `cli.people`, which is where people are administered.
Never:     keeps a session's id or an API token: only their SHA-256; answers for a tenant what is another one's.
Source:    https://sqlite.org/wal.html; OWASP "Blocking Brute Force Attacks" (why a limit must not lock an account for ever).
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256 as _sha256
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from go_cache_safeguard.approval.voter import Role
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.core.person import parse_identity

METADATA = sa.MetaData()
"""All tables of this file; migrations of a shared database make the same ones."""

_NAME = re.compile(r"[a-z][a-z0-9._-]{0,62}", re.ASCII)
_WRITTEN_S = 60
"""How often it is written down at most that a session is used."""
_SLACK = re.compile(r"slack:[A-Z0-9]{1,30}/[A-Z0-9]{1,30}", re.ASCII)


def _tenant() -> "sa.Column[str]":
    return sa.Column("tenant", sa.String(64), primary_key=True)


PERSON = sa.Table(
    "person",
    METADATA,
    _tenant(),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("roles", sa.String(64), nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("password", sa.String(255)),
    sa.Column("totp", sa.String(64)),
    sa.Column("totp_step", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("made_s", sa.BigInteger, nullable=False),
)
LINK = sa.Table(
    "person_link",
    METADATA,
    _tenant(),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("principal", sa.String(512), primary_key=True),
    # Null where it says that somebody has no account: that may be said of many.
    sa.Column("identity", sa.String(600)),
    sa.UniqueConstraint("tenant", "identity", name="person_link_of_one"),
)
SESSION = sa.Table(
    "person_session",
    METADATA,
    _tenant(),
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("principal", sa.String(512), nullable=False),
    sa.Column("made_s", sa.BigInteger, nullable=False),
    sa.Column("expires_s", sa.BigInteger, nullable=False),
    # By the clock of the database; null in a session that began before this was asked for.
    sa.Column("used_s", sa.BigInteger),
)
TOKEN = sa.Table(
    "api_token",
    METADATA,
    _tenant(),
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("scopes", sa.String(128), nullable=False),
    sa.Column("made_s", sa.BigInteger, nullable=False),
    sa.Column("expires_s", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("tenant", "sha256", name="api_token_once"),
)
ATTEMPT = sa.Table(
    "login_attempt",
    METADATA,
    _tenant(),
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("since_s", sa.BigInteger, nullable=False),
)
KNOWN = sa.Table(
    "known_address",
    METADATA,
    _tenant(),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("address", sa.String(64), primary_key=True),
    sa.Column("at_s", sa.BigInteger, nullable=False),
)
JOURNEY = sa.Table(
    "oidc_journey",
    METADATA,
    _tenant(),
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("state", sa.String(64), nullable=False),
    sa.Column("nonce", sa.String(128), nullable=False),
    sa.Column("verifier", sa.String(128), nullable=False),
    sa.Column("next", sa.String(512), nullable=False),
    sa.Column("expires_s", sa.BigInteger, nullable=False),
)
"""Somebody who was sent to the identity provider and is not back yet."""


class PeopleUnusable(Failure):
    """The database of people cannot be used."""

    id = "people-unusable"
    exit_code: ClassVar[ExitCode] = ExitCode.CONFIG
    meaning = "the database with the people of `serve` cannot be opened, read or written"


class NoSuchPerson(Failure):
    """Nobody has this name."""

    id = "no-such-person"
    exit_code: ClassVar[ExitCode] = ExitCode.USAGE
    meaning = "`serve` knows nobody, or no token, of this name"


class NameTaken(Failure):
    """A name or a principal can be one person's only."""

    id = "name-taken"
    exit_code: ClassVar[ExitCode] = ExitCode.USAGE
    meaning = "a name or a principal cannot be given to this person: it makes no sense, or is another one's"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may come in.

    Attributes:
        name: Lower case.
        roles: What they are let do.
        active: Whether they are let in at all.
        links: Other principals of theirs, as an administrator linked them.
        has_password: Whether they can come in with one.
        has_totp: Whether they need a code as well.
    """

    name: str
    roles: frozenset[Role]
    active: bool = True
    links: tuple[str, ...] = ()
    has_password: bool = False
    has_totp: bool = False

    @property
    def principal(self) -> str:
        """Who it is, for the journal."""
        return f"user:{self.name}"


@dataclass(frozen=True, slots=True)
class Begun:
    """A session.

    Attributes:
        principal: By which of their names somebody came in.
        expires_s: When it ends, seconds since 1970.
    """

    principal: str
    expires_s: int


@dataclass(frozen=True, slots=True)
class ApiToken:
    """An API token, without its secret.

    Attributes:
        id: To speak of it.
        name: Whose it is.
        scopes: What it is good for.
        made_s: When it was minted.
        expires_s: When it ends.
    """

    id: str
    name: str
    scopes: frozenset[str]
    made_s: int
    expires_s: int


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a log-in is judged by; never shown.

    Attributes:
        password: The argon2 hash; None without a password.
        totp: The shared secret in base32; None without one.
    """

    password: str | None = None
    totp: str | None = None

    def __repr__(self) -> str:
        return "Secrets(...)"


@dataclass(frozen=True, slots=True)
class Journey:
    """What was told to the identity provider, or kept from it.

    Attributes:
        state: SHA-256 of the state.
        nonce: Must stand in the answer.
        verifier: Shows that who asks for the answer is who began (PKCE).
        next: Where to go then.
    """

    state: str
    nonce: str
    verifier: str
    next: str

    def __repr__(self) -> str:
        return "Journey(...)"


class People:
    """All of them. Safe from any thread: each call is a transaction of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def ping(self) -> None:
        """Ask the database whether it is there.

        Raises:
            PeopleUnusable: It is not.
        """
        with self._reading() as db:
            db.execute(sa.select(PERSON.c.name).limit(1)).first()

    # People

    def check_new(self, tenant: str, name: str) -> None:
        """Whether somebody can be called so.

        Raises:
            NameTaken: There is somebody of this name, or it is none.
        """
        if _NAME.fullmatch(name) is None:
            raise NameTaken(
                f"{name!r} cannot be a name",
                not_done="nobody was added",
                hint="a to z first, then a to z, digits, dot, dash or underscore",
            )
        if self.person(tenant, name) is not None:
            raise NameTaken(f"there is a person {name} already", not_done="nothing was changed")

    def add(self, tenant: str, name: str, roles: frozenset[Role], now_s: int) -> None:
        """Let somebody in.

        Raises:
            NameTaken: There is somebody of this name, or it is none.
        """
        self.check_new(tenant, name)
        with self._writing() as db:
            row = {"tenant": tenant, "name": name, "roles": _joined(roles), "active": True, "made_s": now_s}
            try:
                db.execute(sa.insert(PERSON).values(row))
            except sa.exc.IntegrityError as error:
                raise NameTaken(f"there is a person {name} already", not_done="nothing was changed") from error

    def everybody(self, tenant: str) -> list[Person]:
        """All people, by name."""
        with self._reading() as db:
            rows = db.execute(sa.select(PERSON).where(PERSON.c.tenant == tenant).order_by(PERSON.c.name)).all()
            links = self._links(db, tenant)
        return [_person(row, links) for row in rows]

    def person(self, tenant: str, name: str) -> Person | None:
        """Somebody, whether active or not."""
        with self._reading() as db:
            return self._named(db, tenant, name)

    def linked(self, tenant: str, principal: str) -> Person | None:
        """Whose principal this is, to the letter: two subjects of a provider may differ in case alone."""
        query = sa.select(LINK.c.name).where(LINK.c.tenant == tenant, LINK.c.principal == principal)
        with self._reading() as db:
            names = db.execute(query.where(LINK.c.identity.is_not(None))).scalars().all()
            return self._named(db, tenant, names[0]) if len(names) == 1 else None

    def secrets(self, tenant: str, name: str) -> Secrets:
        """What somebody's log-in is judged by; empty for who is not there."""
        query = sa.select(PERSON.c.password, PERSON.c.totp).where(*_is(PERSON, tenant, name))
        with self._reading() as db:
            row = db.execute(query).first()
        return Secrets() if row is None else Secrets(row.password, row.totp)

    def change(self, tenant: str, name: str, **values: object) -> None:
        """Change what is kept of somebody: `roles`, `active`, `password` (a hash) or `totp`. Their sessions end.

        Raises:
            NoSuchPerson: There is nobody of this name.
        """
        if "roles" in values:
            values["roles"] = _joined(values["roles"])
        with self._writing() as db:
            done = db.execute(sa.update(PERSON).where(*_is(PERSON, tenant, name)).values(values))
            if done.rowcount != 1:
                raise _nobody(name)
            db.execute(sa.delete(SESSION).where(*_is(SESSION, tenant, name)))

    def refresh_password(self, tenant: str, name: str, before: str, after: str) -> None:
        """Keep the same password in another form, if nobody changed it meanwhile."""
        where = (*_is(PERSON, tenant, name), PERSON.c.password == before)
        with self._writing() as db:
            db.execute(sa.update(PERSON).where(*where).values(password=after))

    def check_link(self, tenant: str, name: str, principal: str) -> None:
        """Whether a principal can be somebody's.

        Raises:
            NoSuchPerson: There is nobody of this name.
            NameTaken: It is somebody else's, or is no principal.
        """
        found = parse_identity(principal)
        if _SLACK.fullmatch(principal) is None and (found is None or found.realm == "user"):
            raise NameTaken(
                f"{principal!r} cannot be linked",
                not_done="nothing was changed",
                hint="allowed: uid:1000, uid:1000@HOST, oidc:ISSUER#SUBJECT, slack:TEAM/USER, none, none@HOST, none@*",
            )
        if self.person(tenant, name) is None:
            raise _nobody(name)
        identity = _identity(principal)
        # What says that there is no account may be true of many.
        taken = sa.false() if identity is None else LINK.c.identity == identity
        where = (LINK.c.tenant == tenant, sa.or_(taken, _same(name, principal)))
        with self._reading() as db:
            owner = db.execute(sa.select(LINK.c.name).where(*where)).scalar()
        if owner is not None:
            raise NameTaken(f"{principal} is linked to {owner} already", not_done="nothing was changed")

    def link(self, tenant: str, name: str, principal: str) -> None:
        """Say that a principal is somebody's.

        Raises:
            NoSuchPerson: There is nobody of this name.
            NameTaken: It is somebody else's, or is no principal.
        """
        self.check_link(tenant, name, principal)
        row = {"tenant": tenant, "name": name, "principal": principal, "identity": _identity(principal)}
        with self._writing() as db:
            try:
                db.execute(sa.insert(LINK).values(row))
            except sa.exc.IntegrityError as error:
                raise NameTaken(f"{principal} is linked already", not_done="nothing was changed") from error

    def disown(self, tenant: str, name: str, principal: str) -> None:
        """Take a principal away from somebody. Their sessions end.

        Raises:
            NoSuchPerson: They have no such principal.
        """
        with self._writing() as db:
            where = (*_is(LINK, tenant, name), LINK.c.principal == principal)
            if db.execute(sa.delete(LINK).where(*where)).rowcount != 1:
                raise NoSuchPerson(f"{principal} is not linked to {name}", not_done="nothing was changed")
            db.execute(sa.delete(SESSION).where(*_is(SESSION, tenant, name)))

    def spend_step(self, tenant: str, name: str, step: int) -> bool:
        """Use a code up: only the first one who comes with it, or with a later one, is let in."""
        where = (*_is(PERSON, tenant, name), PERSON.c.totp_step < step)
        with self._writing() as db:
            return db.execute(sa.update(PERSON).where(*where).values(totp_step=step)).rowcount == 1

    # Sessions

    def begin(self, tenant: str, sha256: str, person: Person, principal: str, now_s: int, *, lifetime_s: int) -> None:
        """Begin a session; those that have ended are forgotten."""
        row = {"tenant": tenant, "sha256": sha256, "name": person.name, "principal": principal}
        with self._writing() as db:
            db.execute(sa.delete(SESSION).where(SESSION.c.tenant == tenant, SESSION.c.expires_s <= now_s))
            ends = {"made_s": now_s, "expires_s": now_s + lifetime_s, "used_s": _clock(db)}
            db.execute(sa.insert(SESSION).values({**row, **ends}))

    def end(self, tenant: str, sha256: str) -> None:
        """End a session, if there is one."""
        with self._writing() as db:
            db.execute(sa.delete(SESSION).where(SESSION.c.tenant == tenant, SESSION.c.sha256 == sha256))

    def session(
        self, tenant: str, sha256: str, now_s: int, *, idle_s: int = 0, used: bool = False
    ) -> tuple[Person, Begun] | None:
        """Whose session this is; None if it ended, was not used for too long, or its person is not let in.

        Args:
            tenant: Whose.
            sha256: Of its id.
            now_s: Seconds since 1970.
            idle_s: How long a session may not be used, by the clock of the database, which alone says when it was; 0 for any time.
            used: Whether it is used now. That is written down at most once a minute.
        """
        where = (SESSION.c.tenant == tenant, SESSION.c.sha256 == sha256)
        with self._reading() as db:
            query = sa.select(SESSION, _clock(db).label("clock_s")).where(*where)
            row = db.execute(query.where(SESSION.c.expires_s > now_s)).first()
            person = None if row is None else self._named(db, tenant, row.name)
        if row is None or person is None or not person.active:
            return None
        idle = row.clock_s - (row.made_s if row.used_s is None else row.used_s)
        if idle_s and idle >= idle_s:
            return None
        if used and idle >= min(_WRITTEN_S, idle_s // 4):
            with self._writing() as db:
                db.execute(sa.update(SESSION).where(*where).values(used_s=_clock(db)))
        return person, Begun(row.principal, row.expires_s)

    # API tokens

    def mint(self, tenant: str, token: ApiToken, sha256: str) -> None:
        """Keep a new token.

        Raises:
            NoSuchPerson: There is nobody of this name.
        """
        row = {"tenant": tenant, "id": token.id, "sha256": sha256, "name": token.name, "scopes": _joined(token.scopes)}
        with self._writing() as db:
            if self._named(db, tenant, token.name) is None:
                raise _nobody(token.name)
            db.execute(sa.insert(TOKEN).values({**row, "made_s": token.made_s, "expires_s": token.expires_s}))

    def token(self, tenant: str, sha256: str, now_s: int) -> tuple[Person, ApiToken] | None:
        """Whose token this is; None if it ended or its person is not let in."""
        with self._reading() as db:
            query = sa.select(TOKEN).where(TOKEN.c.tenant == tenant, TOKEN.c.sha256 == sha256)
            row = db.execute(query.where(TOKEN.c.expires_s > now_s)).first()
            person = None if row is None else self._named(db, tenant, row.name)
        return None if row is None or person is None or not person.active else (person, _token(row))

    def tokens(self, tenant: str) -> list[ApiToken]:
        """All tokens, oldest first."""
        query = sa.select(TOKEN).where(TOKEN.c.tenant == tenant).order_by(TOKEN.c.made_s, TOKEN.c.id)
        with self._reading() as db:
            return [_token(row) for row in db.execute(query).all()]

    def revoke(self, tenant: str, identity: str) -> ApiToken:
        """End a token.

        Raises:
            NoSuchPerson: There is none of this id.
        """
        where = (TOKEN.c.tenant == tenant, TOKEN.c.id == identity)
        with self._writing() as db:
            row = db.execute(sa.select(TOKEN).where(*where)).first()
            if row is None or db.execute(sa.delete(TOKEN).where(*where)).rowcount != 1:
                raise NoSuchPerson(f"there is no token {identity}", not_done="nothing was changed")
        return _token(row)

    # Attempts

    def attempt(
        self, tenant: str, limits: Sequence[tuple[str, int]], now_s: int, window_s: int
    ) -> tuple[str, int] | None:
        """Count an attempt before it is made, so that many at once are no more than one after another.

        What is older than a window is forgotten; being refused makes no window longer.

        Args:
            tenant: Whose people.
            limits: What is counted, and how often it may happen in a window. After the first that happened too often,
                nothing more is counted: who is refused at one cannot use up the others.
            now_s: Seconds since 1970.
            window_s: How long a window lasts, in seconds.

        Returns:
            What happened too often, and how often; None if it may go on.
        """
        old = sa.or_(ATTEMPT.c.since_s <= now_s - window_s, ATTEMPT.c.since_s > now_s)
        with self._writing() as db:
            db.execute(sa.delete(ATTEMPT).where(ATTEMPT.c.tenant == tenant, old))
            for key, most in limits:
                where = (ATTEMPT.c.tenant == tenant, ATTEMPT.c.sha256 == hashed(key))
                more = sa.update(ATTEMPT).where(*where).values(count=ATTEMPT.c.count + 1)
                if db.execute(more).rowcount == 0:
                    row = {"tenant": tenant, "sha256": hashed(key), "count": 1, "since_s": now_s}
                    try:
                        with db.begin_nested():
                            db.execute(sa.insert(ATTEMPT).values(row))
                    except sa.exc.IntegrityError:
                        db.execute(more)  # somebody else was first, in this very moment
                count = db.execute(sa.select(ATTEMPT.c.count).where(*where)).scalar() or 0
                if count > most:
                    return key, count
        return None

    def succeeded(self, tenant: str, keys: Iterable[str]) -> None:
        """An attempt that was counted did not fail."""
        with self._writing() as db:
            for key in keys:
                where = (ATTEMPT.c.tenant == tenant, ATTEMPT.c.sha256 == hashed(key), ATTEMPT.c.count > 0)
                db.execute(sa.update(ATTEMPT).where(*where).values(count=ATTEMPT.c.count - 1))

    def knows(self, tenant: str, name: str, address: str, since_s: int) -> bool:
        """Whether somebody came in from this address since then."""
        where = (*_is(KNOWN, tenant, name), KNOWN.c.address == address, KNOWN.c.at_s >= since_s)
        with self._reading() as db:
            return db.execute(sa.select(KNOWN.c.name).where(*where)).first() is not None

    def remember(self, tenant: str, name: str, address: str, now_s: int) -> None:
        """Somebody came in from this address."""
        where = (*_is(KNOWN, tenant, name), KNOWN.c.address == address)
        with self._writing() as db:
            if db.execute(sa.update(KNOWN).where(*where).values(at_s=now_s)).rowcount == 0:
                row = {"tenant": tenant, "name": name, "address": address, "at_s": now_s}
                with suppress(sa.exc.IntegrityError), db.begin_nested():
                    db.execute(sa.insert(KNOWN).values(row))

    # Journeys to the identity provider

    def set_out(self, tenant: str, sha256: str, journey: Journey, now_s: int, lifetime_s: int) -> None:
        """Somebody is sent to the identity provider; those who never came back are forgotten."""
        row = {"tenant": tenant, "sha256": sha256, "state": journey.state, "nonce": journey.nonce}
        more = {"verifier": journey.verifier, "next": journey.next, "expires_s": now_s + lifetime_s}
        with self._writing() as db:
            db.execute(sa.delete(JOURNEY).where(JOURNEY.c.tenant == tenant, JOURNEY.c.expires_s <= now_s))
            db.execute(sa.insert(JOURNEY).values({**row, **more}))

    def come_back(self, tenant: str, sha256: str, now_s: int) -> Journey | None:
        """Take a journey; it can be taken once."""
        where = (JOURNEY.c.tenant == tenant, JOURNEY.c.sha256 == sha256)
        with self._writing() as db:
            row = db.execute(sa.select(JOURNEY).where(*where, JOURNEY.c.expires_s > now_s)).first()
            if row is None or db.execute(sa.delete(JOURNEY).where(*where)).rowcount != 1:
                return None
        return Journey(row.state, row.nonce, row.verifier, row.next)

    def _named(self, db: Connection, tenant: str, name: str) -> Person | None:
        row = db.execute(sa.select(PERSON).where(*_is(PERSON, tenant, name))).first()
        return None if row is None else _person(row, self._links(db, tenant, name))

    def _links(self, db: Connection, tenant: str, name: str = "") -> Mapping[str, list[str]]:
        query = sa.select(LINK.c.name, LINK.c.principal).where(LINK.c.tenant == tenant).order_by(LINK.c.principal)
        found: dict[str, list[str]] = {}
        for row in db.execute(query.where(LINK.c.name == name) if name else query):
            found.setdefault(row.name, []).append(row.principal)
        return found

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with _seam(), self._engine.connect() as db:
            yield db

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with _seam(), self._writer.begin() as db:
            yield db


def people_in_file(path: Path) -> People:
    """The people of one machine, in a file for its owner only; made if there is none.

    Raises:
        PeopleUnusable: It cannot be made or opened.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(path, flags, 0o600)
        try:
            if os.geteuid() == 0:  # whose directory it is could not use it otherwise
                owner = path.parent.stat()
                os.fchown(file, owner.st_uid, owner.st_gid)
        finally:
            os.close(file)
    except OSError as error:
        raise PeopleUnusable(f"{path} cannot be made or opened: {error.strerror}") from error
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)))
    sa.event.listen(engine, "connect", _tune)
    # The driver's own begin waits for the first change, so that of two who read and then write one fails.
    sa.event.listen(engine, "begin", _begin)
    with _seam():
        METADATA.create_all(engine)
        _add_columns(engine)
    return People(engine)


def _add_columns(engine: Engine) -> None:
    """What a file of an earlier version lacks."""
    with engine.begin() as db:
        there = {column["name"] for column in sa.inspect(db).get_columns(SESSION.name)}
        if "used_s" not in there:
            db.execute(sa.text(f"ALTER TABLE {SESSION.name} ADD COLUMN used_s BIGINT"))


def _clock(db: Connection) -> "sa.ColumnElement[int]":
    """The time as the database has it, in seconds since 1970."""
    if db.dialect.name == "sqlite":
        return sa.cast(sa.func.strftime("%s", "now"), sa.BigInteger)
    return sa.cast(sa.func.floor(sa.extract("epoch", sa.func.clock_timestamp())), sa.BigInteger)


def hashed(secret: str) -> str:
    """What is stored of a secret of 256 random bits, and of what somebody typed as a name."""
    return _sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def place_of(address: str) -> str:
    """What counts as one address: of IPv6 the network that a single customer gets."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or IPv6Address(int(found) >> 64 << 64))
    return address


def _tune(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    for line in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 10000"):
        connection.execute(f"PRAGMA {line}").close()


def _begin(db: Connection) -> None:
    db.exec_driver_sql("BEGIN IMMEDIATE" if db.get_execution_options().get("writes") else "BEGIN")


def _is(table: sa.Table, tenant: str, name: str) -> "tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]":
    return table.c.tenant == tenant, table.c.name == name


def _same(name: str, principal: str) -> "sa.ColumnElement[bool]":
    return sa.and_(LINK.c.name == name, LINK.c.principal == principal)


def _identity(principal: str) -> str | None:
    if _SLACK.fullmatch(principal):
        return principal
    found = parse_identity(principal)
    return f"{found.realm} {found.id}" if found and found.id else None


def _joined(words: Any) -> str:
    return " ".join(sorted(map(str, words)))


def _person(row: Any, links: Mapping[str, list[str]]) -> Person:
    roles = frozenset(Role(word) for word in row.roles.split())
    also = tuple(links.get(row.name, ()))
    return Person(row.name, roles, row.active, also, row.password is not None, row.totp is not None)


def _token(row: Any) -> ApiToken:
    return ApiToken(row.id, row.name, frozenset(row.scopes.split()), row.made_s, row.expires_s)


def _nobody(name: str) -> NoSuchPerson:
    return NoSuchPerson(
        f"there is nobody called {name}", not_done="nothing was changed", hint="`serve people list` names them all"
    )


@contextmanager
def _seam() -> Iterator[None]:
    """Turn what the database raises into a failure of ours, without the values of the statement."""
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        why = str(getattr(error, "orig", None) or type(error).__name__).partition("\n")[0]
        raise PeopleUnusable(
            f"the database of people cannot be used: {why}",
            not_done="nobody was let in",
            hint="look at `serve.database`",
        ) from None
