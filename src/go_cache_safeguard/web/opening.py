"""A site made out of the settings: under which names people come, whose people and journals are behind them.

Knows:     what of the settings fits together: TLS of our own or a proxy's, and never passwords over a bare network.
Called by: `web.server`, and the command line's `serve people` and `serve token`.
Never:     listens; opens a database before it is asked.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.flows.desk import Desk, rules_of
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.web.fence import is_loopback, networks
from go_cache_safeguard.web.office import Office
from go_cache_safeguard.web.people import People, people_in_file
from go_cache_safeguard.web.site import Front, Site, barred

if TYPE_CHECKING:
    from go_cache_safeguard.journal.record import Record
    from go_cache_safeguard.journal.records import Records

_PORTS = {"https": 443, "http": 80}
_HINT = "docs/serve.md shows which settings go together"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server listens.

    Attributes:
        host: An address, or a name.
        port: 1 to 65535.
    """

    host: str
    port: int

    @property
    def name(self) -> str:
        """As it stands in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can come here."""
        return is_loopback(self.host)


def parse_place(text: str) -> Place:
    """Read `host:port` or `[address]:port`.

    Raises:
        ConfigBad: It is none.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise ConfigBad(f"serve.listen = {text!r} is not host:port", hint="such as 127.0.0.1:8443 or [::1]:8443")
    return Place(host, int(port))


def fronts_of(config: Config) -> tuple[dict[str, Front], bool]:
    """Under which names people come, and whether they come by TLS.

    Returns:
        From what browsers send as `Host` to its front, the main one first; and whether all of them are https.

    Raises:
        ConfigBad: The settings do not fit together.
    """
    place, named = parse_place(config.text("serve.listen")), config.text("serve.url").split()
    own_tls = bool(config.text("serve.tls_cert"))
    proxies = _proxies(config)
    if own_tls != bool(config.text("serve.tls_key")):
        raise ConfigBad("serve.tls_cert and serve.tls_key go together", hint=_HINT)
    if not place.is_local and not own_tls and not proxies:
        raise ConfigBad(
            f"serve.listen = {place.name} can be reached from other machines, and nobody would end TLS",
            hint="set serve.tls_cert and serve.tls_key, or serve.trusted_proxies",
        )
    if not named:
        return _own_names(place, own_tls=own_tls), own_tls
    fronts = [_front(word) for word in named]
    schemes = {front.origin.partition(":")[0] for front in fronts}
    if schemes == {"https"} and not own_tls and not proxies:
        raise ConfigBad("serve.url is https, and nobody would end TLS", hint=_HINT)
    if len(schemes) != 1 or (schemes == {"http"} and (own_tls or not place.is_local)):
        raise ConfigBad("serve.url must be https, except on this machine alone", hint=_HINT)
    return {host: front for front in fronts for host in _hosts(front.origin)}, schemes == {"https"}


def _proxies(config: Config) -> bool:
    try:
        return bool(networks(config.text("serve.trusted_proxies").split()))
    except ValueError as error:
        raise ConfigBad(f"serve.trusted_proxies: {error}", hint="such as 10.0.0.5 or 10.0.0.0/24") from error


def _own_names(place: Place, *, own_tls: bool) -> dict[str, Front]:
    scheme = "https" if own_tls else "http"
    if place.host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        raise ConfigBad(f"serve.listen = {place.name} is no name that people can come by", hint="set serve.url")
    hosts = [place.host, *(it for it in ("127.0.0.1", "localhost") if place.is_local and it != place.host)]
    names = [Place(host, place.port).name for host in hosts]
    return {
        host: Front(f"{scheme}://{name.removesuffix(f':{_PORTS[scheme]}')}")
        for name in names
        for host in _hosts(f"{scheme}://{name}")
    }


def _front(word: str) -> Front:
    url, _, tenant = word.partition("=")
    found = urlsplit(url)
    try:
        port = found.port
    except ValueError:
        port = 0
    plain = (
        found.hostname and port != 0 and not (found.path.strip("/") or found.query or found.fragment or found.username)
    )
    if not plain or found.scheme not in _PORTS or (found.scheme == "http" and not is_loopback(found.hostname or "")):
        raise ConfigBad(f"serve.url: {word!r} is not https://host or https://host:port", hint=_HINT)
    name = f"[{found.hostname}]" if ":" in (found.hostname or "") else found.hostname
    return Front(f"{found.scheme}://{name}" + (f":{port}" if port and port != _PORTS[found.scheme] else ""), tenant)


def _hosts(origin: str) -> list[str]:
    """What browsers send as `Host` for an origin: with its usual port, they leave that out."""
    found = urlsplit(origin)
    usual = _PORTS[found.scheme]
    netloc = found.netloc.lower()
    if found.port in {None, usual}:
        bare = netloc.removesuffix(f":{usual}")
        return [bare, f"{bare}:{usual}"]
    return [netloc]


def open_people(session: Session) -> People:
    """The people: in the shared database if there is one, else in a file of the state directory.

    Raises:
        PeopleUnusable: They cannot be opened.
    """
    if session.config.text("serve.database"):
        from go_cache_safeguard.flows.database import service_engine  # noqa: PLC0415 - only with a shared database

        return People(service_engine(session))
    session.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return people_in_file(session.state_dir / "people.sqlite")


def barred_here(session: Session) -> "Callable[[Record], bool] | None":
    """Whether somebody who minted a token is let in as an approver no more; None if nobody is let in here.

    Raises:
        PeopleUnusable: The people cannot be opened.
    """
    if not (session.config.text("serve.database") or (session.state_dir / "people.sqlite").exists()):
        return None

    def judge(minted: "Record") -> bool:
        people = open_people(session)
        try:
            return barred(people, "", minted)
        finally:
            people.close()

    return judge


def journal_of(session: Session, tenant: str) -> "Callable[..., Records]":
    """Opens the journal of a tenant, also from other threads.

    Raises:
        ConfigBad: A tenant has no journal without a shared database.
    """
    if session.config.text("serve.database"):
        from go_cache_safeguard.flows.database import shared_journal  # noqa: PLC0415 - only with a shared database

        return shared_journal(session, tenant)
    if tenant:
        raise ConfigBad(f"there is no journal for the tenant {tenant}", hint="tenants need serve.database")
    return session.journal


class Journals:
    """Desks and notes of all tenants, each opened when it is first asked for. Safe from any thread."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._desks: dict[str, Desk] = {}

    def desk(self, tenant: str) -> Desk:
        """The desk of a tenant."""
        with self._lock:
            if tenant not in self._desks:
                opens = journal_of(self._session, tenant)
                self._desks[tenant] = Desk(opens, replace(rules_of(self._session), served=True), tenant=tenant)
            return self._desks[tenant]

    def note(self, tenant: str, step: str, data: Mapping[str, Value]) -> None:
        """Write a note into a tenant's journal. It is durable when this returns."""
        with journal_of(self._session, tenant)() as journal:
            journal.note(step, data)


def open_site(session: Session) -> Site:
    """Everything that a server works with.

    Raises:
        ConfigBad: The settings do not fit together.
        PeopleUnusable: The people cannot be opened.
    """
    urls, secure = fronts_of(session.config)
    journals = Journals(session)
    for tenant in {front.tenant for front in urls.values()}:
        journals.desk(tenant)
    return Site(
        config=session.config,
        people=open_people(session),
        desks=journals.desk,
        note=journals.note,
        now_s=time.time,
        urls=urls,
        secure=secure,
        journals=partial(journal_of, session),
    )


@contextmanager
def open_office(session: Session, tenant: str) -> Iterator[Office]:
    """Where people of a tenant are administered, for the length of a block.

    Raises:
        ConfigBad: There is no such tenant.
        PeopleUnusable: The people cannot be opened.
    """
    journals, people = Journals(session), open_people(session)
    try:
        yield Office(people, tenant, config=session.config, note=partial(journals.note, tenant))
    finally:
        people.close()
